import { MemoryError } from '../../../src/core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../../../src/core/option-names.js';
import { type DevicePtr, NULL_PTR } from '../../../src/core/units.js';
import { type CNumber, callback } from '../../ffi/callback.js';
import { ENGINE_OPTIONS, EngineHost, type EngineHostOptions } from '../engine-host.js';
import { CHeap } from './c-heap.js';

export interface CAllocatorHostOptions extends EngineHostOptions {
  /**
   * Keeps each block's requested size in 16 bytes before it, where `realloc` and `sizeOf` notice that it was overwritten.
   * Without it they go by the size of the manager's block, and a block costs less: half of what a callback costs, and the bytes.
   * @defaultValue false
   */
  readonly sizeHeader?: boolean;
}

const OPTIONS: OwnOptions<CAllocatorHostOptions> = { of: () => CAllocatorHost, names: { ...ENGINE_OPTIONS, sizeHeader: true } };

/** C function pointers with the contracts of the C library's functions. Their addresses are numbers. */
export interface CFunctions {
  /** `void *malloc(size_t)` */
  readonly malloc: number;
  /** `void *calloc(size_t, size_t)` */
  readonly calloc: number;
  /** `void *realloc(void *, size_t)` */
  readonly realloc: number;
  /** `void free(void *)` */
  readonly free: number;
}

/**
 * A host for every C library that takes allocator callbacks: its manager serves them. A block that C holds has the
 * manager's lock. Size headers count as requested in its statistics.
 *
 * A request that cannot be served gives C null, and {@link lastError} says why. Anything else that goes wrong (a pointer
 * that is no block's, a listener that throws) is thrown by {@link call} when the native function has returned.
 *
 * The order of an end: the library gives everything back and forgets the functions (it is closed, or its own are set
 * again); then {@link dispose}.
 */
export class CAllocatorHost extends EngineHost {
  /** The functions below, which throw instead of giving null. */
  readonly heap: CHeap;

  constructor(options: CAllocatorHostOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super('CAllocatorHost', options);
    this.heap = new CHeap({
      slot: this.slot,
      givenUp: this.givenUp,
      blocks: this.blocks,
      sizeHeader: options.sizeHeader ?? false,
      outOfMemory: (requestedBytes) => this.outOfMemory(requestedBytes),
    });
  }

  /** The function pointers, registered when they are first asked for. @throws ERR_MEM_DISPOSED, ERR_MEM_NATIVE */
  get functions(): CFunctions {
    return this.callbacks.register('c', () => ({
      malloc: callback({
        result: 'uintptr_t',
        parameters: ['size_t'],
        onError: 0,
        body: (bytes) => this.malloc(bytes),
      }),
      calloc: callback({
        result: 'uintptr_t',
        parameters: ['size_t', 'size_t'],
        onError: 0,
        body: (count, elementBytes) => this.calloc(count, elementBytes),
      }),
      realloc: callback({
        result: 'uintptr_t',
        parameters: ['uintptr_t', 'size_t'],
        onError: 0,
        body: (ptr, bytes) => this.realloc(ptr, bytes),
      }),
      free: callback({ result: 'void', parameters: ['uintptr_t'], onError: undefined, body: (ptr) => this.free(ptr) }),
    }));
  }

  /** C's malloc. @returns null when there is no memory */
  malloc(bytes: CNumber): DevicePtr {
    try {
      this.startUse();
      return this.heap.malloc(bytes);
    } catch (error) {
      return this.refuse(error, NULL_PTR);
    }
  }

  /** C's calloc. @returns null when there is no memory, or the product is no size */
  calloc(count: CNumber, elementBytes: CNumber): DevicePtr {
    try {
      this.startUse();
      return this.heap.calloc(count, elementBytes);
    } catch (error) {
      return this.refuse(error, NULL_PTR);
    }
  }

  /** C's realloc. @returns null when there is no memory, and for 0 bytes. @throws as {@link CHeap.realloc}, but for that */
  realloc(ptr: CNumber, bytes: CNumber): DevicePtr {
    try {
      this.startUse();
      return this.heap.realloc(ptr, bytes);
    } catch (error) {
      return this.refuse(error, NULL_PTR);
    }
  }

  /** C's free. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE */
  free(ptr: CNumber): void {
    this.heap.free(ptr);
  }

  /** A size that is none comes from JavaScript, not from C. */
  protected override refuse<A>(error: unknown, answer: A): A {
    if (MemoryError.is(error, 'ERR_MEM_INVALID_SIZE')) throw error;
    return super.refuse(error, answer);
  }
}
