import { checkOptionNames } from '../../src/core/option-names.js';
import { GPU_OPTIONS, GpuDevice, type GpuDeviceOptions } from './gpu/gpu-device.js';
import { HIP } from './gpu/gpu-status.js';

export type { GpuDevice, GpuDeviceOptions } from './gpu/gpu-device.js';
export type { IpcMemory } from './gpu/gpu-sharing.js';
export type { GpuVirtualMemory } from './gpu/gpu-virtual.js';

/** AMD's cards, by the HIP runtime (`libamdhip64.so`, or a path). */
export class HipDevice extends GpuDevice {
  /** Loads nothing yet. @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(options: GpuDeviceOptions = {}) {
    if (new.target === HipDevice) checkOptionNames(HipDevice.name, options, GPU_OPTIONS);
    super(HIP, options);
  }
}
