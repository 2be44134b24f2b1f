import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as setTurn } from 'node:timers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { attempt } from '../core/attempt.js';
import type { LetsGo, Reclaimable } from '../core/process-state.js';
import { MiB } from '../core/units.js';

/** Growth that asks for a collection: at least so many bytes, and so much of what was there before. */
const LEAST_GROWTH_BYTES = 32 * MiB;
const GROWTH = 0.3;
/** Growth after which a collection is asked for again that the budget has refused. To look at the clock takes as long as to allocate. */
const LEAST_RETRY_BYTES = 8 * MiB;
const RETRY = 0.1;
/** How many collections there are a minute, and how many at once. */
const COLLECTIONS_A_MINUTE = 600;
/** A collection that found little is followed by a pause of so many times its length: such ones take 2 % of the time. */
const PAUSE = 49;
/** How many turns of the event loop finalisers may take: V8 calls those of one registry a turn, and a program has others. */
const MOST_TURNS = 100;

/** Collects garbage: that of the young objects alone if asked. */
type Collector = (options?: { readonly type: 'minor' }) => void;

/** Collections that handles which were not disposed have asked for. */
export interface CollectorStats {
  /** How many there were. */
  readonly collections: number;
  /** Bytes of the dropped handles that they found. */
  readonly freedBytes: number;
  /** Bytes of handles, new ones aside, that are neither disposed nor found to be dropped. */
  readonly undisposedBytes: number;
}

/** The handles of the process: what holds the new ones, and where the others are registered. */
interface WatchedHandles extends LetsGo {
  /** The bytes of new ones that are not disposed. */
  readonly youngBytes: number;
  readonly registry: FinalizationRegistry<Reclaimable>;
}

/** Handles of one runtime's slot that are not disposed, as far as they press on the collector. */
export class UndisposedHandles {
  readonly #memoryOf: (device: number) => PressingMemory;
  /** What these handles have of each device's memory. */
  readonly #held: { readonly memory: PressingMemory; bytes: number }[] = [];
  #isClosed = false;

  /** @internal */
  constructor(memoryOf: (device: number) => PressingMemory) {
    this.#memoryOf = memoryOf;
  }

  add(bytes: number, device = 0): void {
    if (this.#isClosed) return;
    this.#held[device] ??= { memory: this.#memoryOf(device), bytes: 0 };
    const held = this.#held[device];
    held.bytes += bytes;
    held.memory.add(bytes);
  }

  remove(bytes: number, device = 0): void {
    if (this.#isClosed) return;
    const held = this.#held[device]!;
    held.bytes -= bytes;
    held.memory.remove(bytes);
  }

  /** Forgets all handles: their runtime was closed, and their memory is free. */
  close(): void {
    for (const { memory, bytes } of Object.values(this.#held)) memory.remove(bytes);
    this.#isClosed = true;
  }
}

/** One memory: this machine's, or that of a card. */
class PressingMemory {
  bytes = 0;
  /** Bytes that are no growth: those after the last collection, or the least since. */
  #base = 0;
  #limit = LEAST_GROWTH_BYTES;

  /** @param pressure - undefined where it asks for no collection */
  constructor(readonly pressure: CollectorPressure | undefined) {}

  /** By how much it has grown. */
  get growth(): number {
    return this.bytes - this.#base;
  }

  add(bytes: number): void {
    this.bytes += bytes;
    const { pressure } = this;
    if (pressure === undefined) return;
    // Young ones that were dropped wait for the same collection.
    const undisposed = this.bytes + pressure.youngBytes;
    if (undisposed >= this.#limit && !pressure.press())
      this.#limit = undisposed + Math.max(LEAST_RETRY_BYTES, RETRY * this.bytes);
  }

  remove(bytes: number): void {
    this.bytes -= bytes;
    if (this.bytes < this.#base) this.rebase();
  }

  /** Takes what is there for no growth. */
  rebase(): void {
    this.#base = this.bytes;
    this.#limit = this.bytes + Math.max(LEAST_GROWTH_BYTES, GROWTH * this.bytes);
  }
}

// A collection must not keep the async context alive in which some handle was made.
const outsideOfContexts: <T>(fn: () => T) => T = AsyncLocalStorage.snapshot();

/**
 * Has V8 collect garbage when the memory of handles that were not disposed grows. V8 knows nothing of that memory: it would
 * see some small objects, and no reason to look for dropped ones.
 *
 * Collections are made between turns of the event loop, and the handles that they find are released in a turn of their own: a
 * program that does not let the loop turn gets none.
 */
export class CollectorPressure {
  readonly #memories = new Map<string, PressingMemory>();
  readonly #handles: WatchedHandles;
  readonly #findCollector: () => Collector;
  #collect: Collector | undefined;
  #isUnderway = false;
  #notBefore = 0;
  #budget = COLLECTIONS_A_MINUTE;
  #budgetAt = 0;
  #collections = 0;
  #freedBytes = 0;
  #droppedBytes = 0;

  /**
   * @param find - gives what collects garbage
   * @defaultValue find gives V8's collector
   */
  constructor(handles: WatchedHandles, find = findCollector) {
    this.#handles = handles;
    this.#findCollector = find;
  }

  get stats(): CollectorStats {
    const undisposedBytes = [...this.#memories.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    return { collections: this.#collections, freedBytes: this.#freedBytes, undisposedBytes };
  }

  /**
   * Counts the handles of one more slot of a runtime.
   *
   * @param kind - of memory; what is on one device of a kind counts together
   * @param presses - false counts them apart and asks for no collection
   */
  handlesOf(kind: string, presses: boolean): UndisposedHandles {
    return new UndisposedHandles((device) => (presses ? this.#memoryOf(`${kind} ${device}`) : new PressingMemory(undefined)));
  }

  #memoryOf(name: string): PressingMemory {
    let memory = this.#memories.get(name);
    if (memory === undefined) {
      memory = new PressingMemory(this);
      this.#memories.set(name, memory);
    }
    return memory;
  }

  /** Counts a handle that was dropped. */
  noteDropped(bytes: number): void {
    this.#droppedBytes += bytes;
  }

  /**
   * Collects garbage at once.
   *
   * @param options - `ref: false` does not keep the process alive while what is returned waits
   * @returns fulfilled when the handles that were found to be dropped are released
   */
  collect(options?: { readonly ref?: boolean }): Promise<void> {
    this.#handles.letGo();
    const wasReleased = dropOne(this.#handles.registry);
    this.#collect ??= this.#findCollector();
    this.#collect();
    return turnsUntil(wasReleased, options);
  }

  /** Bytes of handles that are held because they are new, of whichever memory. @internal */
  get youngBytes(): number {
    return this.#handles.youngBytes;
  }

  /** Asks for a collection. @returns whether there will be one @internal */
  press(): boolean {
    if (this.#isUnderway) return true;
    if (!this.#mayCollect()) return false;
    this.#isUnderway = true;
    outsideOfContexts(() => setTurn(() => void this.#run())).unref();
    return true;
  }

  /** Collects garbage at once, as often as {@link press} would. @returns whether it did @internal */
  collectNow(): boolean {
    if (!this.#mayCollect()) return false;
    const began = performance.now();
    attempt(() => {
      void this.collect({ ref: false });
      // V8 frees the bytes of ArrayBuffers beside the program; it waits for that before it collects again.
      this.#collect?.({ type: 'minor' });
    });
    this.#collections++;
    // Who asks again and again gets no more of the time than others.
    this.#notBefore = performance.now() + PAUSE * (performance.now() - began);
    return true;
  }

  /** Counts a collection against what there may be, if there may be one now. */
  #mayCollect(): boolean {
    const now = performance.now();
    if (now < this.#notBefore) return false;
    this.#budget = Math.min(COLLECTIONS_A_MINUTE, this.#budget + (now - this.#budgetAt) * (COLLECTIONS_A_MINUTE / 60_000));
    this.#budgetAt = now;
    if (this.#budget < 1) return false;
    this.#budget--;
    return true;
  }

  async #run(): Promise<void> {
    const memories = [...this.#memories.values()];
    const growth = memories.reduce((sum, memory) => sum + Math.max(0, memory.growth), 0);
    const droppedBefore = this.#droppedBytes;
    const began = performance.now();
    let released: Promise<void> | undefined;
    attempt(() => {
      released = this.collect({ ref: false });
    });
    const ms = performance.now() - began;
    await released;
    const freed = this.#droppedBytes - droppedBefore;
    this.#collections++;
    this.#freedBytes += freed;
    for (const memory of memories) memory.rebase();
    if (freed < growth / 2) this.#notBefore = performance.now() + PAUSE * ms;
    this.#isUnderway = false;
  }
}

/**
 * Registers an object that nothing holds. The collection that finds it finds all handles that were dropped before, and V8
 * calls the finalisers of one registry together.
 *
 * @returns whether that was done
 */
function dropOne(registry: FinalizationRegistry<Reclaimable>): () => boolean {
  let wasReleased = false;
  const reclaim = () => {
    wasReleased = true;
  };
  registry.register({}, { reclaim });
  return () => wasReleased;
}

async function turnsUntil(isDone: () => boolean, options?: { readonly ref?: boolean }): Promise<void> {
  for (let turn = 0; turn < MOST_TURNS && !isDone(); turn++) await nextTurn(undefined, options);
}

/** The collector of V8. The flag that shows it is set for a moment: contexts and workers that are made later have no `gc`. */
function findCollector(): Collector {
  const { gc } = globalThis;
  if (gc !== undefined) return (options) => void (options === undefined ? gc() : gc(options));
  let collect: Collector = () => {};
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  attempt(() => {
    setFlagsFromString('--expose-gc');
    try {
      collect = process.getBuiltinModule('node:vm').runInNewContext('gc');
    } finally {
      setFlagsFromString('--no-expose-gc');
    }
  });
  return collect;
}
