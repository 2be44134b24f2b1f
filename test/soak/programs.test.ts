import fc from 'fast-check';
import { describe, test } from 'vitest';
import { MiB } from '../../src/core/units.js';
import { Model, perform, performOrRunOut, step } from '../managers/slot-program.js';

// The same programs as in the suite, more of them and longer ones.
const RUNS = 500;
const STEPS = 400;

describe('ManagerSlot with mixed managers, soaked', () => {
  test('agrees with the model after every step of any program', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: STEPS, size: 'max' }), (program) => {
        const model = new Model();
        for (const each of program) {
          perform(model, each);
          model.check();
        }
        model.finish();
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  });

  test('agrees with the model when devices are small and run out of memory', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: STEPS, size: 'max' }), (program) => {
        const model = new Model(40 * MiB);
        for (const each of program) {
          performOrRunOut(model, each);
          model.check();
        }
        model.finish();
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  });
});
