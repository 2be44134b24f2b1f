import { untold } from './attempt.js';
import type { CallLog } from './call-log.js';
import type { NativeFunctions, VirtualMemory } from './device-interface.js';
import { handleOf, holdManager, type MemoryManagerAdapter, releaseManager } from './memory-manager-adapter.js';
import { FREED, type NativeCounters, NativeLedger } from './native-ledger.js';
import type { SlotObservers } from './slot-observer.js';
import { type DevicePtr, devicePtr, NULL_PTR } from './units.js';

/** What a seat needs of its slot. */
export interface SeatOptions {
  readonly natives: NativeFunctions;
  readonly observers: SlotObservers;
  /** The slot's: those of all seats together. */
  readonly counters: NativeCounters;
  /** Called after each native call that succeeded. */
  readonly answered: () => void;
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
  readonly ledger: NativeLedger;
  /** Allocations under way: a manager that is replaced from inside one drains instead of stopping. */
  allocating = 0;
  readonly #options: SeatOptions;
  readonly #live = new Set<DevicePtr>();
  /** Native calls under way that give something back: it is in no book meanwhile. */
  #givingBack = 0;
  #tries = 0;
  #unlocking = 0;
  /** Whether the manager has said that the call of {@link unlock} that is being made freed its block. */
  #freed = false;
  #settle: (() => void) | undefined;
  readonly #noteFree = (): void => {
    this.#freed = true;
    this.#settle?.();
  };
  /** Native calls that observers hear of after the free that is being made: pointer and bytes, negative for a free. */
  readonly #held: number[] = [];

  constructor(manager: MemoryManagerAdapter, options: SeatOptions) {
    this.manager = manager;
    this.log = manager.callLog;
    this.handle = handleOf(manager);
    this.countsItself = manager.liveBlockCount() !== undefined;
    this.ledger = new NativeLedger(options.counters);
    this.#options = options;
  }

  get liveBlocks(): number {
    return this.manager.liveBlockCount() ?? this.#live.size;
  }

  /** Whether anything native is out: in the ledger, or on its way back. */
  get holdsNative(): boolean {
    return !this.ledger.isEmpty || this.#givingBack > 0;
  }

  /** Whether `ptr` heads a live block of this manager. */
  owns(ptr: DevicePtr): boolean {
    return this.manager.allocated(ptr) > 0;
  }

  /** Says whether anybody observes the slot now. */
  setObserved(observed: boolean): void {
    this.log.setObserved(observed);
    this.#hearOfFrees();
  }

  /** Sets what is called when a block was freed; undefined for nothing. */
  setSettle(settle: (() => void) | undefined): void {
    this.#settle = settle;
    this.#hearOfFrees();
  }

  #hearOfFrees(): void {
    this.manager.lifecycle.onFree = this.#options.observers.any ? this.#noteFree : this.#settle;
  }

  /** Takes the seat. @param changed - called when somebody begins or ends to watch the manager */
  enter(changed: () => void): void {
    holdManager(this.manager);
    this.setObserved(this.#options.observers.any);
    this.log.onChange = changed;
  }

  /** Lets the manager go: it may sit elsewhere, or be dropped. What it holds natively stays in the ledger. */
  leave(): void {
    this.log.onChange = undefined;
    this.#settle = undefined;
    this.manager.lifecycle.onFree = undefined;
    this.manager.deviceInterface.unclaim();
    this.log.flush();
    this.log.setObserved(false);
    releaseManager(this.manager);
  }

  /** Sets the functions of the manager's table, each logged and counted for this manager. */
  fillTable(): void {
    const table = this.manager.deviceInterface;
    const { natives } = this.#options;
    table.deviceCount = natives.deviceCount;
    table.askActiveDevice(natives);
    table.getMaxMemorySize = (device) => natives.getMaxMemorySize(device);
    table.getMemoryPressureThreshold = () => natives.getMemoryPressureThreshold();
    table.setMemoryPressureThreshold = (value) => natives.setMemoryPressureThreshold(value);
    table.nativeAlloc = (bytes, alignment) => this.#nativeAlloc(bytes, alignment);
    table.nativeFree = (ptr) => this.#nativeFree(ptr);
    table.virtual = natives.virtual && this.#countedVirtual(natives.virtual);
    table.streams = natives.streams;
  }

  /**
   * Allocates, counts the block, logs it and tells observers.
   *
   * @throws as the manager does, and ERR_MEM_INVALID_POINTER when one that does not count its blocks answers no address
   */
  alloc(bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    // Restored, not counted down: a stack that overflows below leaves no allocation under way.
    const before = this.allocating;
    this.allocating = before + 1;
    let ptr = NULL_PTR;
    try {
      ptr = this.manager.allocBytes(bytes, userLock, alignment, stream);
    } finally {
      this.allocating = before;
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
   * Calls `unlock(ptr, userUnlock)` of the manager, or `userUnlock(ptr)`, logs it, and counts and tells the block if that
   * freed it. A call that is refused leaves no line.
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
      if (call === 'unlock') manager.unlock(ptr, userUnlock);
      else manager.userUnlock(ptr);
      return;
    }
    let freed = false;
    this.#unlocking++;
    this.#freed = false;
    try {
      if (call === 'unlock') manager.unlock(ptr, userUnlock);
      else manager.userUnlock(ptr);
      // A look-up takes longer than to be told, and not every manager tells.
      freed = this.#freed || !this.owns(ptr);
      if (freed && !countsItself) this.#live.delete(ptr);
      if (freed && observers.any) observers.free(this.handle, ptr);
    } finally {
      this.#freed = false;
      this.#unlocking--;
      if (this.#held.length > 0 && this.#unlocking === 0) this.#tellHeld();
    }
    if (freed && !countsItself) this.#settle?.();
  }

  /**
   * Gives back what the manager left behind, in passes, until the device has refused all of it twice in a row. Only for a
   * manager that has ended.
   *
   * @throws the first error of the device when something stays
   */
  giveBack(): void {
    let failure: unknown;
    for (let refusedPasses = 0; !this.ledger.isEmpty && refusedPasses < 2; refusedPasses++) {
      for (const ptr of this.ledger.outstanding()) {
        try {
          this.#giveBackAt(ptr);
          refusedPasses = -1;
        } catch (error) {
          failure ??= error;
        }
      }
    }
    if (!this.ledger.isEmpty) throw failure;
  }

  /** Tries to give back one thing that the manager left behind, another one each time. @returns whether the device took it */
  giveBackOne(): boolean {
    const all = this.ledger.outstanding();
    const ptr = all[this.#tries++ % all.length];
    if (ptr === undefined) return false;
    try {
      this.#giveBackAt(ptr);
      return true;
    } catch {
      // Still refused, and in the ledger again. That was told when the manager ended.
      return false;
    }
  }

  #giveBackAt(ptr: DevicePtr): void {
    const range = this.ledger.ranges.get(ptr);
    if (range === undefined) this.#nativeFree(ptr);
    else this.#release(ptr, range.bytes, this.#options.natives.virtual as VirtualMemory);
  }

  // From a native call to the end of its entry in the books nothing is called: a call needs stack, and there may be none left.

  #nativeAlloc(bytes: number, alignment?: number): DevicePtr {
    const { natives, counters } = this.#options;
    const { ledger } = this;
    const ptr = natives.nativeAlloc(bytes, alignment);
    if (ptr === NULL_PTR) return ptr;
    ledger.segments.set(ptr, bytes);
    ledger.live++;
    ledger.reservedBytes += bytes;
    counters.nativeAllocs++;
    counters.reservedBytes += bytes;
    if (counters.reservedBytes > counters.peakReservedBytes) counters.peakReservedBytes = counters.reservedBytes;
    try {
      if (this.log.enabled) this.log.line('nativeAlloc', bytes, ptr);
      this.#noteNative(ptr, bytes);
    } catch {
      untold.count++;
    }
    return ptr;
  }

  #nativeFree(ptr: DevicePtr): void {
    const { natives, counters } = this.#options;
    const { ledger } = this;
    if (this.log.enabled) this.log.line('nativeFree', ptr);
    const bytes = ledger.segments.get(ptr);
    const known = bytes !== undefined && bytes !== FREED;
    this.#givingBack++;
    if (known) {
      ledger.segments.set(ptr, FREED);
      ledger.live--;
      ledger.reservedBytes -= bytes;
      counters.reservedBytes -= bytes;
    }
    try {
      natives.nativeFree(ptr);
    } catch (error) {
      this.#givingBack--;
      if (known) {
        ledger.segments.set(ptr, bytes);
        ledger.live++;
        ledger.reservedBytes += bytes;
        counters.reservedBytes += bytes;
      }
      throw error;
    }
    this.#givingBack--;
    counters.nativeFrees++;
    try {
      ledger.compact();
      this.#noteNative(ptr, known ? -bytes : 0);
    } catch {
      untold.count++;
    }
  }

  /** Tells that the device has done something. @param bytes - negative for a free */
  #noteNative(ptr: DevicePtr, bytes: number): void {
    this.#tellNative(ptr, bytes);
    this.#options.answered();
  }

  #countedVirtual(virtual: VirtualMemory): VirtualMemory {
    const { counters } = this.#options;
    return {
      granularityBytes: virtual.granularityBytes,
      reserve: (bytes) => {
        const ptr = virtual.reserve(bytes);
        if (ptr !== NULL_PTR) this.ledger.putRange(ptr, { bytes, committedBytes: 0 });
        return ptr;
      },
      release: (ptr, bytes) => this.#release(ptr, bytes, virtual),
      commit: (ptr, bytes) => {
        if (!virtual.commit(ptr, bytes)) return false;
        this.ledger.commit(ptr, bytes);
        counters.nativeCommits++;
        this.#noteNative(ptr, bytes);
        return true;
      },
      decommit: (ptr, bytes) => {
        this.ledger.commit(ptr, -bytes);
        try {
          virtual.decommit(ptr, bytes);
        } catch (error) {
          this.ledger.commit(ptr, bytes);
          throw error;
        }
        counters.nativeDecommits++;
        this.#noteNative(ptr, -bytes);
      },
    };
  }

  /** Gives a range back, and what is committed in it. */
  #release(ptr: DevicePtr, bytes: number, virtual: VirtualMemory): void {
    const range = this.ledger.takeRange(ptr);
    this.#givingBack++;
    try {
      virtual.release(ptr, bytes);
    } catch (error) {
      if (range !== undefined) this.ledger.putRange(ptr, range);
      throw error;
    } finally {
      this.#givingBack--;
    }
    this.#noteNative(ptr, -(range?.committedBytes ?? 0));
  }

  /** @param bytes - negative for a free */
  #tellNative(ptr: DevicePtr, bytes: number): void {
    const { observers, natives } = this.#options;
    if (!observers.any || bytes === 0) return;
    if (this.#unlocking > 0) this.#held.push(ptr, bytes);
    else if (bytes < 0) observers.nativeFree(this.handle, ptr, -bytes);
    else observers.nativeAlloc(this.handle, ptr, bytes, natives.getActiveDeviceId());
  }

  #tellHeld(): void {
    const held = this.#held.splice(0);
    for (let i = 0; i < held.length; i += 2) this.#tellNative(held[i] as DevicePtr, held[i + 1]!);
  }
}
