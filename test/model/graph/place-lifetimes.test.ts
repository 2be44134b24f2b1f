import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LifetimeList } from '../../../src/model/graph/lifetimes.js';
import { type Placement, placeLifetimes } from '../../../src/model/graph/place-lifetimes.js';
import { loadTrace } from '../../../src/trace/trace-reader.js';
import { searchRuns } from '../../config/search.js';
import { codeOf } from '../../fixtures/code-of.js';

const TRACES = join(import.meta.dirname, '../../traces');

const lifetimes = (maxLength: number) =>
  fc
    .array(
      fc.record({
        bytes: fc.oneof(fc.nat(300), fc.constantFrom(0, 1, 64, 4096)),
        from: fc.nat(60),
        steps: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 80 })),
      }),
      { maxLength },
    )
    .map(listOf);

function listOf(tensors: readonly { bytes: number; from: number; steps: number }[]): LifetimeList {
  return {
    bytes: tensors.map(({ bytes }) => bytes),
    from: tensors.map(({ from }) => from),
    until: tensors.map(({ from, steps }) => from + steps),
  };
}

/** Goes through the steps with a map of who lies where; fails when a byte is taken twice. Returns the most bytes alive. */
function checkSteps(list: LifetimeList, { offsets, bytes }: Placement, alignment: number): number {
  const live: number[] = [];
  let peak = 0;
  const order = Array.from({ length: list.bytes.length }, (_, i) => i).sort((a, b) => list.from[a]! - list.from[b]!);
  for (const born of order) {
    const [start, end] = [offsets[born]!, offsets[born]! + list.bytes[born]!];
    if (start % alignment !== 0 || start < 0 || end > bytes) throw new Error(`${born} lies at ${start}`);
    for (let at = live.length - 1; at >= 0; at--) if (list.until[live[at]!]! <= list.from[born]!) live.splice(at, 1);
    for (const other of live) {
      const isApart = end <= offsets[other]! || start >= offsets[other]! + list.bytes[other]!;
      if (!isApart && list.bytes[born]! > 0 && list.bytes[other]! > 0) throw new Error(`${born} lies on ${other}`);
    }
    live.push(born);
    peak = Math.max(
      peak,
      live.reduce((sum, i) => sum + Math.ceil(list.bytes[i]! / alignment) * alignment, 0),
    );
  }
  return peak;
}

async function traceLifetimes(name: string): Promise<LifetimeList> {
  const events = await loadTrace(join(TRACES, `${name}.trace.gz`));
  const list = { bytes: [] as number[], from: [] as number[], until: [] as number[] };
  const bornIn: number[] = [];
  for (let event = 0; event < events.length; event++) {
    const slot = events.slotOf(event);
    if (events.isAlloc(event)) {
      bornIn[slot] = list.bytes.length;
      list.bytes.push(events.bytesOf(event));
      list.from.push(event);
      list.until.push(events.length);
    } else list.until[bornIn[slot]!] = event;
  }
  return list;
}

describe('placeLifetimes', () => {
  test('two tensors of one step share no byte, and the bound is the peak', () => {
    fc.assert(
      fc.property(lifetimes(120), fc.constantFrom(1, 16, 256), (list, alignment) => {
        const placement = placeLifetimes(list, { alignment, timeBudgetMs: 0 });
        expect(placement.lowerBoundBytes).toBe(checkSteps(list, placement, alignment));
        expect(placement.bytes).toBeGreaterThanOrEqual(placement.lowerBoundBytes);
      }),
      { numRuns: searchRuns(300) },
    );
  });

  test('more tensors than a checkpoint has are placed as well', () => {
    const list = listOf(
      Array.from({ length: 2000 }, (_, i) => ({ bytes: 1 + ((i * 7919) % 997), from: i, steps: 1 + ((i * 104729) % 700) })),
    );
    const placement = placeLifetimes(list, { alignment: 1, timeBudgetMs: 0 });
    expect(placement.lowerBoundBytes).toBe(checkSteps(list, placement, 1));
  });

  test('the search leaves a placement that is right and no larger', () => {
    fc.assert(
      fc.property(lifetimes(40), (list) => {
        const first = placeLifetimes(list, { alignment: 16, timeBudgetMs: 0 });
        const searched = placeLifetimes(list, { alignment: 16, timeBudgetMs: 3 });
        checkSteps(list, searched, 16);
        expect(searched.bytes).toBeLessThanOrEqual(first.bytes);
      }),
      { numRuns: searchRuns(100) },
    );
  });

  test('the search finds the bound where the order by size does not', () => {
    const list = listOf([
      { bytes: 192, from: 0, steps: 2 },
      { bytes: 64, from: 2, steps: 2 },
      { bytes: 128, from: 0, steps: 3 },
      { bytes: 256, from: 3, steps: 3 },
    ]);
    expect(placeLifetimes(list, { timeBudgetMs: 0 })).toMatchObject({ bytes: 384, lowerBoundBytes: 320 });
    expect(placeLifetimes(list, { timeBudgetMs: 2000 }).bytes).toBe(320);
  });

  test('gives the same placement every time when it does not search', () => {
    const list = listOf(Array.from({ length: 300 }, (_, i) => ({ bytes: (i * 7919) % 997, from: i % 50, steps: 1 + (i % 13) })));
    expect(placeLifetimes(list, { timeBudgetMs: 0 })).toEqual(placeLifetimes(list, { timeBudgetMs: 0 }));
  });

  test('nothing needs nothing', () => {
    expect(placeLifetimes(listOf([]))).toEqual({ offsets: new Float64Array(0), bytes: 0, lowerBoundBytes: 0 });
  });

  test.each(['resnet', 'gpt_infer'])('%s stays within 2 percent of the bound', async (name) => {
    const list = await traceLifetimes(name);
    const placement = placeLifetimes(list, { timeBudgetMs: 0 });
    expect(checkSteps(list, placement, 64)).toBe(placement.lowerBoundBytes);
    expect(placement.bytes / placement.lowerBoundBytes).toBeLessThan(1.02);
  });

  test.each([
    ['lists of two lengths', { bytes: [1], from: [0, 1], until: [1] }, 'ERR_MEM_INVALID_ARGUMENT'],
    ['a life that ends where it begins', { bytes: [1], from: [1], until: [1] }, 'ERR_MEM_INVALID_ARGUMENT'],
    ['a step that is no number', { bytes: [1], from: [Number.NaN], until: [1] }, 'ERR_MEM_INVALID_ARGUMENT'],
    ['a negative size', { bytes: [-1], from: [0], until: [1] }, 'ERR_MEM_INVALID_SIZE'],
    ['sizes that add up beyond 2^53', { bytes: [2 ** 52, 2 ** 52], from: [0, 0], until: [1, 1] }, 'ERR_MEM_INVALID_SIZE'],
  ])('refuses %s', (_, list, code) => {
    expect(codeOf(() => placeLifetimes(list))).toBe(code);
  });

  test('refuses an alignment that is none', () => {
    expect(codeOf(() => placeLifetimes(listOf([]), { alignment: 48 }))).toBe('ERR_MEM_INVALID_ALIGNMENT');
  });
});
