import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import '../../../src/core/disposable.js';
import { MemoryError } from '../../../src/core/errors.js';
import { structType } from '../../ffi/c-types.js';
import { type NativeLibrary, openLibrary } from '../../ffi/library.js';
import { PROCESS_HEAP } from '../../os/aligned-memory.js';
import { readCString, readInt64s } from '../../os/bytes.js';

export const WORD_BYTES = 8;
/** A buffer type is a table of functions, a device and a context; what follows belongs to others. @see Source: ggml-backend-impl.h */
export const BUFFER_TYPE_WORDS = 8;
const TYPE_NAME = 0;
/** Managers' blocks begin at multiples of it anyway, and a cache line has as many bytes. */
const MIN_ALIGNMENT = 64;
/** The most words of a buffer in which its type is looked for: a table of functions comes first. */
const BUFFER_WORDS = 16;
const DEVICE_WORD = 6;

type N = number;

const functionsOf = (native: NativeLibrary) => ({
  init: native.func<(parameters: object) => N>('ggml_init', 'uintptr_t', [
    structType({ mem_size: 'size_t', mem_buffer: 'uintptr_t', no_alloc: 'bool' }),
  ]),
  free: native.func<(context: N) => void>('ggml_free', 'void', ['uintptr_t']),
  usedMemory: native.func<(context: N) => N>('ggml_used_mem', 'size_t', ['uintptr_t']),
  bufferOver: native.func<(ptr: N, bytes: N) => N>('ggml_backend_cpu_buffer_from_ptr', 'uintptr_t', ['uintptr_t', 'size_t']),
  release: native.func<(buffer: N) => void>('ggml_backend_buffer_free', 'void', ['uintptr_t']),
  typeOf: native.func<(buffer: N) => N>('ggml_backend_buffer_get_type', 'uintptr_t', ['uintptr_t']),
  cpuBufferType: native.func<() => N>('ggml_backend_cpu_buffer_type', 'uintptr_t', []),
  typeName: native.func<(type: N) => N>('ggml_backend_buft_name', 'uintptr_t', ['uintptr_t']),
  isHost: native.func<(type: N) => boolean>('ggml_backend_buft_is_host', 'bool', ['uintptr_t']),
  alignmentOf: native.func<(type: N) => N>('ggml_backend_buft_get_alignment', 'size_t', ['uintptr_t']),
});

/** ggml's C functions, and what of its structs the host has to know. */
export class GgmlLibrary {
  /** The shared `ggml_backend_buffer_type_t` of CPU memory. */
  readonly cpuBufferType: number;
  /** What ggml asks of buffers, in bytes. */
  readonly alignment: number;
  /** Which word of a buffer names its type. */
  readonly typeWord: number;
  readonly functions: ReturnType<typeof functionsOf>;

  private constructor(readonly native: NativeLibrary) {
    this.functions = functionsOf(native);
    this.cpuBufferType = this.functions.cpuBufferType();
    const name = readCString(this.functions.typeName(this.cpuBufferType));
    if (name !== 'CPU' || !this.functions.isHost(this.cpuBufferType))
      throw this.#unknownBuild(`its CPU buffers are called ${name}`);
    this.alignment = Math.max(MIN_ALIGNMENT, this.functions.alignmentOf(this.cpuBufferType));
    const words = this.bufferTypeWords();
    if (words[TYPE_NAME] === 0 || words[1] === 0 || words[DEVICE_WORD] !== 0)
      throw this.#unknownBuild('its buffer types look different');
    this.typeWord = this.#findTypeWord();
  }

  /** @param path - of libggml-base. @throws ERR_MEM_DEVICE_ABSENT */
  static open(path: string | undefined): GgmlLibrary {
    return new GgmlLibrary(openLibrary(path === undefined ? installedPaths() : [path], { device: 'ggml' }));
  }

  /** The shared buffer type, word by word. */
  bufferTypeWords(): number[] {
    const words = new Float64Array(BUFFER_TYPE_WORDS);
    readInt64s(this.cpuBufferType, words);
    return [...words];
  }

  /** @throws ERR_MEM_NATIVE when ggml makes no context */
  init(ptr: number, bytes: number, noAlloc: boolean): number {
    const context = this.functions.init({ mem_size: bytes, mem_buffer: ptr, no_alloc: noAlloc });
    if (context !== 0) return context;
    throw noObject('ggml_init');
  }

  /** Makes a buffer over some memory and looks where it names its type. */
  #findTypeWord(): number {
    const memory = PROCESS_HEAP.allocate(MIN_ALIGNMENT, this.alignment);
    const buffer = this.functions.bufferOver(memory, MIN_ALIGNMENT);
    try {
      const [low, high] = [new Float64Array(BUFFER_WORDS / 2), new Float64Array(BUFFER_WORDS / 2 - 1)];
      readInt64s(buffer, low);
      readInt64s(buffer + low.length * WORD_BYTES, high);
      const words = [...low, ...high];
      const found = words.indexOf(this.functions.typeOf(buffer));
      // A buffer over foreign memory frees nothing, and after its type come the memory and its size.
      if (words[0] === 0 && found > 0 && words[found + 1] === memory && words[found + 2] === MIN_ALIGNMENT) return found;
      throw this.#unknownBuild('its buffers look different');
    } finally {
      this.functions.release(buffer);
      PROCESS_HEAP.free(memory);
    }
  }

  #unknownBuild(what: string): MemoryError {
    return new MemoryError('ERR_MEM_DEVICE_ABSENT', {
      device: 'ggml',
      reason: `${this.native.path} is an unknown build: ${what}`,
    });
  }
}

/** The error of a function that gave NULL instead of an object. */
export function noObject(functionName: string): MemoryError {
  return new MemoryError('ERR_MEM_NATIVE', { functionName, status: 0, statusName: 'NULL' });
}

/** Where node-llama-cpp keeps its libraries, in the node_modules of the running program's folder and of those above it. */
function installedPaths(): string[] {
  const name = process.platform === 'win32' ? 'ggml-base.dll' : `libggml-base.${process.platform === 'darwin' ? 'dylib' : 'so'}`;
  const paths: string[] = [];
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    const packages = join(folder, 'node_modules/@node-llama-cpp');
    for (const one of existsSync(packages) ? readdirSync(packages) : []) {
      const bins = join(packages, one, 'bins');
      for (const build of existsSync(bins) ? readdirSync(bins) : []) paths.push(join(bins, build, name));
    }
    if (dirname(folder) === folder) break;
  }
  return [...paths.filter((path) => existsSync(path)), name];
}
