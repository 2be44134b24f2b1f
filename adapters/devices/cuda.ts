import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { GPU_OPTIONS, GpuDevice, type GpuDeviceOptions } from './gpu/gpu-device.js';
import { CUDA } from './gpu/gpu-status.js';

export type { GpuDevice, GpuDeviceOptions } from './gpu/gpu-device.js';
export type { IpcMemory } from './gpu/gpu-sharing.js';
export type { GpuVirtualMemory } from './gpu/gpu-virtual.js';

const OWN: OwnOptions<GpuDeviceOptions> = { of: () => CudaDevice, names: GPU_OPTIONS };

/** NVIDIA's cards, by the CUDA runtime (`libcudart.so.13` or `.12`, or a path). */
export class CudaDevice extends GpuDevice {
  /** Loads nothing yet. @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(options: GpuDeviceOptions = {}) {
    checkOwnOptions(OWN, new.target, options);
    super(CUDA, options);
  }
}
