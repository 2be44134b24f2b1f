import { MemoryError } from '../../../src/core/errors.js';
import { functionAt } from '../../ffi/function-at.js';
import { openLibrary } from '../../ffi/library.js';
import { readInt64s } from '../../os/foreign-memory.js';
import { absent, ENGINE } from './onnxruntime-library.js';

/** The oldest API with every slot below; asking an older library for it would print to standard error. */
export const API_VERSION = 17;
/** Positions in the API's table, which only grows at its end. @see Source: onnxruntime_c_api.h, OrtApi */
const SLOTS = {
  createStatus: 0,
  getErrorCode: 1,
  getErrorMessage: 2,
  createEnv: 3,
  createCpuMemoryInfo: 69,
  releaseStatus: 93,
  registerAllocator: 176,
  unregisterAllocator: 177,
} as const;

const WARNING_LEVEL = 2;
/** OrtDeviceAllocator: one that ONNX Runtime puts no arena of its own around. */
const DEVICE_ALLOCATOR = 0;
/** OrtMemTypeDefault */
const DEFAULT_MEMORY = 0;
const PROBE = { code: 6, message: 'stowage was here' };

type Status = number;
type Address = number;

/** The part of ONNX Runtime's C API that registers allocators. One for each loaded library. */
export class OnnxRuntimeApi {
  readonly path: string;
  /** Such as `1.30.0`. */
  readonly version: string;
  readonly #table: Address;
  readonly #errorCode: (status: Status) => number;
  readonly #errorMessage: (status: Status) => string;
  readonly #releaseStatus: (status: Status) => void;

  /** @throws ERR_MEM_DEVICE_ABSENT when the library cannot be loaded, is too old, or is something else */
  constructor(path: string) {
    this.path = path;
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
    this.#errorCode = this.#function('getErrorCode', 'int', ['uintptr_t']);
    this.#errorMessage = this.#function('getErrorMessage', 'const char *', ['uintptr_t']);
    this.#releaseStatus = this.#function('releaseStatus', 'void', ['uintptr_t']);
    this.#probe();
  }

  /** The process's one environment, which is made now unless a session has made it; counts one more owner of it. */
  acquireEnvironment(): Address {
    const call = this.#function<(level: number, id: string, out: BigUint64Array) => Status>('createEnv', 'uintptr_t', [
      'int',
      'const char *',
      'uint64_t *',
    ]);
    return this.#output('CreateEnv', (out) => call(WARNING_LEVEL, 'stowage', out));
  }

  /** What names the CPU's memory when an allocator is registered. */
  createCpuMemoryInfo(): Address {
    const call = this.#function<(allocator: number, memory: number, out: BigUint64Array) => Status>(
      'createCpuMemoryInfo',
      'uintptr_t',
      ['int', 'int', 'uint64_t *'],
    );
    return this.#output('CreateCpuMemoryInfo', (out) => call(DEVICE_ALLOCATOR, DEFAULT_MEMORY, out));
  }

  /** Makes an allocator the environment's own for the memory that it names; one that was there before is replaced. */
  registerAllocator(environment: Address, allocator: Address): void {
    this.#check('RegisterAllocator', this.#pair('registerAllocator')(environment, allocator));
  }

  /** Takes the environment's allocator for that memory away. Sessions that have it keep using it. */
  unregisterAllocator(environment: Address, info: Address): void {
    this.#check('UnregisterAllocator', this.#pair('unregisterAllocator')(environment, info));
  }

  /** Has a status carry a code and a message there and back: were the slots others, they would come back wrong. */
  #probe(): void {
    const create = this.#function<(code: number, message: string) => Status>('createStatus', 'uintptr_t', [
      'int',
      'const char *',
    ]);
    const status = create(PROBE.code, PROBE.message);
    const fits = status !== 0 && this.#errorCode(status) === PROBE.code && this.#errorMessage(status) === PROBE.message;
    if (!fits) throw absent(`${this.path} (${this.version}) has another function table than expected`);
    this.#releaseStatus(status);
  }

  #pair(slot: keyof typeof SLOTS): (a: Address, b: Address) => Status {
    return this.#function(slot, 'uintptr_t', ['uintptr_t', 'uintptr_t']);
  }

  #output(functionName: string, call: (out: BigUint64Array) => Status): Address {
    const out = new BigUint64Array(1);
    this.#check(functionName, call(out));
    return Number(out[0]);
  }

  #check(functionName: string, status: Status): void {
    if (status === 0) return;
    const facts = { functionName, status: this.#errorCode(status), statusName: this.#errorMessage(status) };
    this.#releaseStatus(status);
    throw new MemoryError('ERR_MEM_NATIVE', facts);
  }

  #function<F extends (...values: never[]) => unknown>(slot: keyof typeof SLOTS, result: string, parameters: string[]): F {
    return functionAt<F>(addressIn(this.#table, SLOTS[slot]), result, parameters);
  }
}

/** Reads one address of a table. */
function addressIn(table: Address, slot: number): Address {
  const out = new Float64Array(1);
  readInt64s(table + out.byteLength * slot, out);
  return out[0]!;
}
