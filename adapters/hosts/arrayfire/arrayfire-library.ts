import { join } from 'node:path';
import { checkArgument, MemoryError } from '../../../src/core/errors.js';
import { HOST_MEMORY } from '../../../src/core/slot-charges.js';
import { type NativeLibrary, openLibrary } from '../../ffi/library.js';
import { isLibraryLoaded, libcFunction } from '../../os/libc.js';

/** ArrayFire's `af_err`. @see Source: af/defines.h */
export const AF_SUCCESS = 0;
export const AF_ERR_NO_MEM = 101;
export const AF_ERR_UNKNOWN = 999;

const AF_BACKEND_CPU = 1;
/** The kinds of memory of the other backends. */
const BACKEND_MEMORY: Readonly<Record<number, string>> = { 2: 'cuda', 4: 'opencl' };
/** The first release whose af/memory.h has the functions and types that are used here. */
const [OLDEST_MAJOR, OLDEST_MINOR] = [3, 8];
const SYNCHRONOUS = 'AF_SYNCHRONOUS_CALLS';

type Status = (...values: unknown[]) => number;

/** The functions of ArrayFire that the host calls, with their parameters. `uintptr_t` is a handle or an address. */
const FUNCTIONS = {
  af_get_version: ['int32_t *', 'int32_t *', 'int32_t *'],
  af_get_active_backend: ['int32_t *'],
  af_get_device_count: ['int32_t *'],
  af_sync: ['int'],
  af_create_memory_manager: ['uint64_t *'],
  af_release_memory_manager: ['uintptr_t'],
  af_set_memory_manager: ['uintptr_t'],
  af_set_memory_manager_pinned: ['uintptr_t'],
  af_unset_memory_manager: [],
  af_unset_memory_manager_pinned: [],
  af_memory_manager_get_payload: ['uintptr_t', 'uint64_t *'],
  af_memory_manager_set_payload: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_get_active_device_id: ['uintptr_t', 'int32_t *'],
  af_memory_manager_native_alloc: ['uintptr_t', 'uint64_t *', 'size_t'],
  af_memory_manager_native_free: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_get_max_memory_size: ['uintptr_t', 'uint64_t *', 'int'],
  af_memory_manager_get_memory_pressure_threshold: ['uintptr_t', 'float *'],
  af_memory_manager_set_memory_pressure_threshold: ['uintptr_t', 'float'],
  af_memory_manager_set_initialize_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_shutdown_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_alloc_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_allocated_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_unlock_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_signal_memory_cleanup_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_print_info_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_user_lock_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_user_unlock_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_is_user_locked_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_get_memory_pressure_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_jit_tree_exceeds_memory_pressure_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_add_memory_management_fn: ['uintptr_t', 'uintptr_t'],
  af_memory_manager_set_remove_memory_management_fn: ['uintptr_t', 'uintptr_t'],
} as const;

/** A function of ArrayFire that the host calls. */
export type AfFunction = keyof typeof FUNCTIONS;

/** How the library is found and prepared. */
export interface ArrayFireLibraryOptions {
  /** The library's file name or path. @defaultValue the usual names, below `AF_PATH` and /opt/arrayfire too */
  readonly library?: string;
  /**
   * Sets `AF_SYNCHRONOUS_CALLS=1` in the process's environment before the library is loaded, so that no queue thread
   * releases arrays. The CPU backend needs it. CUDA and OpenCL release on the calling thread: false spares them a wait
   * for each operation.
   * @defaultValue true
   */
  readonly synchronousCalls?: boolean;
}

/** ArrayFire's C functions. Every status that is no success becomes an error. */
export class ArrayFireLibrary {
  readonly version: string;
  readonly deviceCount: number;
  /** The kind of memory that its backend has. */
  readonly memory: string;
  readonly #functions: Readonly<Record<AfFunction, Status>>;
  readonly #errorName: (status: number) => string;

  private constructor(
    readonly native: NativeLibrary,
    synchronousCalls: boolean,
  ) {
    const functions = Object.entries(FUNCTIONS).map(([name, parameters]) => [name, native.func<Status>(name, 'int', parameters)]);
    this.#functions = Object.fromEntries(functions) as Record<AfFunction, Status>;
    this.#errorName = native.func<(status: number) => string>('af_err_to_string', 'const char *', ['int']);
    const [major, minor, patch] = [new Int32Array(1), new Int32Array(1), new Int32Array(1)];
    this.call('af_get_version', major, minor, patch);
    this.version = `${major[0]}.${minor[0]}.${patch[0]}`;
    if (major[0]! < OLDEST_MAJOR || (major[0] === OLDEST_MAJOR && minor[0]! < OLDEST_MINOR)) {
      const reason = `${native.path} is version ${this.version}, and ${OLDEST_MAJOR}.${OLDEST_MINOR} is needed`;
      throw new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: 'arrayfire', reason });
    }
    this.deviceCount = this.#int('af_get_device_count');
    const backend = this.#int('af_get_active_backend');
    this.memory = BACKEND_MEMORY[backend] ?? HOST_MEMORY;
    const isSafe = synchronousCalls || backend !== AF_BACKEND_CPU;
    const expected = "true for ArrayFire's CPU backend, whose queue thread would wait for this one for ever";
    checkArgument(isSafe, 'synchronousCalls', synchronousCalls, expected);
  }

  /**
   * Loads the library and asks for what starts nothing. ArrayFire reads `AF_SYNCHRONOUS_CALLS` once, when it is first used:
   * whoever has loaded it before must have set that.
   *
   * @throws ERR_MEM_ENGINE_IN_USE when it is loaded already, calls are to be synchronous and the environment did not say so
   * @throws ERR_MEM_DEVICE_ABSENT when there is none, or it is older than 3.8
   * @throws ERR_MEM_INVALID_ARGUMENT without synchronous calls on the CPU backend
   * @throws ERR_MEM_NATIVE when it does not start
   */
  static open(options: ArrayFireLibraryOptions = {}): ArrayFireLibrary {
    const { library, synchronousCalls = true } = options;
    const names = library === undefined ? libraryNames() : [library];
    if (synchronousCalls) requireSynchronousCalls([...names, ...libraryNames()]);
    const native = openLibrary(names, { device: 'arrayfire' });
    return new ArrayFireLibrary(native, synchronousCalls);
  }

  /** Makes a call. @throws ERR_MEM_NATIVE */
  call(name: AfFunction, ...values: unknown[]): void {
    this.check(name, this.status(name, ...values));
  }

  /** Makes a call and gives its status. */
  status(name: AfFunction, ...values: unknown[]): number {
    return this.#functions[name](...values);
  }

  /** @throws ERR_MEM_NATIVE unless the status is a success */
  check(functionName: AfFunction, status: number): void {
    if (status === AF_SUCCESS) return;
    throw new MemoryError('ERR_MEM_NATIVE', { functionName, status, statusName: this.#errorName(status) });
  }

  /** Waits until the queued work of every device is done. @throws ERR_MEM_NATIVE */
  synchronize(): void {
    for (let device = 0; device < this.deviceCount; device++) this.call('af_sync', device);
  }

  #int(name: AfFunction): number {
    const out = new Int32Array(1);
    this.call(name, out);
    return out[0]!;
  }
}

/** Has ArrayFire make its calls synchronously. @throws ERR_MEM_ENGINE_IN_USE where it may have begun otherwise */
function requireSynchronousCalls(names: readonly string[]): void {
  if (getEnvironment(SYNCHRONOUS) === '1') return;
  const loaded = names.find(isLibraryLoaded);
  if (loaded !== undefined) {
    throw new MemoryError('ERR_MEM_ENGINE_IN_USE', {
      engine: 'ArrayFire',
      reason: `${loaded} was loaded without ${SYNCHRONOUS}=1: open the host first, or set that in the environment of the process`,
    });
  }
  process.env[SYNCHRONOUS] = '1';
  if (process.platform === 'win32') putEnvironment(SYNCHRONOUS, '1');
  else setEnvironment(SYNCHRONOUS, '1', 1);
}

// The C library's environment, which in a worker is not `process.env`.
const getEnvironment = libcFunction('getenv', 'const char *', ['const char *']);
const setEnvironment = libcFunction('setenv', 'int', ['const char *', 'const char *', 'int']);
const putEnvironment = libcFunction('_putenv_s', 'int', ['const char *', 'const char *']);

function libraryNames(): readonly string[] {
  if (process.platform === 'win32') return ['af.dll', 'afcpu.dll'];
  // The unified library first: it serves every backend.
  const names =
    process.platform === 'darwin'
      ? ['libaf.3.dylib', 'libafcpu.3.dylib']
      : ['libaf.so.3', 'libafcpu.so.3', 'libafcuda.so.3', 'libafopencl.so.3'];
  const folders = [...new Set([process.env['AF_PATH'], '/opt/arrayfire'])].filter((folder) => folder !== undefined);
  return [
    ...names,
    ...folders.flatMap((folder) => ['lib64', 'lib'].flatMap((lib) => names.map((name) => join(folder, lib, name)))),
  ];
}
