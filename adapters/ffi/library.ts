import { constants } from 'node:os';
import type { LibraryHandle, TypeObject } from 'koffi';
import { MemoryError } from '../../src/core/errors.js';
import { checkOptionNames, type OptionNames } from '../../src/core/option-names.js';
import { type CFunction, type CParameters, type CReturn, functionType } from './c-types.js';
import { koffi, reasonOf } from './koffi.js';

/** How a library is named and loaded. */
export interface LibraryOptions {
  /** What to call it in errors. @defaultValue the first name */
  readonly device?: string;
  /** Prefers the library's own symbols over those that Node exports (zlib, OpenSSL, libuv, c-ares). */
  readonly deep?: boolean;
}

const OPTIONS: OptionNames<LibraryOptions> = { device: true, deep: true };

/** A loaded native library. */
export class NativeLibrary {
  readonly #device: string;
  readonly #handle: LibraryHandle;

  constructor(
    /** The name or path under which it was found. */
    readonly path: string,
    device: string,
    handle: LibraryHandle,
  ) {
    this.#device = device;
    this.#handle = handle;
  }

  /**
   * Declares a function. Declare pointers as `uintptr_t`: they arrive as numbers. {@link cFunction} derives its type from its C types.
   *
   * @param result - a C type as koffi writes it
   * @param parameters - C types as koffi writes them
   * @throws ERR_MEM_DEVICE_ABSENT when the library lacks it
   */
  func<F extends (...args: never[]) => unknown = (...values: unknown[]) => unknown>(
    name: string,
    result: string,
    parameters: readonly (string | TypeObject)[],
  ): F {
    try {
      return this.#handle.func(name, result, [...parameters]) as unknown as F;
    } catch (error) {
      throw new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: this.#device, reason: `${this.path}: ${reasonOf(error)}` }, error);
    }
  }

  /** Declares a function that older libraries lack. @returns undefined where it is missing */
  optional<F extends (...args: never[]) => unknown = (...values: unknown[]) => unknown>(
    name: string,
    result: string,
    parameters: readonly (string | TypeObject)[],
  ): F | undefined {
    try {
      return this.#handle.func(name, result, [...parameters]) as unknown as F;
    } catch {
      return undefined;
    }
  }
}

/**
 * Opens the first library of a list of names that can be loaded.
 *
 * @param names - file names or paths, the best first
 * @throws ERR_MEM_DEVICE_ABSENT with the loader's reason for each name
 */
export function openLibrary(names: readonly string[], options: LibraryOptions = {}): NativeLibrary {
  checkOptionNames('openLibrary', options, OPTIONS);
  const device = options.device ?? names[0] ?? 'library';
  // Names by the loader's reason: mostly they have one and the same.
  const reasons = new Map<string, string[]>();
  for (const name of names) {
    try {
      return new NativeLibrary(name, device, koffi().load(name, options.deep === true ? { deep: true } : {}));
    } catch (error) {
      if (MemoryError.is(error)) throw error;
      const reason = reasonOf(error);
      reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
    }
  }
  const reason = [...reasons].map(([text, tried]) => `${tried.join(', ')}: ${text}`).join('; ') || 'no name to look for';
  throw new MemoryError('ERR_MEM_DEVICE_ABSENT', { device, reason });
}

/**
 * Declares a function whose type follows from its C types, which are those of {@link CValues}.
 *
 * @throws as {@link NativeLibrary.func}
 */
export function cFunction<R extends CReturn, const P extends CParameters>(
  library: NativeLibrary,
  name: string,
  result: R,
  parameters: P,
): CFunction<R, P> {
  return library.func(name, result, parameters);
}

/**
 * Declares a C function by its address, as a library's function table gives it.
 *
 * @param result - a C type as koffi writes it
 * @param parameters - C types as koffi writes them
 */
export function functionAt<F extends (...values: never[]) => unknown>(
  address: number,
  result: string,
  parameters: readonly string[],
): F {
  const type = functionType(result, parameters);
  const pointer = BigInt(address);
  return ((...values: unknown[]) => koffi().call(pointer, type, ...values)) as unknown as F;
}

/** The `errno` of the last native call. */
export function errno(): number {
  return koffi().errno();
}

/** The name of an errno value: 12 is `ENOMEM`. */
export function errnoName(value: number): string {
  // Not by node:util, which on Node 26 opens the standard output and loads 30 modules when it is imported.
  if (value <= 0) return 'OK';
  return Object.entries(constants.errno).find(([, code]) => code === value)?.[0] ?? `unknown error ${value}`;
}

/** Makes the error of a C function that has just set `errno`. */
export function errnoError(functionName: string, status = errno()): MemoryError<'ERR_MEM_NATIVE'> {
  return new MemoryError('ERR_MEM_NATIVE', { functionName, status, statusName: errnoName(status) });
}

/** Throws unless a C function that sets `errno` has answered 0. @throws ERR_MEM_NATIVE */
export function checkErrno(functionName: string, answer: number): void {
  if (answer !== 0) throw errnoError(functionName);
}
