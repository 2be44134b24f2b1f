import { CpuDevice } from '../../adapters/devices/cpu.js';
import type { GpuDevice } from '../../adapters/devices/gpu/gpu-device.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, GiB, MiB } from '../../src/core/units.js';
import { median } from '../bench/statistics.js';
import type { NativeAllocator } from './native-allocators.js';

/** How fast copies from and to one kind of host memory are. */
export interface BandwidthRow {
  readonly memory: string;
  readonly direction: 'to the card' | 'from the card';
  readonly bytes: number;
  readonly gibPerSecond: number;
}

// Enough copies in a round that the clock's grain does not count.
const ROUND_BYTES = 64 * MiB;

/** Measures copies from and to memory of the C library, pinned memory of ours, and pinned memory of the runtime. */
export function measureBandwidth(
  device: GpuDevice,
  peer: NativeAllocator,
  { rounds, sizes }: { readonly rounds: number; readonly sizes: readonly number[] },
): BandwidthRow[] {
  const cpu = new CpuDevice();
  const memories: NativeAllocator[] = [
    { name: 'pageable', alloc: (bytes) => cpu.nativeAlloc(bytes, 4096), free: (ptr) => cpu.nativeFree(ptr) },
    { name: 'pinned', alloc: (bytes) => device.pinnedAlloc(bytes), free: (ptr) => device.pinnedFree(ptr) },
    peer,
  ];
  return memories.flatMap((memory) => sizes.flatMap((bytes) => measureMemory(device, memory, bytes, rounds)));
}

function measureMemory(device: GpuDevice, memory: NativeAllocator, bytes: number, rounds: number): BandwidthRow[] {
  const host = memory.alloc(bytes);
  const ptr = device.nativeAlloc(bytes);
  try {
    if (host === 0 || ptr === 0) throw noRoom(bytes);
    // Where pages cannot be locked, pinned memory is what the C library gave: the table must not call it pinned.
    const name = device.pinFailures > 0 && memory.name === 'pinned' ? 'pinned (refused)' : memory.name;
    // Once unmeasured: pages that were never touched are not there yet.
    device.fill(ptr, 1, bytes);
    device.copy(host, ptr, bytes);
    const row = (direction: BandwidthRow['direction'], target: DevicePtr, source: DevicePtr): BandwidthRow => {
      return { memory: name, direction, bytes, gibPerSecond: measureCopies(device, target, source, { bytes, rounds }) };
    };
    return [row('to the card', ptr, host), row('from the card', host, ptr)];
  } finally {
    if (ptr !== 0) device.nativeFree(ptr);
    if (host !== 0) memory.free(host);
  }
}

function measureCopies(
  device: GpuDevice,
  target: DevicePtr,
  source: DevicePtr,
  { bytes, rounds }: { readonly bytes: number; readonly rounds: number },
): number {
  const copies = Math.max(1, Math.floor(ROUND_BYTES / bytes));
  const seconds = Array.from({ length: rounds }, () => {
    const start = process.hrtime.bigint();
    for (let i = 0; i < copies; i++) device.copy(target, source, bytes);
    return Number(process.hrtime.bigint() - start) / 1e9;
  });
  return (bytes * copies) / GiB / median(seconds);
}

function noRoom(bytes: number): MemoryError {
  return new MemoryError('ERR_MEM_NATIVE', { functionName: `an allocation of ${bytes} bytes`, status: 2, statusName: 'no room' });
}
