import { untold } from './attempt.js';
import type { CallLog } from './call-log.js';
import { handleOf, holdManager, type MemoryManagerAdapter, releaseManager } from './memory-manager-adapter.js';
import { type NativesOptions, SeatNatives } from './seat-natives.js';
import { checkStackRoom } from './stack-room.js';
import { type DevicePtr, devicePtr, NULL_PTR } from './units.js';

/** What a seat needs of its slot. */
export interface SeatOptions extends NativesOptions {
  /** Called when a block of a manager that drains was freed. */
  readonly settle: (seat: Seat) => void;
}

/** The array that a block is for, where the host knows it. */
export interface AskedArray {
  readonly dims?: ArrayLike<number>;
  /** Bytes. */
  readonly elementSize?: number;
}

/**
 * A manager in a slot: its live blocks, and the native memory that it got through its table.
 *
 * Whether a block is live is asked of its manager ({@link owns}). A manager that counts its live blocks is believed, and
 * tells by `lifecycle.onFree` what it frees. For one that does not the seat counts, by the calls that go through it: it
 * checks every pointer, looks up whether an unlock freed the block, and tells itself.
 */
export class Seat {
  readonly manager: MemoryManagerAdapter;
  readonly log: CallLog;
  /** The manager's number, for observers. */
  readonly handle: number;
  readonly countsItself: boolean;
  /** What it got natively. */
  readonly natives: SeatNatives;
  /** Whether it stays when another manager is active: programs allocate from it by name. */
  isKept = false;
  readonly #options: SeatOptions;
  readonly #live = new Set<DevicePtr>();
  /** Allocations under way by {@link alloc}. */
  #allocating = 0;
  /** Whether the manager has said that the call of {@link unlock} that is being made freed its block. */
  #freed = false;
  readonly #noteFree = (): void => {
    this.#freed = true;
    this.#options.settle(this);
  };

  constructor(manager: MemoryManagerAdapter, options: SeatOptions) {
    this.manager = manager;
    this.log = manager.callLog;
    this.handle = handleOf(manager);
    this.countsItself = manager.liveBlockCount() !== undefined;
    this.natives = new SeatNatives(manager, options);
    this.#options = options;
  }

  get liveBlocks(): number {
    return this.manager.liveBlockCount() ?? this.#live.size;
  }

  /** Calls under way: a manager that is replaced from inside one drains instead of stopping. */
  get underway(): number {
    return this.#allocating + (this.manager.callsUnderway() ?? 0);
  }

  /** Live blocks and calls under way: the manager is not shut down while there are any. */
  get claims(): number {
    return this.liveBlocks + this.underway;
  }

  /** Whether the manager gets no new allocations, and stops when its last block is gone. */
  get isDraining(): boolean {
    return this.manager.lifecycle.state === 'draining';
  }

  /** Whether calls of the manager need nothing beside them: it counts its blocks and its calls, has the usual methods, and nobody watches. */
  get isQuiet(): boolean {
    const { manager, log } = this;
    return this.countsItself && manager.callsUnderway() !== undefined && !manager.overridesCalls && !log.watched;
  }

  /** Whether `ptr` heads a live block of this manager. */
  owns(ptr: DevicePtr): boolean {
    return this.manager.allocated(ptr) > 0;
  }

  /** Takes the seat. @param changed - called when somebody begins or ends to watch the manager */
  enter(changed: () => void): void {
    holdManager(this.manager);
    this.watch();
    this.log.onChange = changed;
  }

  /** Has the manager tell of its calls while somebody observes the slot, and of frees also while it drains. */
  watch(): void {
    const { any } = this.#options.observers;
    const { lifecycle } = this.manager;
    this.log.setObserved(any);
    lifecycle.onFree = any || lifecycle.state === 'draining' ? this.#noteFree : undefined;
  }

  /** Lets the manager go: it may sit elsewhere, or be dropped. What it holds natively stays in the ledger. */
  leave(): void {
    this.log.onChange = undefined;
    this.manager.lifecycle.onFree = undefined;
    this.manager.deviceInterface.unclaim();
    this.log.flush();
    this.log.setObserved(false);
    releaseManager(this.manager);
  }

  /**
   * Allocates, counts the block, logs it and tells observers.
   *
   * @throws as the manager does, and ERR_MEM_INVALID_POINTER when one that does not count its blocks answers no address
   */
  alloc(bytes: number, userLock: boolean, alignment: number, stream: number, array: AskedArray): DevicePtr {
    checkStackRoom();
    // Restored, not counted down: a stack that overflows below leaves no allocation under way.
    const before = this.#allocating;
    this.#allocating = before + 1;
    let ptr = NULL_PTR;
    try {
      ptr = this.manager.callAlloc(bytes, userLock, alignment, stream, array.dims, array.elementSize);
    } finally {
      this.#allocating = before;
    }
    if (!this.countsItself && ptr !== NULL_PTR) this.#live.add(devicePtr(ptr));
    if (this.log.watched && (ptr !== NULL_PTR || bytes === 0)) this.noteAlloc(ptr, bytes, userLock, stream);
    return ptr;
  }

  /** Logs an allocation and tells observers. Never throws: the block is the caller's already. */
  noteAlloc(ptr: DevicePtr, bytes: number, userLock: boolean, stream: number): void {
    try {
      if (this.log.enabled) this.log.alloc(bytes, userLock, ptr);
      const { observers, natives } = this.#options;
      if (observers.any) observers.alloc(this.handle, ptr, bytes, natives.getActiveDeviceId(), stream);
    } catch {
      // Sinks and observers are guarded: this is a full stack.
      untold.count++;
    }
  }

  /**
   * Clears a lock, logs it as the call that the host made, and counts and tells the block if that freed it. A call that is
   * refused leaves no line.
   *
   * @throws as the manager does
   */
  unlock(ptr: DevicePtr, call: 'unlock' | 'userUnlock', userUnlock: boolean): void {
    const { manager, log, countsItself } = this;
    const { observers } = this.#options;
    if (log.enabled && this.owns(ptr)) {
      if (call === 'unlock') log.unlock(ptr, userUnlock);
      else log.line(call, ptr);
    }
    if (countsItself && !observers.any) {
      manager.callUnlock(ptr, userUnlock);
      return;
    }
    let freed = false;
    this.natives.holdBack();
    this.#freed = false;
    try {
      manager.callUnlock(ptr, userUnlock);
      // A look-up takes longer than to be told, and not every manager tells.
      freed = this.#freed || !this.owns(ptr);
      if (freed && !countsItself) this.#live.delete(ptr);
      if (freed && observers.any) observers.free(this.handle, ptr);
    } finally {
      this.#freed = false;
      this.natives.tellHeld();
    }
    if (freed && !countsItself) this.#options.settle(this);
  }
}
