import { untold } from './attempt.js';
import type { CallLog } from './call-log.js';
import type { NativeFunctions, VirtualMemory } from './device-interface.js';
import { handleOf, holdManager, type MemoryManagerAdapter, releaseManager } from './memory-manager-adapter.js';
import type { NativeCharge } from './native-charge.js';
import { type NativeCounters, NativeLedger, type NativePiece } from './native-ledger.js';
import { SeatStreams } from './seat-streams.js';
import type { SlotCharges } from './slot-charges.js';
import type { SlotObservers } from './slot-observer.js';
import { checkStackRoom, checkStackRoomHere } from './stack-room.js';
import { type DevicePtr, devicePtr, NULL_PTR } from './units.js';

/** What a seat needs of its slot. */
export interface SeatOptions {
  readonly natives: NativeFunctions;
  readonly observers: SlotObservers;
  /** The slot's: those of all seats together. */
  readonly counters: NativeCounters;
  /** Who is charged with native memory of the slot. */
  readonly charges: SlotCharges;
  /** Called after each native call that succeeded. */
  readonly answered: () => void;
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
  readonly ledger: NativeLedger;
  /** Whether it stays when another manager is active: programs allocate from it by name. */
  isKept = false;
  readonly #options: SeatOptions;
  readonly #live = new Set<DevicePtr>();
  /** Allocations under way by {@link alloc}. */
  #allocating = 0;
  /** Native calls under way that give something back: it is in no book meanwhile. */
  #givingBack = 0;
  /** What {@link giveOneBack} tries next, from the end: all that was out when it was filled. */
  #toTry: [DevicePtr, NativePiece][] = [];
  #streams: SeatStreams | undefined;
  #unlocking = 0;
  /** Whether the manager has said that the call of {@link unlock} that is being made freed its block. */
  #freed = false;
  readonly #noteFree = (): void => {
    this.#freed = true;
    this.#options.settle(this);
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

  /** Calls under way: a manager that is replaced from inside one drains instead of stopping. */
  get underway(): number {
    return this.#allocating + (this.manager.callsUnderway() ?? 0);
  }

  /** Live blocks and calls under way: the manager is not shut down while there are any. */
  get claims(): number {
    return this.liveBlocks + this.underway;
  }

  /** Whether anything native is out: in the ledger, or on its way back. */
  get holdsNative(): boolean {
    return this.ledger.live + this.#givingBack > 0;
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
    table.nativeFree = (ptr) => this.#giveBack(ptr, 0);
    table.virtual = natives.virtual && this.#countedVirtual(natives.virtual);
    this.#streams ??= natives.streams && new SeatStreams(natives.streams);
    table.streams = this.#streams;
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
    this.#unlocking++;
    this.#freed = false;
    try {
      manager.callUnlock(ptr, userUnlock);
      // A look-up takes longer than to be told, and not every manager tells.
      freed = this.#freed || !this.owns(ptr);
      if (freed && !countsItself) this.#live.delete(ptr);
      if (freed && observers.any) observers.free(this.handle, ptr);
    } finally {
      this.#freed = false;
      this.#unlocking--;
      if (this.#held.length > 0 && this.#unlocking === 0) this.#tellHeld();
    }
    if (freed && !countsItself) this.#options.settle(this);
  }

  /**
   * Gives back what the manager left behind, live blocks included, once no stream works on it: in passes, until the device
   * has refused all of it twice in a row. Only for a manager that has ended.
   *
   * @throws the first error of the device when something stays
   */
  giveAllBack(): void {
    const failures: unknown[] = [];
    if (this.ledger.live > 0) this.#streams?.finish();
    for (let refusedPasses = 0; refusedPasses < 2; refusedPasses++) {
      for (const [ptr, { rangeBytes }] of this.ledger.outstanding()) {
        try {
          this.#giveBack(ptr, rangeBytes);
          refusedPasses = -1;
        } catch (error) {
          failures.push(error);
        }
      }
    }
    if (failures.length > 0 && this.ledger.live > 0) throw failures[0];
  }

  /** Tries to give back one thing that the manager left behind, another one each time. Amortised O(1). @returns whether the device took it */
  giveOneBack(): boolean {
    let next = this.#toTry.pop();
    while (next !== undefined && !next[1].isOut) next = this.#toTry.pop();
    if (next === undefined) {
      this.#toTry = this.ledger.outstanding();
      next = this.#toTry.pop();
    }
    if (next === undefined) return false;
    try {
      this.#streams?.finish();
      this.#giveBack(next[0], next[1].rangeBytes);
      return true;
    } catch {
      // Still refused, and in the ledger again. That was told when the manager ended.
      return false;
    }
  }

  // What follows a native call must not end with the stack: it would leave memory that is in no book.

  #nativeAlloc(bytes: number, alignment?: number): DevicePtr {
    const { natives, charges } = this.#options;
    const device = this.#noteDevice();
    const charge = charges.of(device);
    charge?.take(bytes);
    let ptr = NULL_PTR;
    try {
      checkStackRoomHere();
      ptr = natives.nativeAlloc(bytes, alignment);
    } finally {
      if (ptr === NULL_PTR) charge?.give(bytes);
    }
    if (ptr === NULL_PTR) return ptr;
    const now = charges.of(device);
    this.ledger.add(ptr, bytes, 0, device, now);
    passOn(charge, now, bytes);
    this.#options.counters.nativeAllocs++;
    this.#noteNative(ptr, bytes, 'nativeAlloc');
    return ptr;
  }

  /**
   * Has the device take back a segment, or a range and what is committed in it. Does nothing when a manager that has ended
   * gives back what is out no more: the slot has given it back, or is about to.
   *
   * @param rangeBytes - 0 for a segment
   */
  #giveBack(ptr: DevicePtr, rangeBytes: number): void {
    const { natives, counters } = this.#options;
    checkStackRoomHere();
    const piece = this.ledger.take(ptr);
    if (piece === undefined && this.#hasEnded) return;
    const bytes = piece === undefined ? 0 : piece.bytes;
    const charge = piece?.charge;
    if (rangeBytes === 0 && this.log.enabled) this.log.line('nativeFree', ptr);
    this.#givingBack++;
    try {
      if (rangeBytes === 0) natives.nativeFree(ptr);
      else (natives.virtual as VirtualMemory).release(ptr, rangeBytes);
    } catch (error) {
      if (piece !== undefined) {
        this.ledger.putBack(piece);
        this.#chargeAgain(piece, bytes);
      }
      throw error;
    } finally {
      this.#givingBack--;
    }
    charge?.give(bytes);
    if (rangeBytes === 0) counters.nativeFrees++;
    this.#noteNative(ptr, -bytes);
  }

  /** @returns the active device, as memory of the slot is counted */
  #noteDevice(): number {
    const device = this.manager.deviceInterface.getActiveDeviceId();
    this.#streams?.noteDevice(device);
    return this.#options.charges.deviceOf(device);
  }

  /** Charges bytes that stay out after all, when the slot has joined or left a budget while they were on their way back. */
  #chargeAgain(piece: NativePiece, bytes: number): void {
    const { charge } = piece;
    piece.charge = this.#options.charges.of(piece.device);
    passOn(charge, piece.charge, bytes);
  }

  get #hasEnded(): boolean {
    return this.manager.lifecycle.state === 'stopped';
  }

  #countedVirtual(virtual: VirtualMemory): VirtualMemory {
    const { ledger } = this;
    const { counters, charges } = this.#options;
    return {
      granularityBytes: virtual.granularityBytes,
      decommitStops: virtual.decommitStops,
      reserve: (bytes) => {
        const device = this.#noteDevice();
        checkStackRoomHere();
        const ptr = virtual.reserve(bytes);
        if (ptr !== NULL_PTR) ledger.add(ptr, 0, bytes, device, charges.of(device));
        return ptr;
      },
      release: (ptr, bytes) => this.#giveBack(ptr, bytes),
      commit: (ptr, bytes) => {
        const range = ledger.rangeAt(ptr);
        const charge = range && charges.of(range.device);
        charge?.take(bytes);
        let isDone = false;
        try {
          checkStackRoomHere();
          isDone = virtual.commit(ptr, bytes);
        } finally {
          if (!isDone) charge?.give(bytes);
        }
        if (!isDone) return false;
        if (range !== undefined) {
          ledger.commit(range, bytes);
          range.charge = charges.of(range.device);
          passOn(charge, range.charge, bytes);
        }
        counters.nativeCommits++;
        this.#noteNative(ptr, bytes);
        return true;
      },
      decommit: (ptr, bytes, isIdle) => {
        checkStackRoomHere();
        const range = ledger.rangeAt(ptr);
        if (range === undefined && this.#hasEnded) return;
        const charge = range?.charge;
        if (range !== undefined) {
          ledger.commit(range, -bytes);
          range.decommits++;
        }
        try {
          virtual.decommit(ptr, bytes, isIdle);
        } catch (error) {
          if (range !== undefined) {
            ledger.commit(range, bytes);
            passOn(charge, range.charge, bytes);
          }
          throw error;
        } finally {
          if (range !== undefined) range.decommits--;
        }
        charge?.give(bytes);
        counters.nativeDecommits++;
        this.#noteNative(ptr, -bytes);
      },
    };
  }

  /** Logs and tells what the device has done, which may answer again where it refused before. @param bytes - negative for a free */
  #noteNative(ptr: DevicePtr, bytes: number, call?: 'nativeAlloc'): void {
    try {
      if (call !== undefined && this.log.enabled) this.log.line(call, bytes, ptr);
      this.#tellNative(ptr, bytes);
      this.#options.answered();
    } catch {
      untold.count++;
    }
  }

  /** @param bytes - negative for a free */
  #tellNative(ptr: DevicePtr, bytes: number): void {
    const { observers, natives } = this.#options;
    if (!observers.any || bytes === 0) return;
    if (this.#unlocking > 0) this.#held.push(ptr, bytes);
    else if (bytes < 0) observers.tell((observer) => observer.nativeFree(this.handle, ptr, -bytes));
    else observers.tell((observer) => observer.nativeAlloc(this.handle, ptr, bytes, natives.getActiveDeviceId()));
  }

  #tellHeld(): void {
    const held = this.#held.splice(0);
    for (let i = 0; i < held.length; i += 2) this.#tellNative(held[i] as DevicePtr, held[i + 1]!);
  }
}

/** Charges another one with bytes, when the slot has joined or left a budget from inside the native call for them. */
function passOn(charge: NativeCharge | undefined, now: NativeCharge | undefined, bytes: number): void {
  if (now === charge) return;
  charge?.give(bytes);
  now?.force(bytes);
}
