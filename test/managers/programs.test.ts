import fc from 'fast-check';
import { describe, test } from 'vitest';
import { MiB } from '../../src/core/units.js';
import { searchRuns } from '../config/search.js';
import { Model, perform, performOrRunOut, step } from './slot-program.js';

describe('ManagerSlot with caching and default managers', () => {
  test('agrees with the model after every step of any program, and frees everything', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (program) => {
        const model = new Model();
        for (const each of program) {
          perform(model, each);
          model.check();
        }
        model.finish();
      }),
      { numRuns: searchRuns(80) },
    );
  });

  test('agrees with the model when devices are small and run out of memory', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (program) => {
        const model = new Model(40 * MiB);
        for (const each of program) {
          performOrRunOut(model, each);
          model.check();
        }
        model.finish();
      }),
      { numRuns: searchRuns(50) },
    );
  });
});
