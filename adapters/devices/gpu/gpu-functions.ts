import { MemoryError } from '../../../src/core/errors.js';
import type { CParameters, CValuesOf } from '../../ffi/c-types.js';
import type { NativeLibrary } from '../../ffi/library.js';
import type { GpuRuntime } from './gpu-runtime.js';
import type { StatusFunction } from './gpu-status.js';

/**
 * Functions of a GPU runtime that older ones lack. Each is looked up when it is first called, and checks the status.
 *
 * @throws (every method) ERR_MEM_UNSUPPORTED_PLATFORM where the runtime lacks the function, ERR_MEM_NATIVE
 */
export class GpuFunctions<T extends Readonly<Record<string, CParameters>>> {
  readonly #runtime: GpuRuntime;
  readonly #parameters: T;
  readonly #functions = new Map<string, StatusFunction>();

  /** @param parameters - of each function, by its name without prefix */
  constructor(runtime: GpuRuntime, parameters: T) {
    this.#runtime = runtime;
    this.#parameters = parameters;
  }

  /** Makes a call by its name without prefix. */
  call<F extends keyof T & string>(name: F, ...values: CValuesOf<T[F]>): void {
    this.#runtime.status.check(symbolOf(this.#runtime, name), this.#find(name)(...values));
  }

  /** Makes a call that the status `no` answers with no. */
  ask<F extends keyof T & string>(name: F, no: number, ...values: CValuesOf<T[F]>): boolean {
    return this.#runtime.status.succeeded(symbolOf(this.#runtime, name), this.#find(name)(...values), no);
  }

  #find(name: string): StatusFunction {
    const known = this.#functions.get(name);
    if (known !== undefined) return known;
    const found = findFunction(this.#runtime, name, this.#parameters[name]!);
    this.#functions.set(name, found);
    return found;
  }
}

/** Looks a function up. @param name - without prefix @throws ERR_MEM_UNSUPPORTED_PLATFORM where the runtime lacks it */
export function findFunction(
  runtime: GpuRuntime,
  name: string,
  parameters: Parameters<NativeLibrary['optional']>[2],
): StatusFunction {
  const symbol = symbolOf(runtime, name);
  const found = runtime.library.optional<StatusFunction>(symbol, 'int', parameters);
  if (found !== undefined) return found;
  throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: symbol, platform: runtime.library.path });
}

function symbolOf({ status: { dialect } }: GpuRuntime, name: string): string {
  return `${dialect.prefix}${name}`;
}
