import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockTable, MANAGER_LOCK, NONE, REFERENCE_LOCK, USER_LOCK } from '../../src/blocks/block-table.js';
import { ensure } from '../../src/blocks/ensure.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import { kernel } from '../../src/blocks/kernel.js';
import { memoryError } from '../core/fakes.js';
import { TableBench } from './table-bench.js';

interface ModelBlock {
  readonly block: number;
  readonly address: number;
  bytes: number;
  readonly device: number;
  locks: number;
  mark: number;
}

type Step =
  | { readonly do: 'create'; readonly bytes: number; readonly device: number }
  | { readonly do: 'split'; readonly segment: number; readonly at: number; readonly share: number }
  | { readonly do: 'absorb' | 'remove'; readonly segment: number; readonly at: number }
  | { readonly do: 'note'; readonly segment: number; readonly at: number; readonly mark: number; readonly locks: number };

const DEVICES = [0, 1, 255, 65_535];
const place = { segment: fc.nat(), at: fc.nat() };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      bytes: fc.integer({ min: 1, max: 2 ** 40 }),
      device: fc.constantFrom(...DEVICES),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('split' as const), ...place, share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('absorb' as const, 'remove' as const), ...place }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('note' as const),
      ...place,
      mark: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      locks: fc.integer({ min: 0, max: 7 }),
    }),
  },
);

/** A table beside a list of segments, each a list of blocks. */
class Modelled {
  readonly table = new BlockTable();
  readonly segments: ModelBlock[][] = [];
  readonly #homes: ReadonlyMap<number, FreeBlocks>;
  #address = 2 ** 32;

  constructor() {
    const { table } = this;
    this.#homes = new Map(
      DEVICES.map((device) => [device, table.createFreeBlocks(table.createCounters(15), { device }).leaveToManager()]),
    );
  }

  perform(step: Step): void {
    if (step.do === 'create') {
      const { bytes, device } = step;
      const block = this.table.create(this.#address, bytes, this.#homes.get(device)!);
      this.segments.push([{ block, address: this.#address, bytes, device, locks: 0, mark: 0 }]);
      this.#address += bytes;
      return;
    }
    if (this.segments.length === 0) return;
    const index = step.segment % this.segments.length;
    const segment = this.segments[index]!;
    const at = step.at % segment.length;
    const target = segment[at]!;
    if (step.do === 'split') {
      const bytes = Math.max(1, Math.floor(target.bytes * step.share));
      if (bytes >= target.bytes) return;
      const block = this.table.split(target.block, bytes);
      segment.splice(at + 1, 0, { ...target, block, address: target.address + bytes, bytes: target.bytes - bytes, locks: 0 });
      target.bytes = bytes;
    } else if (step.do === 'absorb') {
      if (at + 1 === segment.length) return;
      this.table.absorbNext(target.block);
      target.bytes += segment.splice(at + 1, 1)[0]!.bytes;
    } else if (step.do === 'note') {
      target.mark = step.mark;
      target.locks = step.locks;
      this.table.setMark(target.block, step.mark);
      this.table.setLocks(target.block, step.locks);
    } else if (segment.length === 1) {
      this.table.remove(target.block);
      this.segments.splice(index, 1);
    }
  }

  check(): void {
    const { table } = this;
    table.checkInvariants();
    const wanted = this.segments.flatMap((segment) =>
      segment.map(({ block, address, bytes, device, locks, mark }, at) => {
        const [previous, next] = [segment[at - 1]?.block ?? NONE, segment[at + 1]?.block ?? NONE];
        const found = locks === 0 ? NONE : block;
        return [block, address, bytes, device, locks, mark, previous, next, segment.length === 1, block, found].join();
      }),
    );
    const found = [...table].map((block) =>
      [
        block,
        table.addressOf(block),
        table.bytesOf(block),
        table.deviceOf(block),
        table.locksOf(block),
        table.markOf(block),
        table.previousOf(block),
        table.nextOf(block),
        table.isWholeSegment(block),
        table.find(table.addressOf(block)),
        table.findLive(table.addressOf(block)),
      ].join(),
    );
    if (found.sort().join(' ') !== wanted.sort().join(' ')) expect(found).toEqual(wanted);
    if (table.count !== wanted.length) expect(table.count).toBe(wanted.length);
    const rows = new Set([...table].map((block) => table.rowOf(block)));
    if (rows.size !== table.count) expect([...rows], 'each block has a row of its own').toHaveLength(table.count);
  }
}

describe('BlockTable', () => {
  test('agrees with a list of segments after every step of any program', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (program) => {
        const modelled = new Modelled();
        for (const each of program) {
          modelled.perform(each);
          modelled.check();
        }
      }),
      { numRuns: 80 },
    );
  });

  test('keeps each of 100 000 blocks as it grows, in less than 100 bytes a block', () => {
    const count = 100_000;
    const bench = new TableBench();
    const { table } = bench;
    const home = bench.free();
    const before = table.metadataBytes;
    let rest = table.create(2 ** 40, count * 48, home);
    for (let i = 1; i < count; i++) rest = table.split(rest, 48);
    expect([table.count, [...table].length]).toEqual([count, count]);
    expect(new Set([...table].map((block) => table.rowOf(block))).size).toBe(count);
    expect(Math.max(...[...table].map((block) => table.rowOf(block)))).toBeLessThan(count + 4096);
    expect((table.metadataBytes - before) / count).toBeLessThan(100);
    table.checkInvariants();
  });

  test('needs no more memory when blocks come and go', () => {
    const { bench, table, home } = small();
    const churn = () => {
      const blocks = Array.from({ length: 300 }, () => bench.segment(512, home));
      for (const block of blocks) table.remove(block);
    };
    for (let i = 0; i < 20; i++) churn();
    const before = table.metadataBytes;
    for (let i = 0; i < 200; i++) churn();
    expect([table.count, table.metadataBytes]).toEqual([0, before]);
  });

  describe('split', () => {
    test('gives the second part the mark, the home and no locks', () => {
      const { bench, table } = small();
      const home = bench.free({ device: 3, group: 9 });
      const block = bench.segment(1024, home);
      table.setMark(block, -5);
      table.setLocks(block, USER_LOCK);
      const rest = table.split(block, 24);
      expect([table.markOf(rest), table.deviceOf(rest), kernel.groupOf(rest), table.locksOf(rest)]).toEqual([-5, 3, 9, 0]);
      expect([table.bytesOf(block), table.bytesOf(rest), table.addressOf(rest)]).toEqual([24, 1000, table.addressOf(block) + 24]);
      expect([table.isInBins(block), table.isInBins(rest)]).toEqual([false, false]);
    });
  });

  describe('absorbNext', () => {
    test('refuses a block that has none behind it, and changes nothing', () => {
      const { bench, table, home } = small();
      const block = bench.segment(1024, home);
      expect(() => table.absorbNext(block)).toThrow(broken(`there is a block behind ${block}`));
      expect([table.bytesOf(block), table.count]).toEqual([1024, 1]);
    });
  });

  describe('findLive', () => {
    test('finds a block as long as it has a lock', () => {
      const { bench, table } = small();
      const block = bench.segment(1024, bench.free().leaveToManager());
      const address = table.addressOf(block);
      expect([table.findLive(address), table.find(address)]).toEqual([NONE, block]);
      kernel.handOut(block, 1000, USER_LOCK | REFERENCE_LOCK);
      expect([table.isFree(block), table.requestedOf(block), table.locksOf(block)]).toEqual([false, 1000, 6]);
      table.setLocks(block, MANAGER_LOCK);
      expect(table.findLive(address)).toBe(block);
      table.setLocks(block, 0);
      expect([table.isFree(block), table.findLive(address)]).toEqual([true, NONE]);
    });

    test.each([0, -1, 0.5, 2 ** 32 + 0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 63, 2 ** 80])(
      'finds nothing under %d',
      (pointer) => {
        const { bench, table, home } = small();
        kernel.handOut(bench.segment(1024, home), 1024, USER_LOCK);
        expect(table.findLive(pointer)).toBe(NONE);
        expect(kernel.release(table.heap, pointer, USER_LOCK)).toBe(-1);
      },
    );
  });

  describe('setHome', () => {
    test('decides where a block goes that comes back, on which device it is and where it is counted', () => {
      const { bench, table, home } = small();
      const other = bench.free({ device: 2 });
      const block = bench.segment(1024, home);
      table.setHome(block, other);
      const pointer = kernel.handOut(block, 1000, USER_LOCK);
      expect([table.deviceOf(block), kernel.release(table.heap, pointer, USER_LOCK)]).toEqual([2, 1]);
      expect([home.toArray(), other.toArray(), table.isInBins(block)]).toEqual([[], [block], true]);
    });
  });

  describe('checkInvariants', () => {
    /** A segment of two blocks of 512 bytes. */
    const pair = () => {
      const { bench, table, home } = small();
      const [first, second] = bench.cut([512, 512], home) as [number, number];
      table.checkInvariants();
      return { bench, table, home, first, second };
    };

    test('throws when a holder has asked for more than the block has', () => {
      const { table, first } = pair();
      kernel.handOut(first, 513, USER_LOCK);
      expect(() => table.checkInvariants()).toThrow(broken(`requested <= bytes of block ${first}`));
    });

    test('throws when a block is not found under its address', () => {
      const { bench, table, home } = small();
      const block = bench.segment(512, home);
      kernel.handOut(block, 16, USER_LOCK);
      const other = table.create(table.addressOf(block), 16, home);
      kernel.handOut(other, 16, USER_LOCK);
      const lost = table.findLive(table.addressOf(block)) === block ? other : block;
      expect(() => table.checkInvariants()).toThrow(broken(`block ${lost} is found under its address`));
    });

    test('throws when neighbours are on two devices', () => {
      const { bench, table, first, second } = pair();
      table.setHome(second, bench.free({ device: 1 }));
      expect(() => table.checkInvariants()).toThrow(broken(`blocks ${first} and ${second} are on one device`));
    });

    test.each(['first', 'second'] as const)('throws when a block is linked to one that is gone, the %s of two', (which) => {
      const blocks = pair();
      blocks.table.remove(blocks[which]);
      expect(() => blocks.table.checkInvariants()).toThrow(memoryError('ERR_MEM_INVARIANT'));
    });
  });
});

describe('ensure', () => {
  test('throws the invariant that does not hold', () => {
    ensure(true, 'never');
    expect(() => ensure(false, 'a == b')).toThrow(broken('a == b'));
  });
});

function small() {
  const bench = new TableBench();
  return { bench, table: bench.table, home: bench.free() };
}

function broken(invariant: string): Error {
  return memoryError('ERR_MEM_INVARIANT', { invariant });
}
