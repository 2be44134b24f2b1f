import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { MiB } from '../../src/core/units.js';
import { searchRuns } from '../config/search.js';
import { ALL_KINDS, PLENTY, StreamBench, StreamProgram, stepsWith } from './stream-program.js';

describe.each(ALL_KINDS)('$name', (kind) => {
  const run = (capacityBytes: number, deviceCount: number, streams: number, numRuns: number) =>
    fc.assert(
      fc.asyncProperty(fc.array(stepsWith(streams), { maxLength: 140, size: 'max' }), async (steps) => {
        const program = new StreamProgram(new StreamBench(kind, capacityBytes, deviceCount));
        for (const step of steps) {
          program.perform(step);
          program.check();
        }
        program.finish();
        // Finalisers run between turns: tables of programs that have ended go.
        await nextTurn();
      }),
      { numRuns: searchRuns(numRuns) },
    );

  test('hands out no block too early in any program, and gives everything back with work pending', () => run(PLENTY, 1, 4, 40));

  test('hands out no block too early, and waits for all that was freed before it is out of memory, on a small device', () =>
    run(24 * MiB, 1, 4, 40));

  test('hands out no block too early on several devices', () => run(48 * MiB, 3, 4, 20));

  test.each([PLENTY, 24 * MiB])(
    'hands out no block too early on a device of %i bytes whose native calls come back with a part of the program',
    (capacityBytes) => {
      const outer = stepsWith(3).filter((step) => step.do !== 'remanage');
      const inner = outer.filter((step) => step.do !== 'activate' && step.do !== 'refuse');
      const parts = fc.array(fc.array(inner, { maxLength: 4 }), { maxLength: 40, size: 'max' });
      fc.assert(
        fc.property(fc.array(outer, { maxLength: 60, size: 'max' }), parts, (steps, calls) => {
          const program = new StreamProgram(new StreamBench(kind, capacityBytes));
          let made = 0;
          program.bench.inside = () => {
            for (const step of calls[made++] ?? []) program.perform(step);
          };
          for (const step of steps) {
            program.perform(step);
            program.check();
          }
          program.bench.inside = undefined;
          program.finish();
        }),
        { numRuns: searchRuns(60) },
      );
    },
  );

  test.each([1, 3])('lets no memory go while stream 0 works on it, when no other was ever used, on %i devices', (deviceCount) =>
    run(32 * MiB, deviceCount, 1, 40),
  );
});
