import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as setTimer } from 'node:timers';
import { attempt, warn } from '../core/attempt.js';
import { type LetsGo, processState, type Reclaimable } from '../core/process-state.js';
import { formatBytes, MiB } from '../core/units.js';
import { CollectorPressure } from './collector-pressure.js';

/** A handle that is watched. */
export interface WatchedHandle {
  readonly disposed: boolean;
  /** Registers the handle with what gives its block back. It is no young one any more. @returns its place */
  register(registry: FinalizationRegistry<Reclaimable>): number;
  /** Ends a handle whose block was freed without it, by an arena's reset. @returns who is to be told */
  endGone(): (() => void) | undefined;
}

/** The place of a handle that is not watched yet. */
export const NEW = 64;
/** The place of a handle on device 0 that is not young; those of further devices follow. */
export const OLD = NEW + 1;

/** How many young handles there are at most. */
const PLACES = NEW;
/** How many bytes they have at most. */
const YOUNG_BYTES = 16 * MiB;
/** How long a handle is young at most, while the event loop turns. */
const YOUNG_MS = 100;
/** Less than any number of bytes. */
const NO_TIMER = -1;

// The timer must not keep the async context alive in which some handle was made.
const outsideOfContexts: <T>(fn: () => T) => T = AsyncLocalStorage.snapshot();

/**
 * Finds handles that were dropped without being disposed.
 *
 * That is the work of a FinalizationRegistry, but to register there takes longer than to allocate, and most handles die young.
 * So the newest ones are held here, in a ring. One that was disposed when its turn comes was never registered. Another one is
 * registered then and let go: from then on the garbage collector finds out when it is dropped.
 */
export class HandleWatch implements LetsGo {
  readonly pressure = new CollectorPressure(this);
  /** Where old handles are registered. */
  readonly registry: FinalizationRegistry<Reclaimable>;
  readonly #young: (WatchedHandle | undefined)[] = new Array(PLACES).fill(undefined);
  readonly #bytes = new Float64Array(PLACES);
  /** The place of the next handle, behind the newest one. The first handle from there on is the oldest. */
  #next = 0;
  #youngBytes = 0;
  /** How many bytes young handles may have now: none while there is no timer. */
  #mostBytes = NO_TIMER;
  #hasWarned = false;

  /** @param registry - calls `reclaim` for what is dropped */
  constructor(registry: FinalizationRegistry<Reclaimable>) {
    this.registry = registry;
  }

  /** The watch of this process. */
  static shared(): HandleWatch {
    const state = processState();
    return (state.handleWatch ??= new HandleWatch(state.droppedHandles)) as HandleWatch;
  }

  /** Bytes of the young handles. */
  get youngBytes(): number {
    return this.#youngBytes;
  }

  /** Begins to watch a handle. @returns its place: among the young ones, or that of an old one */
  enter(handle: WatchedHandle, bytes: number): number {
    const place = this.#next;
    const youngBytes = this.#youngBytes + bytes;
    if (this.#young[place] !== undefined || youngBytes > this.#mostBytes) return this.#enterLate(handle, bytes);
    this.#young[place] = handle;
    this.#bytes[place] = bytes;
    this.#youngBytes = youngBytes;
    this.#next = (place + 1) % PLACES;
    return place;
  }

  /** Ends to watch a handle as a young one, if it is one at that place. */
  leave(handle: WatchedHandle, place: number): void {
    if (place >= 0 && this.#young[place] === handle) this.#remove(place);
  }

  /** Goes on watching a handle: as an old one if it was young, at that place, and is no more. */
  goOn(handle: WatchedHandle, place: number): void {
    if (place < OLD && this.#young[place] !== handle) this.register(handle);
  }

  /** Counts a block that was freed because its handles were dropped. The first one becomes a process warning. */
  noteDropped(bytes: number): void {
    this.pressure.noteDropped(bytes);
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    warn(
      `A memory handle of ${formatBytes(bytes)} was dropped without dispose(), and freed by the garbage collector. Further ones ` +
        "are not told. To see where they are allocated, install a TrackingMemoryManager with { sites: true } and listen to the runtime's 'leak' event.",
      { code: 'STOWAGE_DROPPED_HANDLE' },
    );
  }

  /** Watches a handle as an old one. @returns its place */
  register(handle: WatchedHandle): number {
    return handle.register(this.registry);
  }

  /** Lets go of all young handles, so that a collection finds those that were dropped. */
  letGo(): void {
    for (let place = 0; place < PLACES; place++) this.#letGo(place);
  }

  #remove(place: number): void {
    this.#young[place] = undefined;
    this.#youngBytes -= this.#bytes[place]!;
  }

  #letGo(place: number): void {
    const handle = this.#young[place];
    if (handle === undefined) return;
    this.#remove(place);
    try {
      if (!handle.disposed) this.register(handle);
      else endGone(handle);
    } catch (error) {
      this.#young[place] = handle;
      this.#youngBytes += this.#bytes[place]!;
      throw error;
    }
  }

  /** As {@link enter}, once the oldest handles have made room. */
  #enterLate(handle: WatchedHandle, bytes: number): number {
    if (bytes > YOUNG_BYTES) return this.register(handle);
    if (this.#mostBytes === NO_TIMER) this.#startTimer();
    this.#letGo(this.#next);
    for (let i = 1; i < PLACES && this.#youngBytes + bytes > YOUNG_BYTES; i++) {
      const place = (this.#next + i) % PLACES;
      if (this.#young[place] !== undefined) this.#letGo(place);
    }
    return this.enter(handle, bytes);
  }

  #startTimer(): void {
    const timer = outsideOfContexts(() => setTimer(() => this.#endOfYouth(), YOUNG_MS));
    timer.unref();
    this.#mostBytes = YOUNG_BYTES;
  }

  #endOfYouth(): void {
    this.#mostBytes = NO_TIMER;
    this.letGo();
  }
}

/** Nobody may dispose of such a handle any more, but its tenant is charged until then. Listeners are not called in the middle of something else. */
function endGone(handle: WatchedHandle): void {
  const onFreed = handle.endGone();
  if (onFreed !== undefined) outsideOfContexts(() => queueMicrotask(() => attempt(onFreed)));
}
