import { readdirSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MemoryError } from '../../../src/core/errors.js';
import { functionAt, openLibrary } from '../../ffi/library.js';
import { readInt64s } from '../../os/bytes.js';

/** Where ONNX Runtime is looked for. */
export interface OnnxRuntimeLocation {
  /** A folder, or the URL of a module, from which `onnxruntime-node` is found as an import would. @defaultValue the working folder */
  readonly from?: string;
  /** The shared library itself, instead. It must be the very file that the program's sessions use. */
  readonly library?: string;
}

export const ENGINE = 'ONNX Runtime';
const PACKAGE = 'onnxruntime-node';
const LIBRARY_NAME = /^(lib)?onnxruntime(\.\d+)*\.(so(\.\d+)*|dylib|dll)$/;

/**
 * Finds the shared library that an app's onnxruntime-node loads.
 *
 * @throws ERR_MEM_DEVICE_ABSENT when the package, or its binary for this platform, is not installed there
 */
export function findOnnxRuntime({ from = process.cwd(), library }: OnnxRuntimeLocation = {}): string {
  if (library !== undefined) return real(library);
  const module = from.startsWith('file:') ? from : pathToFileURL(join(resolve(from), 'module.js')).href;
  const root = packageRoot(module);
  const [best] = candidates(root);
  if (best !== undefined) return real(best);
  throw absent(`${root} has no library for ${process.platform}-${process.arch}`);
}

/** One file has one name here: it has one environment, too. */
function real(path: string): string {
  try {
    return realpathSync(resolve(path));
  } catch (error) {
    throw absent((error as Error).message, error);
  }
}

function packageRoot(module: string): string {
  try {
    return dirname(createRequire(module).resolve(`${PACKAGE}/package.json`));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const place = dirname(fileURLToPath(module));
    throw absent(code === 'MODULE_NOT_FOUND' ? `${PACKAGE} is not installed for ${place}` : message, error);
  }
}

/** The shortest name of each folder first: the one with the major version alone, which the binding is linked to. */
function candidates(root: string): string[] {
  const bindings = join(root, 'bin');
  return filesOf(bindings)
    .sort()
    .reverse()
    .flatMap((napi) => {
      const folder = join(bindings, napi, process.platform, process.arch);
      return filesOf(folder)
        .filter((name) => LIBRARY_NAME.test(name))
        .sort((a, b) => a.length - b.length)
        .map((name) => join(folder, name));
    });
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw absent((error as Error).message, error);
  }
}

export function absent(reason: string, cause?: unknown): MemoryError<'ERR_MEM_DEVICE_ABSENT'> {
  return new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: ENGINE, reason }, cause);
}

/** The oldest API with every slot below; asking an older library for it would print to standard error. */
export const API_VERSION = 17;
/** Positions in the API's table, which only grows at its end. @see Source: onnxruntime_c_api.h, OrtApi */
const SLOTS = {
  CreateStatus: 0,
  GetErrorCode: 1,
  GetErrorMessage: 2,
  CreateEnv: 3,
  CreateCpuMemoryInfo: 69,
  ReleaseStatus: 93,
  RegisterAllocator: 176,
  UnregisterAllocator: 177,
} as const;

const WARNING_LEVEL = 2;
/** OrtDeviceAllocator: one that ONNX Runtime puts no arena of its own around. */
const DEVICE_ALLOCATOR = 0;
/** OrtMemTypeDefault */
const DEFAULT_MEMORY = 0;
const PROBE = { code: 6, message: 'stowage was here' };

type Slot = keyof typeof SLOTS;
type Status = number;
type Address = number;
type Make = (...values: unknown[]) => Status;

/** The part of ONNX Runtime's C API that registers allocators. One for each loaded library. */
export class OnnxRuntimeApi {
  /** Such as `1.30.0`. */
  readonly version: string;
  readonly #table: Address;
  readonly #status: {
    readonly code: (status: Status) => number;
    readonly message: (status: Status) => string;
    readonly release: (status: Status) => void;
  };

  /** @throws ERR_MEM_DEVICE_ABSENT when the library cannot be loaded, is too old, or is something else */
  constructor(readonly path: string) {
    const library = openLibrary([path], { device: ENGINE });
    const base = library.func<() => Address>('OrtGetApiBase', 'uintptr_t', [])();
    this.version = functionAt<() => string>(addressIn(base, 1), 'const char *', [])();
    const [major = 0, minor = 0] = this.version.split('.').map(Number);
    const table =
      major === 1 && minor >= API_VERSION
        ? functionAt<(version: number) => Address>(addressIn(base, 0), 'uintptr_t', ['uint32_t'])(API_VERSION)
        : 0;
    if (table === 0) throw absent(`${path} is version ${this.version}; 1.${API_VERSION} or later is needed`);
    this.#table = table;
    this.#status = {
      code: this.#function('GetErrorCode', 'int', ['uintptr_t']),
      message: this.#function('GetErrorMessage', 'const char *', ['uintptr_t']),
      release: this.#function('ReleaseStatus', 'void', ['uintptr_t']),
    };
    this.#probe();
  }

  /** The process's one environment, which is made now unless a session has made it; counts one more owner of it. */
  acquireEnvironment(): Address {
    return this.#make('CreateEnv', ['int', 'const char *'], WARNING_LEVEL, 'stowage');
  }

  /** What names the CPU's memory when an allocator is registered. */
  createCpuMemoryInfo(): Address {
    return this.#make('CreateCpuMemoryInfo', ['int', 'int'], DEVICE_ALLOCATOR, DEFAULT_MEMORY);
  }

  /** Makes an allocator the environment's own for the memory that it names; one that was there before is replaced. */
  registerAllocator(environment: Address, allocator: Address): void {
    this.#call('RegisterAllocator', ['uintptr_t', 'uintptr_t'], environment, allocator);
  }

  /** Takes the environment's allocator for that memory away. Sessions that have it keep using it. */
  unregisterAllocator(environment: Address, info: Address): void {
    this.#call('UnregisterAllocator', ['uintptr_t', 'uintptr_t'], environment, info);
  }

  /** Has a status carry a code and a message there and back: were the slots others, they would come back wrong. */
  #probe(): void {
    const status = this.#function<Make>('CreateStatus', 'uintptr_t', ['int', 'const char *'])(PROBE.code, PROBE.message);
    const fits = status !== 0 && this.#status.code(status) === PROBE.code && this.#status.message(status) === PROBE.message;
    if (!fits) throw absent(`${this.path} (${this.version}) has another function table than expected`);
    this.#status.release(status);
  }

  #make(slot: Slot, parameters: readonly string[], ...values: unknown[]): Address {
    const out = new BigUint64Array(1);
    this.#call(slot, [...parameters, 'uint64_t *'], ...values, out);
    return Number(out[0]);
  }

  #call(slot: Slot, parameters: readonly string[], ...values: unknown[]): void {
    const status = this.#function<Make>(slot, 'uintptr_t', parameters)(...values);
    if (status === 0) return;
    const facts = { functionName: slot, status: this.#status.code(status), statusName: this.#status.message(status) };
    this.#status.release(status);
    throw new MemoryError('ERR_MEM_NATIVE', facts);
  }

  #function<F extends (...values: never[]) => unknown>(slot: Slot, result: string, parameters: readonly string[]): F {
    return functionAt<F>(addressIn(this.#table, SLOTS[slot]), result, parameters);
  }
}

/** Reads one address of a table. */
function addressIn(table: Address, slot: number): Address {
  const out = new Float64Array(1);
  readInt64s(table + out.byteLength * slot, out);
  return out[0]!;
}
