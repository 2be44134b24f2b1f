import { describeDevice } from '../conformance/device-suite.js';
import { suiteTarget } from './suite-target.js';

// The suite that the fixture runs too, on a card.
describeDevice(suiteTarget.make().name, {
  make: suiteTarget.make,
  hasBytes: true,
  hasViews: false,
  leastAlignment: 256,
  has: ['managed memory', 'registration', 'memory info'],
});
