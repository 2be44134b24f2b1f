import { untold } from './attempt.js';
import type { CallLog } from './call-log.js';
import type { MemoryPart, NativeFunctions, VirtualMemory } from './device-interface.js';
import { handleOf, type MemoryManagerAdapter } from './memory-manager-adapter.js';
import type { NativeCharge } from './native-charge.js';
import { type NativeCounters, NativeLedger, type NativePiece } from './native-ledger.js';
import { SeatStreams } from './seat-streams.js';
import type { SlotCharges } from './slot-charges.js';
import type { SlotObservers } from './slot-observer.js';
import { checkStackRoomHere } from './stack-room.js';
import { alignUp, type DevicePtr, NULL_PTR } from './units.js';

/** What the native side of a seat needs of its slot. */
export interface NativesOptions {
  readonly natives: NativeFunctions;
  readonly observers: SlotObservers;
  /** The slot's: those of all seats together. */
  readonly counters: NativeCounters;
  /** Who is charged with native memory of the slot. */
  readonly charges: SlotCharges;
  /** Called after each native call that succeeded. */
  readonly answered: () => void;
}

/** What a manager gets natively through its table, and gives back: each call is charged, counted, logged and told to observers. */
export class SeatNatives {
  readonly ledger: NativeLedger;
  readonly #manager: MemoryManagerAdapter;
  readonly #log: CallLog;
  readonly #handle: number;
  readonly #options: NativesOptions;
  #streams: SeatStreams | undefined;
  /** Native calls under way that give something back: it is in no book meanwhile. */
  #givingBack = 0;
  /** What {@link giveOneBack} tries next, from the end: all that was out when it was filled. */
  #toTry: [DevicePtr, NativePiece][] = [];
  /** Frees under way, after which observers hear of {@link #held}. */
  #holding = 0;
  /** Pointer and bytes, negative for a free. */
  readonly #held: number[] = [];

  constructor(manager: MemoryManagerAdapter, options: NativesOptions) {
    this.#manager = manager;
    this.#log = manager.callLog;
    this.#handle = handleOf(manager);
    this.#options = options;
    this.ledger = new NativeLedger(options.counters);
  }

  /** Whether anything is out: in the ledger, or on its way back. */
  get holdsNative(): boolean {
    return this.ledger.live + this.#givingBack > 0;
  }

  /** Sets the functions of the manager's table, each logged and counted for this manager. */
  fillTable(): void {
    const table = this.#manager.deviceInterface;
    const { natives, charges } = this.#options;
    table.deviceCount = natives.deviceCount;
    table.askActiveDevice(natives);
    table.getMaxMemorySize = (device) => natives.getMaxMemorySize(device);
    table.getMaxReservedSize = (device) =>
      Math.min(natives.getMaxMemorySize(device), charges.mostBytesOf(charges.deviceOf(device)));
    table.getMemoryPressureThreshold = () => natives.getMemoryPressureThreshold();
    table.setMemoryPressureThreshold = (value) => natives.setMemoryPressureThreshold(value);
    table.nativeAlloc = (bytes, alignment) => this.#nativeAlloc(bytes, alignment);
    table.nativeFree = (ptr) => this.#giveBack(ptr, 0);
    table.virtual = natives.virtual && this.#countedVirtual(natives.virtual);
    this.#streams ??= natives.streams && new SeatStreams(natives.streams);
    table.streams = this.#streams;
  }

  /** Has observers hear of native calls only after the free that is about to be made: {@link tellHeld} ends that. */
  holdBack(): void {
    this.#holding++;
  }

  /** Takes back {@link holdBack}, and tells what was held back. */
  tellHeld(): void {
    this.#holding--;
    if (this.#held.length === 0 || this.#holding > 0) return;
    const held = this.#held.splice(0);
    for (let i = 0; i < held.length; i += 2) this.#tellNative(held[i] as DevicePtr, held[i + 1]!);
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
    if (rangeBytes === 0 && this.#log.enabled) this.#log.line('nativeFree', ptr);
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
    const device = this.#manager.deviceInterface.getActiveDeviceId();
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
    return this.#manager.lifecycle.state === 'stopped';
  }

  #countedVirtual(virtual: VirtualMemory): VirtualMemory {
    const { ledger } = this;
    const { counters, charges } = this.#options;
    return {
      granularityBytes: virtual.granularityBytes,
      decommitStops: virtual.decommitStops,
      pieces: virtual.pieces && {
        // Of what is out no more any page is taken.
        wholeIn: (ptr, bytes) =>
          ledger.rangeAt(ptr) === undefined && this.#hasEnded
            ? wholePages(ptr, bytes, virtual.granularityBytes)
            : virtual.pieces!.wholeIn(ptr, bytes),
        reusing: (action, unitBytes) => virtual.pieces!.reusing(action, unitBytes),
      },
      reserve: (bytes) => {
        const device = this.#noteDevice();
        checkStackRoomHere();
        const ptr = virtual.reserve(bytes);
        if (ptr !== NULL_PTR) ledger.add(ptr, 0, bytes, device, charges.of(device));
        return ptr;
      },
      release: (ptr, bytes) => this.#giveBack(ptr, bytes),
      commit: (ptr, bytes, pieceBytes) => {
        const range = ledger.rangeAt(ptr);
        const charge = range && charges.of(range.device);
        charge?.take(bytes);
        let isDone = false;
        try {
          checkStackRoomHere();
          isDone = virtual.commit(ptr, bytes, pieceBytes);
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
      if (call !== undefined && this.#log.enabled) this.#log.line(call, bytes, ptr);
      this.#tellNative(ptr, bytes);
      this.#options.answered();
    } catch {
      untold.count++;
    }
  }

  /** @param bytes - negative for a free */
  #tellNative(ptr: DevicePtr, bytes: number): void {
    const { observers, natives } = this.#options;
    if (!observers.anyRare || bytes === 0) return;
    if (this.#holding > 0) this.#held.push(ptr, bytes);
    else if (bytes < 0) observers.tell((observer) => observer.nativeFree(this.#handle, ptr, -bytes));
    else observers.tell((observer) => observer.nativeAlloc(this.#handle, ptr, bytes, natives.getActiveDeviceId()));
  }
}

/** Charges another one with bytes, when the slot has joined or left a budget from inside the native call for them. */
function passOn(charge: NativeCharge | undefined, now: NativeCharge | undefined, bytes: number): void {
  if (now === charge) return;
  charge?.give(bytes);
  now?.force(bytes);
}

/** The whole pages in a part. */
function wholePages(ptr: DevicePtr, bytes: number, pageBytes: number): MemoryPart {
  const first = alignUp(ptr, pageBytes);
  const end = Math.floor((ptr + bytes) / pageBytes) * pageBytes;
  return { ptr: first as DevicePtr, bytes: Math.max(end - first, 0) };
}
