import { MemoryError } from '../../../src/core/errors.js';
import type { NativeLibrary } from '../../ffi/library.js';
import type { GpuDialect } from './gpu-dialect.js';

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

/** Turns the statuses of a GPU runtime into errors. */
export class GpuStatus {
  readonly #dialect: GpuDialect;
  readonly #name: (status: number) => string;
  readonly #text: (status: number) => string;
  /** Makes the runtime forget a status that was dealt with: other users of this thread would take it for their own. */
  readonly #forget: () => number;

  /** @throws ERR_MEM_DEVICE_ABSENT when the library is none of that kind */
  constructor(library: NativeLibrary, dialect: GpuDialect) {
    const { prefix } = dialect;
    this.#dialect = dialect;
    this.#name = library.func(`${prefix}GetErrorName`, 'str', ['int']);
    this.#text = library.func(`${prefix}GetErrorString`, 'str', ['int']);
    this.#forget = library.func(`${prefix}GetLastError`, 'int', []);
  }

  /** Throws unless a call has succeeded. @throws ERR_MEM_NATIVE, ERR_MEM_DEVICE_ABSENT */
  check(functionName: string, status: number): void {
    if (status !== SUCCESS) throw this.#error(functionName, status);
  }

  /** Tells whether a call has succeeded; `no` is the status that answers no. @throws ERR_MEM_NATIVE, ERR_MEM_DEVICE_ABSENT */
  succeeded(functionName: string, status: number, no: number): boolean {
    if (status !== no) this.check(functionName, status);
    else this.#forget();
    return status !== no;
  }

  #error(functionName: string, status: number): MemoryError {
    this.#forget();
    const statusName = this.#name(status);
    const statusText = this.#text(status);
    if (ABSENT.includes(status)) {
      const reason = `${statusName} (${status}): ${statusText}`;
      return new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: this.#dialect.name, reason });
    }
    return new MemoryError('ERR_MEM_NATIVE', { functionName, status, statusName, statusText });
  }
}
