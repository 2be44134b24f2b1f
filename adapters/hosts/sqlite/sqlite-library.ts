import { MemoryError } from '../../../src/core/errors.js';
import { openLibrary } from '../../ffi/library.js';

export const ENGINE = 'SQLite';
/** Where the shared library of SQLite is looked for, the best first. */
export const SQLITE_NAMES: readonly string[] = ['libsqlite3.so.0', 'libsqlite3.so', 'libsqlite3.dylib', 'sqlite3.dll'];

const SQLITE_OK = 0;
const SQLITE_MISUSE = 21;
const SQLITE_CONFIG_MALLOC = 4;
const SQLITE_CONFIG_GETMALLOC = 5;
const SQLITE_CONFIG_MEMSTATUS = 9;

/** How many pointers a `sqlite3_mem_methods` is. */
const MEM_METHODS_WORDS = 8;

/** The part of SQLite's C API that sets its allocator. All of it is for before the library's start, or after its shutdown. */
export class SqliteLibrary {
  /** Such as `3.40.1`. */
  readonly version: string;
  readonly path: string;
  readonly #config: (option: number, type: string, value: BigUint64Array | number) => number;
  readonly #shutdown: () => number;

  /** @throws ERR_MEM_DEVICE_ABSENT */
  constructor(names: readonly string[] = SQLITE_NAMES) {
    const library = openLibrary(names, { device: ENGINE });
    this.path = library.path;
    this.version = library.func<() => string>('sqlite3_libversion', 'const char *', [])();
    this.#config = library.func('sqlite3_config', 'int', ['int', '...']);
    this.#shutdown = library.func('sqlite3_shutdown', 'int', []);
  }

  /** The methods that SQLite will start with. @throws ERR_MEM_ENGINE_IN_USE when it has started already */
  getMethods(): BigUint64Array {
    const methods = new BigUint64Array(MEM_METHODS_WORDS);
    this.#configure(SQLITE_CONFIG_GETMALLOC, 'uint64_t *', methods);
    return methods;
  }

  /** Sets the methods, which SQLite copies. @throws as {@link getMethods} */
  setMethods(methods: BigUint64Array): void {
    this.#configure(SQLITE_CONFIG_MALLOC, 'uint64_t *', methods);
  }

  /** Whether SQLite counts its memory itself, by asking for each block's size twice. @throws as {@link getMethods} */
  setMemoryStatus(enabled: boolean): void {
    this.#configure(SQLITE_CONFIG_MEMSTATUS, 'int', enabled ? 1 : 0);
  }

  /** Ends the library; every connection has to be closed. The next connection starts it again. @throws ERR_MEM_NATIVE */
  shutdown(): void {
    const status = this.#shutdown();
    if (status !== SQLITE_OK) throw failure('sqlite3_shutdown', status);
  }

  #configure(option: number, type: string, value: BigUint64Array | number): void {
    const status = this.#config(option, type, value);
    if (status === SQLITE_MISUSE) {
      throw new MemoryError('ERR_MEM_ENGINE_IN_USE', {
        engine: ENGINE,
        reason: 'it has started already; attach before its first connection, or after sqlite3_shutdown',
      });
    }
    if (status !== SQLITE_OK) throw failure('sqlite3_config', status);
  }
}

function failure(functionName: string, status: number): MemoryError {
  return new MemoryError('ERR_MEM_NATIVE', { functionName, status, statusName: 'an error of SQLite' });
}
