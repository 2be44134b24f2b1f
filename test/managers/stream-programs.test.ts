import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { MiB } from '../../src/core/units.js';
import { KINDS, StreamBench, StreamProgram, stepsWith } from './stream-program.js';

describe.each(KINDS)('$name', (kind) => {
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
      { numRuns },
    );

  test('hands out no block too early in any program, and gives everything back with work pending', () => run(2 ** 40, 1, 4, 40));

  test('hands out no block too early, and waits for all that was freed before it is out of memory, on a small device', () =>
    run(24 * MiB, 1, 4, 40));

  test('hands out no block too early on several devices', () => run(48 * MiB, 3, 4, 20));

  test.each([1, 3])('lets no memory go while stream 0 works on it, when no other was ever used, on %i devices', (deviceCount) =>
    run(32 * MiB, deviceCount, 1, 40),
  );
});
