import { describe } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { OpenClDevice } from '../../adapters/devices/opencl/index.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { GiB } from '../../src/core/units.js';
import { openCl } from '../fixtures/opencl.js';
import { describeDevice } from './device-suite.js';

describeDevice('CpuDevice', {
  make: () => new CpuDevice(),
  hasBytes: true,
  leastAlignment: 64,
  has: ['memory info', 'capacity'],
});
// It puts segments one behind the other, so that addresses compare with those of Flashlight.
describeDevice('SimulatedDevice', { make: () => new SimulatedDevice(), hasBytes: false, leastAlignment: 1 });
describeDevice('SimulatedDevice with all it can have', {
  make: () =>
    new SimulatedDevice({ deviceCount: 4, capacityBytes: 64 * GiB, virtual: { granularityBytes: 4096 }, streams: true }),
  hasBytes: false,
  leastAlignment: 1,
  has: ['memory info', 'capacity'],
});

describe.skipIf(openCl.missing)(openCl.title('OpenCL'), () => {
  describeDevice('OpenClDevice', {
    make: () => new OpenClDevice(),
    hasBytes: true,
    hasViews: false,
    leastAlignment: 128,
    has: ['memory info'],
  });
  describeDevice('OpenClDevice with fine-grain memory', {
    make: () => new OpenClDevice({ fineGrain: true }),
    hasBytes: true,
    leastAlignment: 128,
    has: ['memory info'],
  });
});
