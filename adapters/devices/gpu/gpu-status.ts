import { MemoryError } from '../../../src/core/errors.js';
import { cFunction, type NativeLibrary } from '../../ffi/library.js';

/** A native function that answers with a status. */
export type StatusFunction = (...args: unknown[]) => number;

/** What tells one GPU runtime from the other: they have the same functions under different names. */
export interface GpuDialect {
  /** The device's name, as in `stowage/adapters/<name>`. */
  readonly name: string;
  /** What the runtime's functions begin with. */
  readonly prefix: string;
  /** What the driver's functions begin with. */
  readonly driverPrefix: string;
  /** File names of the runtime, the newest first. */
  readonly libraries: readonly string[];
  /** Whether the runtime hands out the driver's functions by name, instead of exporting them. */
  readonly hasEntryPoints: boolean;
}

const IS_WINDOWS = process.platform === 'win32';

/** CUDA. libcuda need not be found: the runtime does. */
export const CUDA: GpuDialect = {
  name: 'cuda',
  prefix: 'cuda',
  driverPrefix: 'cu',
  libraries: IS_WINDOWS
    ? ['cudart64_13.dll', 'cudart64_12.dll']
    : ['libcudart.so.13', 'libcudart.so.12', 'libcudart.so', '/usr/local/cuda/lib64/libcudart.so'],
  hasEntryPoints: true,
};

/** HIP: everything is in one library. */
export const HIP: GpuDialect = {
  name: 'hip',
  prefix: 'hip',
  driverPrefix: 'hip',
  libraries: IS_WINDOWS
    ? ['amdhip64_7.dll', 'amdhip64_6.dll', 'amdhip64.dll']
    : ['libamdhip64.so.7', 'libamdhip64.so.6', 'libamdhip64.so.5', 'libamdhip64.so', '/opt/rocm/lib/libamdhip64.so'],
  hasEntryPoints: false,
};

/** Statuses that mean something of their own; the same numbers in CUDA and HIP. */
const SUCCESS = 0;
export const INVALID_VALUE = 1;
export const OUT_OF_MEMORY = 2;
export const NOT_READY = 600;
/** The card, or its driver's mode, has no such thing. */
export const NOT_SUPPORTED = 801;

// 34 is the toolkit's stub in the place of the driver, 35 a driver that is missing or too old, 100 no card.
const ABSENT: readonly number[] = [34, 35, 100];

/** Tells the errors of calls that were answered with a status from all others. */
export function hasStatus(status: number): (error: unknown) => boolean {
  return (error) => MemoryError.is(error, 'ERR_MEM_NATIVE') && error.facts.status === status;
}

const functionsOf = (library: NativeLibrary, { prefix }: GpuDialect) => ({
  name: cFunction(library, `${prefix}GetErrorName`, 'const char *', ['int']),
  text: cFunction(library, `${prefix}GetErrorString`, 'const char *', ['int']),
  /** Makes the runtime forget a status that was dealt with: other users of this thread would take it for their own. */
  forget: cFunction(library, `${prefix}GetLastError`, 'int', []),
});

/** Turns the statuses of a GPU runtime into errors. */
export class GpuStatus {
  readonly #functions: ReturnType<typeof functionsOf>;

  /** @throws ERR_MEM_DEVICE_ABSENT when the library is none of that kind */
  constructor(
    library: NativeLibrary,
    readonly dialect: GpuDialect,
  ) {
    this.#functions = functionsOf(library, dialect);
  }

  /** Throws unless a call has succeeded. @throws ERR_MEM_NATIVE, ERR_MEM_DEVICE_ABSENT */
  check(functionName: string, status: number): void {
    if (status !== SUCCESS) throw this.#error(functionName, status);
  }

  /** Tells whether a call has succeeded; `no` is the status that answers no. @throws ERR_MEM_NATIVE, ERR_MEM_DEVICE_ABSENT */
  succeeded(functionName: string, status: number, no: number): boolean {
    if (status !== no) this.check(functionName, status);
    else this.#functions.forget();
    return status !== no;
  }

  #error(functionName: string, status: number): MemoryError {
    this.#functions.forget();
    const statusName = this.#functions.name(status);
    const statusText = this.#functions.text(status);
    if (ABSENT.includes(status)) {
      const reason = `${statusName} (${status}): ${statusText}`;
      return new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: this.dialect.name, reason });
    }
    return new MemoryError('ERR_MEM_NATIVE', { functionName, status, statusName, statusText });
  }
}
