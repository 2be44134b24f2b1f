import { GpuFixture } from '../fixtures/gpu-fixture.js';
import { describeDevice } from './device-suite.js';

for (const kind of ['cuda', 'hip'] as const) {
  const fixture = new GpuFixture(kind);
  describeDevice(`${kind === 'cuda' ? 'CudaDevice' : 'HipDevice'} on the fixture`, {
    make: () => fixture.fresh(),
    hasBytes: true,
    hasViews: false,
    leastAlignment: 256,
    has: ['managed memory', 'registration', 'memory info'],
  });
}
