import { type Releasable, releasable } from '../../../src/core/disposable.js';
import { type DevicePtr, NULL_PTR } from '../../../src/core/units.js';
import { type CNumber, callback } from '../../ffi/callback.js';
import { cFunction, type NativeLibrary } from '../../ffi/library.js';
import { moveBytes } from '../../os/bytes.js';
import type { CAllocatorHost } from './c-allocator-host.js';
import { C_ALIGNMENT } from './c-heap.js';

/** The arguments of GMP's `mp_set_memory_functions`. */
export interface GmpAllocator {
  /** `void *allocate(size_t)` */
  readonly allocate: number;
  /** `void *reallocate(void *, size_t old, size_t new)` */
  readonly reallocate: number;
  /** `void free(void *, size_t)` */
  readonly free: number;
}

/**
 * Gives GMP's three functions. GMP has no answer to null, it crashes: it never gets one.
 *
 * When the manager has no memory, GMP gets some of the host's {@link CAllocatorHost.fallback} and `host.call` throws the
 * refusal when the GMP function has returned. Its numbers are then complete and may be used, or cleared to make room.
 * Where the device itself has nothing left, the process aborts with a message, as GMP does by itself.
 *
 * A number that was made before these functions were set keeps its old memory when it grows, which is lost then
 * (GMP's manual forbids it); `host.call` throws ERR_MEM_UNKNOWN_POINTER.
 *
 * @throws ERR_MEM_DISPOSED, ERR_MEM_NATIVE
 * @see Source: GMP manual, Custom Allocation
 */
export function gmpAllocator(host: CAllocatorHost): GmpAllocator {
  return host.callbacks.register('gmp', () => ({
    allocate: callback({ result: 'uintptr_t', parameters: ['size_t'], onError: 0, body: (bytes) => allocate(host, bytes) }),
    reallocate: callback({
      result: 'uintptr_t',
      parameters: ['uintptr_t', 'size_t', 'size_t'],
      onError: 0,
      body: (ptr, oldBytes, bytes) => reallocate(host, ptr, Number(oldBytes), bytes),
    }),
    free: callback({
      result: 'void',
      parameters: ['uintptr_t', 'size_t'],
      onError: undefined,
      body: (ptr) => {
        if (!host.fallback.free(Number(ptr))) host.free(ptr);
      },
    }),
  }));
}

/**
 * Sets GMP's functions to a host's. They serve the whole process: set them before any number is made.
 *
 * @returns what sets the functions back that were there before; clear every number first
 * @throws ERR_MEM_DEVICE_ABSENT when the library is not GMP, and as {@link gmpAllocator}
 */
export function installGmpAllocator(host: CAllocatorHost, library: NativeLibrary): Releasable {
  const setFunctions = cFunction(library, '__gmp_set_memory_functions', 'void', ['uintptr_t', 'uintptr_t', 'uintptr_t']);
  const getFunctions = cFunction(library, '__gmp_get_memory_functions', 'void', ['uint64_t *', 'uint64_t *', 'uint64_t *']);
  const ours = gmpAllocator(host);
  const before = [new BigUint64Array(1), new BigUint64Array(1), new BigUint64Array(1)] as const;
  getFunctions(...before);
  setFunctions(ours.allocate, ours.reallocate, ours.free);
  return releasable(() => setFunctions(Number(before[0][0]), Number(before[1][0]), Number(before[2][0])));
}

function allocate(host: CAllocatorHost, bytes: CNumber): DevicePtr {
  const ptr = reporting(host, () => host.malloc(bytes));
  return ptr === NULL_PTR ? host.fallback.allocOrAbort(bytes, C_ALIGNMENT, 'GMP') : ptr;
}

function reallocate(host: CAllocatorHost, ptr: CNumber, oldBytes: number, bytes: CNumber): DevicePtr {
  const isFallback = host.fallback.sizeOf(Number(ptr)) > 0;
  const isOurs = !isFallback && host.heap.owns(ptr);
  if (!isFallback) {
    const resized = reporting(host, () => host.realloc(ptr, bytes));
    if (resized !== NULL_PTR) return resized;
  }
  const moved = isOurs ? host.fallback.allocOrAbort(bytes, C_ALIGNMENT, 'GMP') : allocate(host, bytes);
  moveBytes(moved, Number(ptr), Math.min(oldBytes, Number(bytes)));
  if (isFallback) host.fallback.free(Number(ptr));
  if (isOurs) reporting(host, () => host.free(ptr));
  return moved;
}

/** Runs a request, and has the native call under way throw what it fails for; of several refusals the first. */
function reporting<T>(host: CAllocatorHost, request: () => T): T | typeof NULL_PTR {
  const refusedBefore = host.lastError !== undefined;
  try {
    const answer = request();
    if (!refusedBefore && host.lastError !== undefined) host.callbacks.report(host.lastError);
    return answer;
  } catch (error) {
    host.callbacks.report(error);
    return NULL_PTR;
  }
}
