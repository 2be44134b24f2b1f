import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { GPU_OPTIONS, GpuDevice, type GpuDeviceOptions } from './gpu/gpu-device.js';
import { HIP } from './gpu/gpu-status.js';

export type { GpuDevice, GpuDeviceOptions } from './gpu/gpu-device.js';
export type { IpcMemory } from './gpu/gpu-sharing.js';
export type { GpuVirtualMemory } from './gpu/gpu-virtual.js';

const OWN: OwnOptions<GpuDeviceOptions> = { of: () => HipDevice, names: GPU_OPTIONS };

/** AMD's cards, by the HIP runtime (`libamdhip64.so`, or a path). */
export class HipDevice extends GpuDevice {
  /** Loads nothing yet. @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(options: GpuDeviceOptions = {}) {
    checkOwnOptions(OWN, new.target, options);
    super(HIP, options);
  }
}
