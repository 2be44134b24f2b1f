import { MemoryError } from '../core/errors.js';
import { KERNEL_BYTES } from './kernel-bytes.js';
import type { Kernel } from './kernel-interface.js';

// What of the platform is used here; the library compiles without the DOM's types.
interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
}

let instance: Kernel | undefined;

/**
 * The two calls that are made for every allocation and every free; here once the kernel is open. V8 takes the properties of
 * this object, which never change, for constants, and inlines the way to what they call.
 */
export const hot = {} as Pick<Kernel, 'allocate' | 'release'>;

/**
 * The kernel: blocks, address indexes, free blocks, holes and counters of all heaps of an isolate, in WebAssembly, since
 * JavaScript boxes the numbers that addresses are and cannot lay rows out in memory. It is compiled at the first call, and
 * has one memory, for which V8 reserves 8 to 10 GiB of addresses. A call of it costs some 4 ns.
 *
 * @throws ERR_MEM_NO_WEBASSEMBLY
 */
export function openKernel(): Kernel {
  if (instance === undefined) {
    instance = instantiate();
    hot.allocate = instance.allocate;
    hot.release = instance.release;
  }
  return instance;
}

function instantiate(): Kernel {
  const { WebAssembly } = globalThis as { readonly WebAssembly?: WebAssemblyApi };
  if (WebAssembly === undefined) {
    throw absent('this Node.js runs without WebAssembly', 'run it without --jitless and without --no-expose-wasm');
  }
  let module: object;
  try {
    module = new WebAssembly.Module(Buffer.from(KERNEL_BYTES, 'base64'));
  } catch (error) {
    throw absent('WebAssembly with SIMD does not compile', 'use a processor with SSE 4.1 or NEON, and allow WebAssembly', error);
  }
  try {
    return new WebAssembly.Instance(module, { env: { abort } }).exports as Kernel;
  } catch (error) {
    const remedy = 'raise the limit (ulimit -v), or run Node.js with --disable-wasm-trap-handler';
    throw absent('the address space has no 10 GiB left for its memory', remedy, error);
  }
}

function absent(reason: string, remedy: string, cause?: unknown): MemoryError {
  return new MemoryError('ERR_MEM_NO_WEBASSEMBLY', { reason, remedy }, cause);
}

function abort(_message: number, _file: number, line: number, column: number): never {
  throw new RangeError(`the kernel of the heaps stopped at ${line}:${column}`);
}
