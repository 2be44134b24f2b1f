import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../src/core/units.js';
import { SOAK_LIMIT_MS } from '../config/limits.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

const EVENTS = 10_000_000;
/** Of the recording that is converted: text takes longer. */
const CONVERTED_EVENTS = 1_000_000;
/** What V8 may hold on to before it collects, and the columns of one batch. */
const MOST_GROWTH_BYTES = 48 * MiB;
const folder = mkdtempSync(join(tmpdir(), 'stowage-soak-'));
const file = join(folder, 'long.stowtrace');
const shorter = join(folder, 'shorter.stowtrace');
beforeAll(() => void compiled(), 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs a program that works through all events, and reports its memory after the first tenth and at the end. */
function growthOf(body: string, events = EVENTS, path = file): number {
  const imports = `
    import { MemoryRuntime } from ${JSON.stringify(moduleUrl('src/index.js'))};
    import { SimulatedDevice } from ${JSON.stringify(moduleUrl('adapters/devices/simulated.js'))};
    import { convertTrace, readTrace, recordTrace, summariseTrace, TRACE_WRITERS } from ${JSON.stringify(moduleUrl('src/trace/index.js'))};
    const FILE = ${JSON.stringify(path)}, EVENTS = ${events};
    const used = () => { globalThis.gc(); const { heapUsed, external } = process.memoryUsage(); return heapUsed + external; };`;
  const { status, stdout, stderr } = runChild(`${imports}\n${body}`, {
    nodeArguments: ['--expose-gc'],
    timeoutMs: SOAK_LIMIT_MS,
  });
  expect([status, stderr]).toEqual([0, '']);
  return Number(stdout);
}

const RECORD = `
  const runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
  const recorder = recordTrace(runtime, FILE);
  const live = [];
  let early = 0;
  for (let i = 0; i < EVENTS / 2; i++) {
    live.push(runtime.slot.alloc((i * 7919) % 65536 + 1, true));
    if (live.length > 1000) runtime.slot.unlock(live[i % 1000], true), live[i % 1000] = live.pop();
    if (i === EVENTS / 20) early = used();
  }
  console.log(used() - early);
  for (const ptr of live) runtime.slot.unlock(ptr, true);
  recorder.dispose();`;

describe('a recording of 10^7 events', () => {
  test('is written in constant memory', () => {
    const growth = growthOf(RECORD);
    expect(growth).toBeLessThan(MOST_GROWTH_BYTES);
    expect(statSync(file).size).toBeGreaterThan(5 * EVENTS);
  });

  test('of a tenth of them is written', () => {
    expect(growthOf(RECORD, CONVERTED_EVENTS, shorter)).toBeLessThan(MOST_GROWTH_BYTES);
  });

  test.each(['stowage', 'alloctrace', 'log', 'rmm', 'umpire', 'pytorch', 'perfetto'])(
    'is converted to %s in constant memory',
    (format) => {
      const growth = growthOf(
        `
        let bytes = 0, early = 0;
        const sink = { write: (chunk) => { bytes += chunk.length; } };
        await convertTrace(FILE, sink, TRACE_WRITERS.get(${JSON.stringify(format)}), {
          onProgress: (done, total) => { if (early === 0 && done > total / 10) early = used(); },
        });
        if (bytes === 0) throw new Error('nothing was written');
        console.log(used() - early);`,
        CONVERTED_EVENTS,
        shorter,
      );
      expect(growth).toBeLessThan(MOST_GROWTH_BYTES);
    },
  );

  test('is summed up in constant memory', () => {
    const growth = growthOf(`
      let early = 0;
      const { totals } = await summariseTrace(FILE, {
        onProgress: (done, total) => { if (early === 0 && done > total / 10) early = used(); },
      });
      if (totals.allocations !== EVENTS / 2) throw new Error(String(totals.allocations));
      console.log(used() - early);`);
    expect(growth).toBeLessThan(MOST_GROWTH_BYTES);
  });
});
