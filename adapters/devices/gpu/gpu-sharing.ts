import { orUndo } from '../../../src/core/attempt.js';
import { checkArgument, checkRange } from '../../../src/core/errors.js';
import { checkBytes, type DevicePtr } from '../../../src/core/units.js';
import type { LiveRanges } from '../live-ranges.js';
import { type GpuRange, GpuSegment, ImportedSegment } from './gpu-ranges.js';
import { type GpuRuntime, IPC_HANDLE_BYTES } from './gpu-runtime.js';

/** Device memory that another process can open; it can be sent there as it is. */
export interface IpcMemory {
  /** The runtime's 64 bytes. */
  readonly handle: Uint8Array;
  /** Where the memory begins in its segment. */
  readonly offsetBytes: number;
  /** The size of the segment, all of which the other process can reach. */
  readonly segmentBytes: number;
}

/** Exports a place in a segment. @throws ERR_MEM_UNKNOWN_POINTER unless `ptr` lies in a segment that was allocated here */
export function exportMemory(runtime: GpuRuntime, ranges: LiveRanges<GpuRange>, ptr: DevicePtr): IpcMemory {
  const segment = ranges.around(ptr, GpuSegment);
  const handle = runtime.on(segment.device, () => runtime.ipcHandle(segment.nativeAddress));
  const offsetBytes = ptr - segment.nativeAddress;
  return { handle, offsetBytes, segmentBytes: segment.base - segment.nativeAddress + segment.bytes };
}

/**
 * Opens memory of another process on the active device. Its size is checked against the driver's answer.
 *
 * @returns the address of what was exported
 * @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE
 */
export function importMemory(runtime: GpuRuntime, ranges: LiveRanges<GpuRange>, memory: IpcMemory): DevicePtr {
  const { handle, offsetBytes, segmentBytes } = memory;
  const isHandle = handle instanceof Uint8Array && handle.length === IPC_HANDLE_BYTES;
  checkArgument(isHandle, 'handle', `${typeof handle} of length ${handle?.length}`, `a Uint8Array of ${IPC_HANDLE_BYTES} bytes`);
  checkBytes(segmentBytes);
  checkBytes(offsetBytes);
  checkRange(offsetBytes, 1, segmentBytes);
  const device = runtime.activeDevice;
  return runtime.on(device, () => {
    const base = runtime.ipcOpen(handle) as DevicePtr;
    const enter = () => {
      const known = ranges.at(base);
      if (known instanceof ImportedSegment) known.opened++;
      else {
        checkRange(0, segmentBytes, allocatedBytes(runtime, base));
        ranges.insert(new ImportedSegment(base, segmentBytes, device));
      }
    };
    orUndo(enter, () => runtime.leftovers.drop(() => runtime.call('IpcCloseMemHandle', base)));
    return (base + offsetBytes) as DevicePtr;
  });
}

/** Closes what was imported, after all work of its device. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
export function closeMemory(runtime: GpuRuntime, ranges: LiveRanges<GpuRange>, ptr: DevicePtr): void {
  const segment = ranges.around(ptr, ImportedSegment);
  runtime.on(segment.device, () => {
    runtime.call('DeviceSynchronize');
    runtime.call('IpcCloseMemHandle', segment.base);
  });
  segment.opened--;
  if (segment.opened === 0) ranges.remove(segment.base);
}

/** The bytes from an address to the end of the driver's allocation that it lies in; 0 where the driver cannot tell. */
function allocatedBytes(runtime: GpuRuntime, address: number): number {
  const range = runtime.driver.addressRange(address);
  return range === undefined ? 0 : range.base + range.bytes - address;
}
