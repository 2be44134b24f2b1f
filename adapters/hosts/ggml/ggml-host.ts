import { attempt, orUndo } from '../../../src/core/attempt.js';
import { checkUsable, MemoryError } from '../../../src/core/errors.js';
import { checkOptionNames, type OptionNames } from '../../../src/core/option-names.js';
import { type DevicePtr, NULL_PTR } from '../../../src/core/units.js';
import { type CNumber, callback } from '../../ffi/callback.js';
import type { NativeLibrary } from '../../ffi/library.js';
import { writeUint64 } from '../../os/bytes.js';
import { ENGINE_OPTIONS, EngineHost, type EngineHostOptions } from '../engine-host.js';
import { BUFFER_TYPE_WORDS, GgmlLibrary, noObject, WORD_BYTES } from './ggml-library.js';

/** A `ggml_context` over memory of a manager. Dispose of it before its host. */
export class GgmlContext {
  readonly #library: GgmlLibrary;
  readonly #giveBack: () => void;
  #address: number;

  /** @internal */
  constructor(library: GgmlLibrary, address: number, giveBack: () => void) {
    this.#library = library;
    this.#address = address;
    this.#giveBack = giveBack;
  }

  /** The `ggml_context *`. @throws ERR_MEM_DISPOSED */
  get address(): number {
    checkUsable(this.#address !== 0, 'ggml context');
    return this.#address;
  }

  /** What ggml has used of the memory so far. @throws ERR_MEM_DISPOSED */
  get usedBytes(): number {
    return this.#library.functions.usedMemory(this.address);
  }

  /** Frees the context, then its memory. Does nothing the second time. */
  dispose(): void {
    const address = this.#address;
    if (address === 0) return;
    this.#address = 0;
    this.#library.functions.free(address);
    this.#giveBack();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Where a buffer type holds the function that makes a buffer. @see Source: ggml-backend-impl.h */
const ALLOC_BUFFER = 1;
/** Where a buffer holds the function that frees it. */
const FREE_BUFFER = 0;

export interface GgmlHostOptions extends EngineHostOptions {
  /** The path of `libggml-base`. @defaultValue that of node-llama-cpp in the app's node_modules */
  readonly library?: string;
}

const OPTIONS: OptionNames<GgmlHostOptions> = { ...ENGINE_OPTIONS, library: true };

/**
 * ggml on our managers: buffers of {@link bufferType}, contexts over our memory, and with {@link redirect} every CPU buffer
 * of the process, llama.cpp's included.
 *
 * Out of memory ggml gets NULL and its function fails: {@link lastError} says why, and what it had made so far is given back.
 * Anything else that goes wrong in a callback is thrown by {@link call} when the function has returned.
 */
export class GgmlHost extends EngineHost {
  readonly #library: GgmlLibrary;
  /** Where the memory of each live buffer is. */
  readonly #buffers = new Map<number, DevicePtr>();
  #bufferType: DevicePtr = NULL_PTR;
  /** What the shared buffer type held before it was redirected. */
  #allocBefore: number | undefined;

  private constructor(library: GgmlLibrary, options: GgmlHostOptions) {
    super('GgmlHost', options);
    this.#library = library;
  }

  /**
   * Loads ggml, and checks that its buffers look as this host expects.
   *
   * @throws ERR_MEM_DEVICE_ABSENT when there is no such library, or it is an unknown build
   */
  static open(options: GgmlHostOptions = {}): GgmlHost {
    checkOptionNames('GgmlHost.open', options, OPTIONS);
    return new GgmlHost(GgmlLibrary.open(options.library), options);
  }

  /** ggml itself, for functions that the program declares. */
  get library(): NativeLibrary {
    return this.#library.native;
  }

  /** ggml's buffers that lie in our memory now. */
  get liveBuffers(): number {
    return this.#buffers.size;
  }

  /**
   * A `ggml_backend_buffer_type_t` whose buffers come from the active manager: for `ggml_gallocr_new`,
   * `ggml_backend_alloc_ctx_tensors_from_buft` and the like. Otherwise it is like ggml's own for the CPU. It lasts until {@link dispose}.
   *
   * @throws ERR_MEM_DISPOSED, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_NATIVE
   */
  get bufferType(): number {
    if (this.#bufferType !== NULL_PTR) return this.#bufferType;
    const { allocBuffer } = this.#functions;
    const words = this.#library.bufferTypeWords();
    // Not from a manager: it is the host's own, and lives as long.
    const copy = this.device.nativeAlloc(BUFFER_TYPE_WORDS * WORD_BYTES);
    if (copy === NULL_PTR) throw this.outOfMemory(BUFFER_TYPE_WORDS * WORD_BYTES);
    for (const [i, word] of words.entries()) writeUint64(copy + i * WORD_BYTES, i === ALLOC_BUFFER ? allocBuffer : word);
    this.#bufferType = copy;
    return copy;
  }

  /** Whether every CPU buffer of the process comes from here. */
  get redirected(): boolean {
    return this.#allocBefore !== undefined;
  }

  /**
   * Has every CPU buffer that ggml makes in this process from now on come from the active manager: llama.cpp's weights (unless they
   * are mapped), its key-value cache, its compute buffers. {@link dispose} takes it back, or {@link restore}.
   *
   * @throws ERR_MEM_ENGINE_IN_USE while another host of this isolate does the same, ERR_MEM_DISPOSED, ERR_MEM_NATIVE
   */
  redirect(): void {
    if (this.redirected) return;
    if (redirecting !== undefined) {
      throw new MemoryError('ERR_MEM_ENGINE_IN_USE', { engine: 'ggml', reason: 'another host has redirected its buffers' });
    }
    const { allocBuffer } = this.#functions;
    this.#allocBefore = this.#library.bufferTypeWords()[ALLOC_BUFFER]!;
    writeUint64(this.#library.cpuBufferType + ALLOC_BUFFER * WORD_BYTES, allocBuffer);
    redirecting = this;
  }

  /** Takes {@link redirect} back; buffers that were made meanwhile stay as they are. Does nothing without it. */
  restore(): void {
    if (this.#allocBefore === undefined) return;
    writeUint64(this.#library.cpuBufferType + ALLOC_BUFFER * WORD_BYTES, this.#allocBefore);
    this.#allocBefore = undefined;
    if (redirecting === this) redirecting = undefined;
  }

  /**
   * Makes a `ggml_context` over memory of the active manager.
   *
   * @param bytes - room for the objects, and unless `noAlloc` for the tensors' data
   * @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_SIZE, ERR_MEM_NATIVE when ggml makes no context
   */
  createContext(bytes: number, options: { readonly noAlloc?: boolean } = {}): GgmlContext {
    checkOptionNames('createContext', options, { noAlloc: true });
    this.startUse();
    const ptr = this.blocks.alloc(bytes, this.#library.alignment);
    const address = orUndo(
      () => this.#library.init(ptr, bytes, options.noAlloc ?? false),
      () => attempt(() => this.givenUp.free(ptr)),
    );
    return new GgmlContext(this.#library, address, () => this.givenUp.free(ptr));
  }

  /** Takes every callback out of ggml: one that ran after Node's end would crash. Buffers that still live stay. @internal */
  override endWithProcess(): void {
    this.restore();
    for (const buffer of this.#buffers.keys()) writeUint64(buffer + FREE_BUFFER * WORD_BYTES, 0);
    super.endWithProcess();
  }

  protected override detach(): void {
    this.restore();
    super.detach();
    this.device.nativeFree(this.#bufferType);
    this.#bufferType = NULL_PTR;
  }

  get #functions(): { readonly allocBuffer: number; readonly freeBuffer: number } {
    return this.callbacks.register('ggml', () => ({
      allocBuffer: callback({
        result: 'uintptr_t',
        parameters: ['uintptr_t', 'size_t'],
        onError: 0,
        body: (bufferType, bytes) => this.#allocBuffer(Number(bufferType), bytes),
      }),
      freeBuffer: callback({
        result: 'void',
        parameters: ['uintptr_t'],
        onError: undefined,
        body: (buffer) => this.#freeBuffer(Number(buffer)),
      }),
    }));
  }

  #allocBuffer(bufferType: number, bytes: CNumber): number {
    let ptr: DevicePtr;
    try {
      this.startUse();
      ptr = this.blocks.alloc(Number(bytes), this.#library.alignment);
    } catch (error) {
      return this.refuse(error, 0);
    }
    const buffer = this.#library.functions.bufferOver(ptr, Number(bytes));
    if (buffer === 0) {
      attempt(() => this.givenUp.free(ptr));
      throw noObject('ggml_backend_cpu_buffer_from_ptr');
    }
    writeUint64(buffer + FREE_BUFFER * WORD_BYTES, this.#functions.freeBuffer);
    // Otherwise ggml would take it for a buffer over foreign memory.
    writeUint64(buffer + this.#library.typeWord * WORD_BYTES, bufferType);
    this.#buffers.set(buffer, ptr);
    return buffer;
  }

  /** ggml deletes the buffer's own object afterwards. */
  #freeBuffer(buffer: number): void {
    const ptr = this.#buffers.get(buffer);
    if (ptr === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: buffer });
    this.#buffers.delete(buffer);
    this.givenUp.free(ptr);
  }
}

/** Whose function the shared buffer type holds. */
let redirecting: GgmlHost | undefined;
