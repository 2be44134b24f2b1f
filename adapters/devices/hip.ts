/**
 * The memory of AMD cards by HIP's runtime library, under the same names as CUDA's.
 *
 * @module
 */

import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { GpuDevice } from './gpu/gpu-device.js';
import { GPU_OPTIONS, type GpuDeviceOptions } from './gpu/gpu-memory.js';
import { HIP } from './gpu/gpu-status.js';

export type { AsyncPoolInfo, AsyncPoolOptions, GpuAsyncPool } from './gpu/gpu-async-pool.js';
export type { GpuDevice } from './gpu/gpu-device.js';
export type { GpuGraph } from './gpu/gpu-graphs.js';
export type { GpuLimit } from './gpu/gpu-limit.js';
export type { ManagedAdvice, ManagedPlace } from './gpu/gpu-managed.js';
export type { GpuDeviceOptions, GpuMemory } from './gpu/gpu-memory.js';
export type { ImportPagesOptions, PageExport, SharedPages } from './gpu/gpu-page-sharing.js';
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
