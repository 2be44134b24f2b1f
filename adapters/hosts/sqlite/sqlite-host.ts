import { checkUsable, MemoryError } from '../../../src/core/errors.js';
import { alignUp } from '../../../src/core/units.js';
import { callback } from '../../ffi/callback.js';
import { CAllocatorHost, type CAllocatorHostOptions } from '../c-allocator/c-allocator-host.js';
import { ENGINE, SQLITE_NAMES, SqliteLibrary } from './sqlite-library.js';

export interface SqliteHostOptions extends Omit<CAllocatorHostOptions, 'sizeHeader'> {
  /** The shared library: a path, or a name that the loader knows. @defaultValue libsqlite3 as the system has it */
  readonly library?: string;
  /**
   * Whether SQLite counts its memory itself (`sqlite3_memory_used`, soft heap limits), beside its manager's statistics.
   * It asks for the size of each block up to three times then.
   * @defaultValue false
   */
  readonly memoryStatus?: boolean;
}

const SQLITE_OK = 0;
/** What SQLite rounds to by itself. @see Source: sqlite3.c, ROUND8 */
const ROUNDING_BYTES = 8;

/** `xMalloc` of every host that is attached in this isolate. */
const attached = new Set<bigint>();

/**
 * A host for SQLite's shared library: its manager serves everything that SQLite allocates in this process, page caches
 * and lookaside memory included. Without memory SQLite answers SQLITE_NOMEM (7) and stays usable; {@link lastError} says why.
 *
 * ```js
 * const host = new SqliteHost();
 * host.attach(); // before the first connection
 * const status = host.call(() => sqlite3_open_v2(…));
 * ```
 *
 * node:sqlite and better-sqlite3 carry their own copy of SQLite, which this host does not reach.
 *
 * The order of an end: close every connection, then {@link close}, which shuts SQLite down and gives it its own functions back.
 */
export class SqliteHost extends CAllocatorHost {
  readonly #options: SqliteHostOptions;
  /** What was attached to, and SQLite's own methods. */
  #attached: { readonly library: SqliteLibrary; readonly before: BigUint64Array } | undefined;
  #running = false;

  constructor(options: SqliteHostOptions = {}) {
    // SQLite asks for sizes by xSize and may use all of a block: what the manager's block has is the answer.
    super({ ...options, sizeHeader: false });
    this.#options = options;
  }

  /** The version and the name of the library; undefined before {@link attach}. */
  get library(): { readonly version: string; readonly path: string } | undefined {
    return this.#attached?.library;
  }

  /** Whether SQLite has started with this host, by its first connection, and was not shut down since. */
  get running(): boolean {
    return this.#running;
  }

  /**
   * Loads SQLite and makes this host its allocator. Does nothing the second time.
   *
   * @throws ERR_MEM_ENGINE_IN_USE when SQLite has started already in this process, or has another host
   * @throws ERR_MEM_DEVICE_ABSENT when the library is not found, ERR_MEM_DISPOSED after close
   */
  attach(): void {
    checkUsable(!this.slot.closed, 'SqliteHost');
    if (this.#attached !== undefined) return;
    const { library: name, memoryStatus = false } = this.#options;
    const library = new SqliteLibrary(name === undefined ? SQLITE_NAMES : [name]);
    const before = library.getMethods();
    if (attached.has(before[0]!)) {
      throw new MemoryError('ERR_MEM_ENGINE_IN_USE', { engine: ENGINE, reason: 'another host is attached: close it first' });
    }
    const methods = this.#methods();
    library.setMemoryStatus(memoryStatus);
    library.setMethods(methods);
    attached.add(methods[0]!);
    this.#attached = { library, before };
  }

  protected override detach(): void {
    if (this.#attached !== undefined) {
      const { library, before } = this.#attached;
      this.callbacks.call(() => library.shutdown());
      library.setMethods(before);
      library.setMemoryStatus(true);
      attached.delete(this.#methods()[0]!);
    }
    super.detach();
  }

  /** A `sqlite3_mem_methods`. @see Source: sqlite3.h */
  #methods(): BigUint64Array {
    const functions = this.callbacks.register('sqlite', () => ({
      malloc: callback({ result: 'uintptr_t', parameters: ['int'], onError: 0, body: (bytes) => this.malloc(bytes) }),
      free: callback({ result: 'void', parameters: ['uintptr_t'], onError: undefined, body: (ptr) => this.free(ptr) }),
      realloc: callback({
        result: 'uintptr_t',
        parameters: ['uintptr_t', 'int'],
        onError: 0,
        body: (ptr, bytes) => this.realloc(ptr, bytes),
      }),
      size: callback({
        result: 'int',
        parameters: ['uintptr_t'],
        onError: 0,
        body: (ptr) => (ptr === 0 ? 0 : this.heap.sizeOf(ptr)),
      }),
      roundup: callback({ result: 'int', parameters: ['int'], onError: 0, body: (bytes) => alignUp(bytes, ROUNDING_BYTES) }),
      init: callback({
        result: 'int',
        parameters: ['uintptr_t'],
        onError: SQLITE_OK,
        body: () => {
          this.#running = true;
          return SQLITE_OK;
        },
      }),
      shutdown: callback({
        result: 'void',
        parameters: ['uintptr_t'],
        onError: undefined,
        body: () => {
          this.#running = false;
          this.slot.signalMemoryCleanup();
        },
      }),
    }));
    const { malloc, free, realloc, size, roundup, init, shutdown } = functions;
    return BigUint64Array.from([malloc, free, realloc, size, roundup, init, shutdown, 0], BigInt);
  }
}
