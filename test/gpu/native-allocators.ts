import type { GpuDialect } from '../../adapters/devices/gpu/gpu-status.js';
import { type NativeLibrary, openLibrary } from '../../adapters/ffi/library.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, devicePtr } from '../../src/core/units.js';

/** An allocator of the runtime, called directly. */
export interface NativeAllocator {
  /** As in the runtime: `cudaMalloc/cudaFree`. */
  readonly name: string;
  readonly alloc: (bytes: number) => DevicePtr;
  readonly free: (ptr: DevicePtr) => void;
}

type Status = (...args: unknown[]) => number;

/** The runtime's own allocators, as peers of the managers and of pinned memory. */
export class NativeAllocators {
  readonly device: NativeAllocator;
  /** In the order of the default stream. */
  readonly async: NativeAllocator;
  /** Page-locked host memory. */
  readonly host: NativeAllocator;

  /** @throws ERR_MEM_DEVICE_ABSENT */
  constructor({ name, prefix, libraries }: GpuDialect, library: string | undefined) {
    const native = openLibrary(library === undefined ? libraries : [library], { device: name });
    // Two of HIP's names are its own.
    const [mallocHost, freeHost] = prefix === 'hip' ? ['HostMalloc', 'HostFree'] : ['MallocHost', 'FreeHost'];
    const flags = prefix === 'hip' ? [0] : [];
    this.device = pair(native, prefix, ['Malloc', 'Free'], [], []);
    this.async = pair(native, prefix, ['MallocAsync', 'FreeAsync'], [0], [0]);
    this.host = pair(native, prefix, [mallocHost as string, freeHost as string], flags, []);
  }
}

/** @param allocRest - what an allocation takes after target and size @param freeRest - what a free takes after the address */
function pair(
  library: NativeLibrary,
  prefix: string,
  names: readonly string[],
  allocRest: readonly number[],
  freeRest: readonly number[],
): NativeAllocator {
  const [malloc, free] = names.map((name) => `${prefix}${name}`) as [string, string];
  const rest = (values: readonly number[]) => values.map(() => 'uintptr_t');
  const allocFunction = library.func<Status>(malloc, 'int', ['uint64_t *', 'size_t', ...rest(allocRest)]);
  const freeFunction = library.func<Status>(free, 'int', ['uintptr_t', ...rest(freeRest)]);
  const out = new BigUint64Array(1);
  return {
    name: `${malloc}/${free}`,
    alloc: (bytes) => {
      check(malloc, allocFunction(out, bytes, ...allocRest));
      return devicePtr(Number(out[0]));
    },
    free: (ptr) => check(free, freeFunction(ptr, ...freeRest)),
  };
}

function check(functionName: string, status: number): void {
  if (status !== 0) throw new MemoryError('ERR_MEM_NATIVE', { functionName, status, statusName: 'see the runtime' });
}
