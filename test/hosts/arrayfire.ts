import type { NativeLibrary } from '../../adapters/ffi/library.js';
import { openLibrary } from '../../adapters/ffi/library.js';
import { MemoryError } from '../../src/core/errors.js';
import { compiledLibrary } from '../fixtures/compiled-c.js';

export const AF_ERR_NO_MEM = 101;
export const AF_ERR_NOT_SUPPORTED = 301;
export const AF_ERR_UNKNOWN = 999;
const F32 = 0;

/** The path of the library that stands in for ArrayFire. */
export const arrayFirePath = (): string => compiledLibrary('arrayfire');

type Call = <T>(native: () => T) => T;
type Status = (...values: unknown[]) => number;

const SIGNATURES = {
  af_constant: ['uint64_t *', 'double', 'uint32_t', 'int64_t *', 'int'],
  af_add: ['uint64_t *', 'uintptr_t', 'uintptr_t', 'bool'],
  af_eval: ['uintptr_t'],
  af_index: ['uint64_t *', 'uintptr_t', 'uint32_t', 'double *'],
  af_set_default_random_engine_type: ['int'],
  af_set_mem_step_size: ['size_t'],
  af_device_array: ['uint64_t *', 'uintptr_t', 'uint32_t', 'int64_t *', 'int'],
  af_get_data_ptr: ['float *', 'uintptr_t'],
  af_release_array: ['uintptr_t'],
  af_lock_array: ['uintptr_t'],
  af_unlock_array: ['uintptr_t'],
  af_is_locked_array: ['uint8_t *', 'uintptr_t'],
  af_get_device_ptr: ['uint64_t *', 'uintptr_t'],
  af_alloc_device_v2: ['uint64_t *', 'int64_t'],
  af_free_device_v2: ['uintptr_t'],
  af_alloc_pinned: ['uint64_t *', 'int64_t'],
  af_free_pinned: ['uintptr_t'],
  af_device_mem_info: ['uint64_t *', 'uint64_t *', 'uint64_t *', 'uint64_t *'],
  af_device_gc: [],
  af_print_mem_info: ['const char *', 'int'],
  af_set_device: ['int'],
  af_sync: ['int'],
  af_set_memory_manager: ['uintptr_t'],
  af_unset_memory_manager: [],
  af_create_memory_manager: ['uint64_t *'],
  fixture_release_on_thread: ['uintptr_t'],
  fixture_missing_callbacks: [],
  fixture_allocated: ['uintptr_t', 'uint64_t *'],
  fixture_jit: ['size_t', 'int32_t *'],
  fixture_pressure: ['float *'],
  fixture_alloc: ['uint64_t *', 'int', 'uint32_t', 'int64_t *', 'uint32_t'],
  fixture_manage: ['int', 'int'],
  fixture_set_backend: ['int'],
  fixture_set_minor: ['int'],
  fixture_set_capacity: ['size_t'],
  fixture_fail_at: ['long'],
  fixture_native_live: [],
  fixture_synchronous: [],
  fixture_clear: [],
} as const;

/** The functions of ArrayFire that a program would call. */
export class ArrayFire {
  readonly library: NativeLibrary;
  /** Every function: gives ArrayFire's status. */
  readonly f: Readonly<Record<keyof typeof SIGNATURES, Status>>;
  readonly #calls: () => string;
  /** Makes the calls below, such as {@link ArrayFireHost.call}. */
  through: Call = (native) => native();

  /** Loads it as a program does that wants to open a host later. */
  constructor() {
    process.env['AF_SYNCHRONOUS_CALLS'] = '1';
    const library = openLibrary([arrayFirePath()], { device: 'arrayfire' });
    const entries = Object.entries(SIGNATURES).map(([name, parameters]) => [name, library.func<Status>(name, 'int', parameters)]);
    this.library = library;
    this.f = Object.fromEntries(entries);
    this.#calls = library.func('fixture_calls', 'const char *', []);
  }

  /** What ArrayFire has called since it was last asked. */
  takeCalls(): string[] {
    const lines = this.#calls().trim().split('\n');
    this.f.fixture_clear();
    return lines;
  }

  /** Calls a function that gives an address or a handle. @throws ERR_MEM_NATIVE */
  out(name: keyof typeof SIGNATURES, ...values: unknown[]): number {
    const out = new BigUint64Array(1);
    this.do(name, out, ...values);
    return Number(out[0]);
  }

  /** @throws ERR_MEM_NATIVE unless the function succeeds */
  do(name: keyof typeof SIGNATURES, ...values: unknown[]): void {
    const status = this.through(() => this.f[name](...values));
    if (status !== 0) throw new MemoryError('ERR_MEM_NATIVE', { functionName: name, status, statusName: 'error' });
  }

  /** A lazy array: it has no memory yet. */
  lazy(value: number, elements: number): number {
    return this.out('af_constant', value, 1, new BigInt64Array([BigInt(elements)]), F32);
  }

  /** An array that is evaluated. */
  constant(value: number, elements: number): number {
    return this.evaluated(this.lazy(value, elements));
  }

  /** Evaluates an array, and releases it when there is no memory: past the host, whose last error stays. */
  evaluated(array: number): number {
    try {
      this.do('af_eval', array);
      return array;
    } catch (error) {
      this.f.af_release_array(array);
      throw error;
    }
  }

  /** Elements from `begin` to the one before `end`. */
  part(array: number, begin: number, end: number): number {
    return this.out('af_index', array, 1, new Float64Array([begin, end - 1, 1]));
  }

  add(a: number, b: number): number {
    return this.out('af_add', a, b, false);
  }

  /** @param elements - all that the array has */
  read(array: number, elements: number): Float32Array {
    const out = new Float32Array(elements);
    this.do('af_get_data_ptr', out, array);
    return out;
  }

  release(array: number): void {
    this.do('af_release_array', array);
  }

  isLocked(array: number): boolean {
    const out = new Uint8Array(1);
    this.do('af_is_locked_array', out, array);
    return out[0] === 1;
  }

  /** An array of one over memory that ArrayFire does not know. */
  arrayOver(address: number): number {
    return this.out('af_device_array', address, 1, new BigInt64Array([1n]), F32);
  }

  /** 1 + 2 and further, 1000 elements each; every second sum is evaluated at once, the others when they are needed. */
  work(during?: () => void): number[] {
    const arrays: number[] = [];
    const keep = (array: number) => {
      arrays.push(array);
      return array;
    };
    try {
      let sum = keep(this.constant(1, 1000));
      for (let value = 2; value < 10; value++) {
        sum = keep(this.add(sum, keep(this.constant(value, 1000))));
        if (value % 2 === 0) this.do('af_eval', sum);
      }
      const scratch = this.out('af_alloc_device_v2', 5000);
      during?.();
      this.do('af_free_device_v2', scratch);
      return [...this.read(sum, 1000)];
    } finally {
      for (const array of arrays) this.release(array);
    }
  }
}
