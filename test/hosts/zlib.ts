import { CpuDevice } from '../../adapters/devices/cpu.js';
import type { NativeLibrary } from '../../adapters/ffi/library.js';
import type { ZlibAllocator } from '../../adapters/hosts/c-allocator/index.js';

export const Z_OK = 0;
export const Z_STREAM_END = 1;
export const Z_MEM_ERROR = -4;
const Z_FINISH = 4;
const LEVEL = 6;

/** Offsets in a z_stream where long and pointers have 64 bits. */
const Z_STREAM = { nextIn: 0, availIn: 8, nextOut: 24, availOut: 32, totalOut: 40, zalloc: 64, zfree: 72, bytes: 112 };

/** What a stream came to. */
export interface StreamResult {
  readonly status: number;
  readonly output: Uint8Array;
}

interface Work {
  readonly input: Uint8Array;
  readonly maxOutput: number;
  readonly allocator: ZlibAllocator | undefined;
  readonly call: Caller;
  readonly midway: () => void;
}

/** Runs `native`, such as {@link CAllocatorHost.call}. */
export type Caller = <T>(native: () => T) => T;

/** zlib's streams, each from its init to its end. Its own memory is a device's that no host uses. */
export class Zlib {
  readonly #device = new CpuDevice();
  readonly #version: string;
  readonly #functions: Readonly<Record<string, (stream: number, flush?: number) => number>>;
  readonly #deflateInit: (stream: number, level: number, version: string, bytes: number) => number;
  readonly #inflateInit: (stream: number, version: string, bytes: number) => number;

  constructor(library: NativeLibrary) {
    this.#version = library.func<() => string>('zlibVersion', 'const char *', [])();
    this.#deflateInit = library.func('deflateInit_', 'int', ['uintptr_t', 'int', 'const char *', 'int']);
    this.#inflateInit = library.func('inflateInit_', 'int', ['uintptr_t', 'const char *', 'int']);
    this.#functions = {
      deflate: library.func('deflate', 'int', ['uintptr_t', 'int']),
      inflate: library.func('inflate', 'int', ['uintptr_t', 'int']),
      deflateEnd: library.func('deflateEnd', 'int', ['uintptr_t']),
      inflateEnd: library.func('inflateEnd', 'int', ['uintptr_t']),
    };
  }

  /** @param allocator - zlib's own when left out. @param midway - called when half of the input was taken */
  deflate(input: Uint8Array, allocator?: ZlibAllocator, call: Caller = (native) => native(), midway = () => {}): StreamResult {
    const init = (stream: number) => this.#deflateInit(stream, LEVEL, this.#version, Z_STREAM.bytes);
    return this.#run('deflate', init, { input, maxOutput: input.length + 1024, allocator, call, midway });
  }

  /** As {@link deflate}. @param maxOutput - bytes of the result, at most */
  inflate(
    input: Uint8Array,
    maxOutput: number,
    allocator?: ZlibAllocator,
    call: Caller = (native) => native(),
    midway = () => {},
  ): StreamResult {
    const init = (stream: number) => this.#inflateInit(stream, this.#version, Z_STREAM.bytes);
    return this.#run('inflate', init, { input, maxOutput, allocator, call, midway });
  }

  #run(name: 'deflate' | 'inflate', init: (stream: number) => number, work: Work): StreamResult {
    const { input, maxOutput, allocator, call, midway } = work;
    const memory = this.#device.nativeAlloc(Z_STREAM.bytes + input.length + maxOutput);
    const bytes = this.#device.view(memory, Z_STREAM.bytes + input.length + maxOutput);
    const stream = new DataView(bytes.buffer, bytes.byteOffset, Z_STREAM.bytes);
    bytes.fill(0, 0, Z_STREAM.bytes);
    bytes.set(input, Z_STREAM.bytes);
    stream.setBigUint64(Z_STREAM.zalloc, BigInt(allocator?.zalloc ?? 0), true);
    stream.setBigUint64(Z_STREAM.zfree, BigInt(allocator?.zfree ?? 0), true);
    stream.setBigUint64(Z_STREAM.nextIn, BigInt(memory + Z_STREAM.bytes), true);
    stream.setBigUint64(Z_STREAM.nextOut, BigInt(memory + Z_STREAM.bytes + input.length), true);
    stream.setUint32(Z_STREAM.availOut, maxOutput, true);
    try {
      let status = call(() => init(memory));
      if (status !== Z_OK) return { status, output: new Uint8Array() };
      const half = input.length >> 1;
      for (const [part, flush] of [
        [half, 0],
        [input.length - half, Z_FINISH],
      ] as const) {
        stream.setUint32(Z_STREAM.availIn, part, true);
        status = call(() => this.#functions[name]!(memory, flush));
        if (status < 0) break;
        if (flush === 0) midway();
      }
      call(() => this.#functions[`${name}End`]!(memory));
      const length = Number(stream.getBigUint64(Z_STREAM.totalOut, true));
      const from = Z_STREAM.bytes + input.length;
      return { status, output: bytes.slice(from, from + length) };
    } finally {
      this.#device.nativeFree(memory);
    }
  }
}
