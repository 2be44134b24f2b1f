import type { GpuDevice } from '../../adapters/devices/gpu/gpu-device.js';
import { MANAGERS } from '../../src/cli/choices.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import type { ManagerFactory } from '../../src/core/memory-host.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, GiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';

/** How long a manager took to fill the card. */
export interface FillRow {
  readonly manager: string;
  readonly blocks: number;
  readonly blockBytes: number;
  /** Of all blocks, and the refusal at the end. */
  readonly ms: number;
  /** The same blocks again, once all were freed. */
  readonly againMs: number;
}

/** On small cards blocks are smaller. */
const MOST_BLOCK_BYTES = 1 * GiB;
const LEAST_BLOCKS = 16;

/** Fills what is free on the card with large blocks under a new manager, as a program does that takes all of it. */
export function measureFill(device: GpuDevice, manager: string): FillRow {
  const create = MANAGERS.get(manager) as ManagerFactory;
  using runtime = new MemoryRuntime(device, { exitReport: false });
  new MemoryManagerInstaller(create(device.deviceCount, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
  const { freeBytes } = device.memoryInfo(device.activeDeviceId);
  const share = Math.max(1, Math.floor(freeBytes / LEAST_BLOCKS / MiB)) * MiB;
  const blockBytes = Math.min(MOST_BLOCK_BYTES, share);
  const blocks: DevicePtr[] = [];
  const fill = (most: number): number => {
    const start = process.hrtime.bigint();
    try {
      while (blocks.length < most) blocks.push(runtime.slot.alloc(blockBytes, true));
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
    }
    return Number(process.hrtime.bigint() - start) / 1e6;
  };
  const free = () => {
    for (const ptr of blocks.splice(0)) runtime.slot.unlock(ptr, true);
  };
  const ms = fill(Number.POSITIVE_INFINITY);
  const { length } = blocks;
  free();
  const againMs = fill(length);
  free();
  return { manager, blocks: length, blockBytes, ms, againMs };
}
