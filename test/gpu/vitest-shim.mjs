// Stands for vitest where the conformance suite runs without it: vitest's own `expect`, and `describe` and `test` of its
// own runner, without the rest of it (a bundler, a watcher, worker processes).
import { ChaiStyleAssertions, chai, JestAsymmetricMatchers, JestChaiExpect, JestExtend, setState } from '@vitest/expect';
import { getCurrentTest } from '@vitest/runner';

for (const plugin of [JestExtend, JestChaiExpect, ChaiStyleAssertions, JestAsymmetricMatchers]) chai.use(plugin);

/** @type {import('vitest').ExpectStatic} */
export const expect = Object.assign((value, message) => {
  const assertion = chai.expect(value, message);
  const test = getCurrentTest();
  return test === undefined ? assertion : assertion.withTest(test);
}, chai.expect);

setState(
  { assertionCalls: 0, isExpectingAssertions: false, isExpectingAssertionsError: null, expectedAssertionsNumber: null },
  expect,
);

export { afterAll, afterEach, beforeAll, beforeEach, describe, it, test } from '@vitest/runner';
