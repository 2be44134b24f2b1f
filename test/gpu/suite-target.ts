import type { GpuDevice } from '../../adapters/devices/gpu/gpu-device.js';
import type { GpuDeviceOptions } from '../../adapters/devices/gpu/gpu-memory.js';

/** The device that gpu-suite.ts tries: the runner that imports it sets this first. */
export const suiteTarget: { make: (options?: GpuDeviceOptions) => GpuDevice } = {
  make: () => {
    throw new Error('no device was chosen');
  },
};
