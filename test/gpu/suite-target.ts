import type { GpuDevice } from '../../adapters/devices/gpu/gpu-device.js';

/** The device that gpu-suite.ts tries: the runner that imports it sets this first. */
export const suiteTarget: { make: () => GpuDevice } = {
  make: () => {
    throw new Error('no device was chosen');
  },
};
