import { readdirSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MemoryError } from '../../../src/core/errors.js';
import type { CFunction, CValuesOf } from '../../ffi/c-types.js';
import { cFunction, functionAt, openLibrary } from '../../ffi/library.js';
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

/** The oldest API with every function below; asking an older library for it would print to standard error. */
export const API_VERSION = 17;
/** The position of each function in the API's table, which only grows at its end, and its types. @see Source: onnxruntime_c_api.h, OrtApi */
const FUNCTIONS = {
  CreateStatus: [0, 'uintptr_t', ['int', 'const char *']],
  GetErrorCode: [1, 'int', ['uintptr_t']],
  GetErrorMessage: [2, 'const char *', ['uintptr_t']],
  CreateEnv: [3, 'uintptr_t', ['int', 'const char *', 'uint64_t *']],
  CreateCpuMemoryInfo: [69, 'uintptr_t', ['int', 'int', 'uint64_t *']],
  ReleaseStatus: [93, 'void', ['uintptr_t']],
  RegisterAllocator: [176, 'uintptr_t', ['uintptr_t', 'uintptr_t']],
  UnregisterAllocator: [177, 'uintptr_t', ['uintptr_t', 'uintptr_t']],
} as const;
const PROBE = { code: 6, message: 'stowage was here' };

type Functions = typeof FUNCTIONS;
type ApiFunction<N extends keyof Functions> = CFunction<Functions[N][1], Functions[N][2]>;
/** The functions that answer with a status. */
type Call = 'CreateEnv' | 'CreateCpuMemoryInfo' | 'RegisterAllocator' | 'UnregisterAllocator';
type Address = number;

/** The part of ONNX Runtime's C API that registers allocators. One for each loaded library. */
export class OnnxRuntimeApi {
  /** Such as `1.30.0`. */
  readonly version: string;
  readonly #table: Address;

  /** @throws ERR_MEM_DEVICE_ABSENT when the library cannot be loaded, is too old, or is something else */
  constructor(readonly path: string) {
    const library = openLibrary([path], { device: ENGINE });
    const base = cFunction(library, 'OrtGetApiBase', 'uintptr_t', [])();
    this.version = functionAt<() => string>(addressIn(base, 1), 'const char *', [])();
    const [major = 0, minor = 0] = this.version.split('.').map(Number);
    const table =
      major === 1 && minor >= API_VERSION
        ? functionAt<(version: number) => Address>(addressIn(base, 0), 'uintptr_t', ['uint32_t'])(API_VERSION)
        : 0;
    if (table === 0) throw absent(`${path} is version ${this.version}; 1.${API_VERSION} or later is needed`);
    this.#table = table;
    this.#probe();
  }

  /** Makes a call. @throws ERR_MEM_NATIVE */
  call<N extends Call>(name: N, ...values: CValuesOf<Functions[N][2]>): void {
    const status = (this.#function(name) as unknown as (...values: unknown[]) => Address)(...values);
    if (status === 0) return;
    const facts = {
      functionName: name,
      status: this.#function('GetErrorCode')(status),
      statusName: this.#function('GetErrorMessage')(status),
    };
    this.#function('ReleaseStatus')(status);
    throw new MemoryError('ERR_MEM_NATIVE', facts);
  }

  /** Has a status carry a code and a message there and back: in another table of functions they would come back wrong. */
  #probe(): void {
    const status = this.#function('CreateStatus')(PROBE.code, PROBE.message);
    const fits =
      status !== 0 &&
      this.#function('GetErrorCode')(status) === PROBE.code &&
      this.#function('GetErrorMessage')(status) === PROBE.message;
    if (!fits) throw absent(`${this.path} (${this.version}) has another function table than expected`);
    this.#function('ReleaseStatus')(status);
  }

  #function<N extends keyof Functions>(name: N): ApiFunction<N> {
    const [slot, result, parameters] = FUNCTIONS[name];
    return functionAt<ApiFunction<N>>(addressIn(this.#table, slot), result, parameters);
  }
}

/** Reads one address of a table. */
function addressIn(table: Address, slot: number): Address {
  const out = new Float64Array(1);
  readInt64s(table + out.byteLength * slot, out);
  return out[0]!;
}
