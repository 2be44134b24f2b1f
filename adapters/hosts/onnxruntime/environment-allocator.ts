import { orUndo, warn } from '../../../src/core/attempt.js';
import { MemoryError } from '../../../src/core/errors.js';
import { type DevicePtr, NULL_PTR } from '../../../src/core/units.js';
import { CpuDevice } from '../../devices/cpu.js';
import { type CNumber, callback } from '../../ffi/callback.js';
import { CallbackTable } from '../../ffi/callback-table.js';
import { PROCESS_HEAP } from '../../os/aligned-memory.js';
import { writeUint64 } from '../../os/bytes.js';
import { FallbackMemory } from '../fallback-memory.js';
import { API_VERSION, ENGINE, OnnxRuntimeApi } from './onnxruntime-api.js';

/** What ONNX Runtime aligns tensors to. @see Source: mlas.h, MlasGetPreferredBufferAlignment */
export const TENSOR_ALIGNMENT = 64;
const WARNING_LEVEL = 2;
/** OrtDeviceAllocator: one that ONNX Runtime puts no arena of its own around. */
const DEVICE_ALLOCATOR = 0;
/** OrtMemTypeDefault */
const DEFAULT_MEMORY = 0;
const WORD_BYTES = 8;
const STRUCT_BYTES = 4 * WORD_BYTES;

/** Who serves an allocator's calls. */
export interface AllocatorTarget {
  /** Never gives null. */
  alloc(bytes: CNumber): DevicePtr;
  free(ptr: CNumber): void;
}

const allocators = new Map<string, EnvironmentAllocator>();

/**
 * The allocator of a loaded ONNX Runtime's environment: a C struct with three functions, which go to the host that is
 * attached.
 *
 * It lives as long as its isolate: a session keeps the allocator that it was opened with, also when the environment has
 * another by then, and calls it to its own end. While no host is attached such a session gets memory past all managers.
 */
export class EnvironmentAllocator {
  readonly api: OnnxRuntimeApi;
  readonly #callbacks = new CallbackTable('OnnxRuntimeHost');
  /** Blocks of sessions that outlived the host they were opened under. */
  readonly #orphans = new FallbackMemory(new CpuDevice());
  readonly #environment: number;
  readonly #memoryInfo: number;
  readonly #struct: number;
  readonly #out = new BigUint64Array(1);
  #target: AllocatorTarget | undefined;

  /** The one allocator of the library in this file. @throws as the API's constructor, ERR_MEM_NATIVE */
  static of(path: string): EnvironmentAllocator {
    const allocator = allocators.get(path) ?? new EnvironmentAllocator(path);
    allocators.set(path, allocator);
    return allocator;
  }

  private constructor(path: string) {
    this.api = new OnnxRuntimeApi(path);
    this.api.call('CreateCpuMemoryInfo', DEVICE_ALLOCATOR, DEFAULT_MEMORY, this.#out);
    this.#memoryInfo = Number(this.#out[0]);
    // The process's one environment, which is made now unless a session has made it; it counts one more owner.
    this.api.call('CreateEnv', WARNING_LEVEL, 'stowage', this.#out);
    this.#environment = Number(this.#out[0]);
    const functions = this.#callbacks.register('allocator', () => ({
      // The first parameter of each is the struct.
      alloc: callback({
        result: 'uintptr_t',
        parameters: ['uintptr_t', 'size_t'],
        onError: 0,
        body: (_self, bytes) => (this.#target === undefined ? this.#adopt(bytes) : this.#target.alloc(bytes)),
      }),
      free: callback({
        result: 'void',
        parameters: ['uintptr_t', 'uintptr_t'],
        onError: undefined,
        body: (_self, ptr) => this.#free(ptr),
      }),
      info: callback({ result: 'uintptr_t', parameters: ['uintptr_t'], onError: 0, body: () => this.#memoryInfo }),
    }));
    this.#struct = PROCESS_HEAP.allocate(STRUCT_BYTES, TENSOR_ALIGNMENT);
    // struct OrtAllocator { uint32_t version; void *(*Alloc)(…); void (*Free)(…); const OrtMemoryInfo *(*Info)(…); }
    const words = [API_VERSION, functions.alloc, functions.free, functions.info];
    for (const [i, word] of words.entries()) writeUint64(this.#struct + i * WORD_BYTES, word);
  }

  /** Registers the allocator, to be served by a host. @throws ERR_MEM_ENGINE_IN_USE while another host serves it */
  attach(target: AllocatorTarget): void {
    if (this.#target !== undefined) {
      throw new MemoryError('ERR_MEM_ENGINE_IN_USE', { engine: ENGINE, reason: 'another host is attached: dispose of it first' });
    }
    this.#target = target;
    orUndo(
      () => this.api.call('RegisterAllocator', this.#environment, this.#struct),
      () => {
        this.#target = undefined;
      },
    );
  }

  /** Takes the allocator out of the environment: sessions from now on do not get it. */
  detach(): void {
    this.api.call('UnregisterAllocator', this.#environment, this.#memoryInfo);
    this.#target = undefined;
  }

  #adopt(bytes: CNumber): DevicePtr {
    if (this.#orphans.allocs === 0) {
      warn(`an ${ENGINE} session outlived its OnnxRuntimeHost: its memory comes from no manager now`);
    }
    return this.#orphans.allocOrAbort(bytes, TENSOR_ALIGNMENT, ENGINE);
  }

  #free(ptr: CNumber): void {
    if (ptr === NULL_PTR || (this.#orphans.liveBlocks > 0 && this.#orphans.free(Number(ptr)))) return;
    if (this.#target === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: Number(ptr) });
    this.#target.free(ptr);
  }
}
