/** Native memory of a handle that was dropped without being disposed. */
export interface Reclaimable {
  reclaim(): void;
}

/** What holds handles because they are new. */
export interface LetsGo {
  /** Lets go of them, so that a collection finds those that were dropped. */
  letGo(): void;
}

/**
 * What one process (strictly: one isolate) shares, however many copies of this package it has loaded.
 * This file imports nothing: `memory-manager-adapter.ts` and `memory-host.ts` declare their own parts of it.
 */
export interface ProcessState {
  lastHandle: number;
  /** The last era that an arena began. No two arenas share one: their blocks may come to lie at one address. */
  lastEra: number;
  /** Of the allocation that is being made. */
  allocationTag: string | undefined;
  /** The one finalisation registry: the backstop for handles that were dropped. */
  readonly droppedHandles: FinalizationRegistry<Reclaimable>;
  /** Watches the handles of all runtimes; undefined before the first runtime. */
  handleWatch: LetsGo | undefined;
  /** Bytes of native memory that arrays show. V8 counts them as its own until it has collected the arrays. */
  shownBytes: number;
  /**
   * Has the C library give back what it keeps free, and tells how many bytes of this process's resident set went. Set by who can call
   * it; undefined elsewhere.
   */
  trimNativeHeap: (() => number) | undefined;
}

const KEY = Symbol.for('stowage');

let found: ProcessState | undefined;

/** The state shared by all copies of this package in this isolate. Cost: a property of the global object takes longer to read. */
export function processState(): ProcessState {
  return (found ??= findState());
}

function findState(): ProcessState {
  const holder = globalThis as { [KEY]?: ProcessState };
  if (holder[KEY] === undefined) {
    const managers: ProcessState['managers'] = new Map();
    holder[KEY] = {
      managers,
      handles: new WeakMap(),
      managerCleanup: new FinalizationRegistry((handle) => managers.delete(handle)),
      lastHandle: 0,
      lastEra: 0,
      allocationTag: undefined,
      droppedHandles: new FinalizationRegistry((memory) => memory.reclaim()),
      handleWatch: undefined,
      shownBytes: 0,
      budgets: new Set(),
      refusalListeners: new Set(),
      defaultHost: undefined,
      createDefaultHost: undefined,
      createDefaultManager: undefined,
      createFallbackManager: undefined,
      hostListeners: new Set(),
      hosts: new Set(),
      trimNativeHeap: undefined,
    };
  }
  return holder[KEY];
}
