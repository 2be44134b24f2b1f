import { CpuDevice } from '../../adapters/devices/cpu.js';
import type { NativeLibrary } from '../../adapters/ffi/library.js';
import type { DevicePtr } from '../../src/core/index.js';
import type { Caller } from './zlib.js';

const MPZ_BYTES = 16;
const HEX = 16;

const SCRATCH = new CpuDevice();

/** GMP's integers, in memory that no host uses. */
export class Gmp {
  readonly #device = SCRATCH;
  readonly #call: Caller;
  readonly #init: (number: number) => void;
  readonly #clear: (number: number) => void;
  readonly #factorial: (number: number, of: number) => void;
  readonly #power: (number: number, base: number, exponent: number) => void;
  readonly #digits: (number: number, base: number) => number;
  readonly #getString: (buffer: number, base: number, number: number) => number;

  constructor(library: NativeLibrary, call: Caller = (native) => native()) {
    this.#call = call;
    this.#init = library.func('__gmpz_init', 'void', ['uintptr_t']);
    this.#clear = library.func('__gmpz_clear', 'void', ['uintptr_t']);
    this.#factorial = library.func('__gmpz_fac_ui', 'void', ['uintptr_t', 'ulong']);
    this.#power = library.func('__gmpz_ui_pow_ui', 'void', ['uintptr_t', 'ulong', 'ulong']);
    this.#digits = library.func('__gmpz_sizeinbase', 'size_t', ['uintptr_t', 'int']);
    this.#getString = library.func('__gmpz_get_str', 'uintptr_t', ['uintptr_t', 'int', 'uintptr_t']);
  }

  /** A number, 0 at first. */
  make(): DevicePtr {
    const number = this.#device.nativeAlloc(MPZ_BYTES);
    this.#call(() => this.#init(number));
    return number;
  }

  clear(number: DevicePtr): void {
    this.#call(() => this.#clear(number));
    this.#device.nativeFree(number);
  }

  factorial(number: DevicePtr, of: number): void {
    this.#call(() => this.#factorial(number, of));
  }

  power(number: DevicePtr, base: number, exponent: number): void {
    this.#call(() => this.#power(number, base, exponent));
  }

  /** The number in base 16. */
  hex(number: DevicePtr): string {
    const bytes = this.#digits(number, HEX) + 2;
    const buffer = this.#device.nativeAlloc(bytes);
    this.#call(() => this.#getString(buffer, HEX, number));
    const text = Buffer.from(this.#device.view(buffer, bytes));
    this.#device.nativeFree(buffer);
    return text.toString('latin1', 0, text.indexOf(0));
  }
}
