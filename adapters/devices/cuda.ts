/**
 * The memory of NVIDIA cards by CUDA's runtime library: device, pinned, managed and virtual, with streams.
 *
 * @module
 */

import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { GpuDevice } from './gpu/gpu-device.js';
import { GPU_OPTIONS, type GpuDeviceOptions } from './gpu/gpu-memory.js';
import { CUDA } from './gpu/gpu-status.js';

export type { AsyncPoolInfo, AsyncPoolOptions, GpuAsyncPool } from './gpu/gpu-async-pool.js';
export type { GpuDevice } from './gpu/gpu-device.js';
export type { GpuGraph } from './gpu/gpu-graphs.js';
export type { GpuLimit } from './gpu/gpu-limit.js';
export type { ManagedAdvice, ManagedPlace } from './gpu/gpu-managed.js';
export type { GpuDeviceOptions, GpuMemory } from './gpu/gpu-memory.js';
export type { ImportPagesOptions, PageExport, SharedPages } from './gpu/gpu-page-sharing.js';
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
