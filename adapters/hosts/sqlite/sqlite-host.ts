import { unlessRefused } from '../../../src/core/attempt.js';
import { checkUsable, MemoryError } from '../../../src/core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../../../src/core/option-names.js';
import { alignUp } from '../../../src/core/units.js';
import { type CNumber, callback } from '../../ffi/callback.js';
import { CAllocatorHost, type CAllocatorHostOptions } from '../c-allocator/c-allocator-host.js';
import { C_ALIGNMENT } from '../c-allocator/c-heap.js';
import { ENGINE_OPTIONS } from '../engine-host.js';
import { NativeSlabs, type SlabCallbacks, type SlabSource, type SlabUsage } from '../slabs/native-slabs.js';
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
  /**
   * Whether blocks of up to 8 KiB come from slabs: blocks of the manager that machine code of this library cuts into cells, with
   * no call into JavaScript for each. Otherwise each block is one of the manager's, and each call of SQLite's costs a callback.
   * @defaultValue true on Linux on x64, where the system lets the program run it; true throws ERR_MEM_NATIVE where it does not
   */
  readonly nativeSlabs?: boolean;
}

const OPTIONS: OwnOptions<SqliteHostOptions> = {
  of: () => SqliteHost,
  names: { ...ENGINE_OPTIONS, library: true, memoryStatus: true, nativeSlabs: true },
};

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
 * The order of an end: close every connection, then {@link dispose}, which shuts SQLite down and gives it its own functions back.
 */
export class SqliteHost extends CAllocatorHost {
  readonly #options: SqliteHostOptions;
  /** What was attached to, and SQLite's own methods. */
  #attached: { readonly library: SqliteLibrary; readonly before: BigUint64Array } | undefined;
  #slabs: NativeSlabs | undefined;
  readonly #slabSource: SlabSource = {
    alloc: (bytes) => this.blocks.alloc(bytes, C_ALIGNMENT),
    free: (ptr) => this.givenUp.free(ptr),
    outOfMemory: (requestedBytes) => this.outOfMemory(requestedBytes),
  };
  #running = false;

  constructor(options: SqliteHostOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    // SQLite asks for sizes by xSize and may use all of a block: native code reads that from a header, a callback asks the manager.
    super({ ...options, sizeHeader: options.nativeSlabs ?? NativeSlabs.isSupported });
    this.#options = options;
    this.events.on('swap', ({ slot }) => {
      if (slot === this.slot.kind) this.#reporting(() => this.#slabs?.retire());
    });
    this.events.on('oom', () => this.#reporting(() => this.trim()));
  }

  /** The version and the name of the library; undefined before {@link attach}. */
  get library(): { readonly version: string; readonly path: string } | undefined {
    return this.#attached?.library;
  }

  /** Whether SQLite has started with this host, by its first connection, and was not shut down since. */
  get running(): boolean {
    return this.#running;
  }

  /** What SQLite holds in cells of native slabs; undefined without those, and before {@link attach}. Cost: O(slabs) */
  get slabs(): SlabUsage | undefined {
    return this.#slabs?.usage();
  }

  /**
   * Gives slabs back that are kept although no cell of theirs lives: one for each size at most. Happens by itself when there is
   * no memory, when the manager is replaced, and when SQLite holds nothing.
   *
   * @returns how many
   * @throws what the device throws; the host tries again later
   */
  trim(): number {
    return this.#slabs?.trim() ?? 0;
  }

  /**
   * Loads SQLite and makes this host its allocator. Does nothing the second time.
   *
   * @throws ERR_MEM_ENGINE_IN_USE when SQLite has started already in this process, or has another host
   * @throws ERR_MEM_DEVICE_ABSENT when the library is not found, ERR_MEM_DISPOSED after dispose
   */
  attach(): void {
    checkUsable(!this.slot.closed, 'SqliteHost');
    if (this.#attached !== undefined) return;
    const { library: name, memoryStatus = false } = this.#options;
    const library = new SqliteLibrary(name === undefined ? SQLITE_NAMES : [name]);
    const before = library.getMethods();
    if (attached.has(before[0]!)) {
      throw new MemoryError('ERR_MEM_ENGINE_IN_USE', { engine: ENGINE, reason: 'another host is attached: dispose of it first' });
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
      this.#slabs?.dispose();
      this.#slabs = undefined;
    }
    super.detach();
  }

  /** A `sqlite3_mem_methods`. @see Source: sqlite3.h */
  #methods(): BigUint64Array {
    const functions = this.callbacks.register('sqlite', () => ({
      malloc: callback({ result: 'uintptr_t', parameters: ['int'], onError: 0, body: (bytes) => this.malloc(bytes) }),
      free: callback({ result: 'void', parameters: ['uintptr_t'], onError: undefined, body: (ptr) => this.#free(ptr) }),
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
      refill: callback({ result: 'int', parameters: ['uint32_t'], onError: 0, body: (sizeClass) => this.#refill(sizeClass) }),
      emptied: callback({
        result: 'void',
        parameters: ['uint32_t'],
        onError: undefined,
        body: (slab) => this.#slabs?.emptied(slab),
      }),
    }));
    const { malloc, free, realloc, size, roundup, init, shutdown, refill, emptied } = functions;
    let blocks = [malloc, free, realloc, size, roundup];
    this.#slabs ??= this.#openSlabs({ refill, malloc, free, realloc, emptied });
    if (this.#slabs !== undefined) {
      const native = this.#slabs.functions;
      blocks = [native.sqlite_malloc, native.slabs_free, native.sqlite_realloc, native.slabs_size, native.sqlite_roundup];
    }
    return BigUint64Array.from([...blocks, init, shutdown, 0], BigInt);
  }

  #openSlabs(callbacks: SlabCallbacks): NativeSlabs | undefined {
    const { nativeSlabs } = this.#options;
    if (nativeSlabs === true) return new NativeSlabs(this.#slabSource, callbacks);
    if (nativeSlabs === false || !NativeSlabs.isSupported) return undefined;
    // A hardened system lets no program run pages that it has written.
    const isForbidden = (error: unknown) => MemoryError.is(error, 'ERR_MEM_NATIVE');
    return unlessRefused(isForbidden, () => new NativeSlabs(this.#slabSource, callbacks));
  }

  /** Has a failure to give slabs back not become one of a swap, or of an allocation. */
  #reporting(giveBack: () => void): void {
    try {
      giveBack();
    } catch (error) {
      this.callbacks.report(error);
    }
  }

  #refill(sizeClass: number): number {
    try {
      this.startUse();
      this.#slabs?.refill(sizeClass);
      return 1;
    } catch (error) {
      return this.refuse(error, 0);
    }
  }

  /** C's free for what is no live cell. */
  #free(ptr: CNumber): void {
    try {
      this.free(ptr);
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_UNKNOWN_POINTER') || this.#slabs?.isFree(Number(ptr)) !== true) throw error;
      throw new MemoryError('ERR_MEM_DOUBLE_FREE', { pointer: Number(ptr) }, error);
    }
  }
}
