import { MemoryError } from './errors.js';
import { INSPECT, inspected } from './inspect.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { climbLadder } from './out-of-memory-ladder.js';
import type { AskedArray, Seat } from './seat.js';
import { slotFacts } from './slot-facts.js';
import { SlotUpkeep } from './slot-upkeep.js';
import * as units from './units.js';
import { bytesOf, type DevicePtr } from './units.js';

// A binding of its own: V8 looks an imported one up, and checks it, each time.
const { NULL_PTR } = units;

/** What an allocation is made from and for, where that is not the active manager and so many bytes. */
interface Asked extends AskedArray {
  readonly seat?: Seat;
}
const PLAIN: Asked = {};

/** What a manager threw instead of a block. */
interface Refusal {
  readonly error: unknown;
}

/** The bytes of a block whose caller does not know them. */
const UNKNOWN = -1;

/**
 * Where a manager sits in a host: the host calls the slot, the slot calls the manager.
 *
 * Managers swap at any moment. Each live block stays with the manager that made it: one that was replaced drains,
 * serves the frees of its blocks, and is shut down when the last of them is gone. What the device then refuses to take back
 * stays in the slot's books; it is tried again after each native call that succeeds, at a cleanup, and at the end.
 * The slot also writes the call log, tells observers, and climbs the last steps of the out-of-memory ladder.
 */
export class ManagerSlot extends SlotUpkeep {
  #asking = false;

  /**
   * Allocates a block from the active manager.
   *
   * When it has no memory: all managers here give their cached memory back, then the C library what it keeps free (once a second at
   * most), then `oom` listeners may free some;
   * after each that may have made room the allocation is tried once more.
   *
   * @throws as {@link MemoryManagerAdapter.allocBytes}; nothing has changed then
   * @throws ERR_MEM_INVALID_POINTER when a manager that does not count its blocks answers what is no address
   */
  alloc(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    const manager = this.quiet;
    let ptr = NULL_PTR;
    let refusal: Refusal | undefined;
    if (manager !== undefined) {
      try {
        ptr = manager.allocBytes(bytes, userLock, alignment, stream);
      } catch (error) {
        refusal = { error };
      }
    }
    // One call for all that is rare: V8 inlines so much bytecode into a program's function, and no more. The plus tells V8 that
    // this is a number, too, so that it need not box the one below.
    if (ptr === NULL_PTR || this.quiet !== manager) {
      return +this.#finishAlloc(manager, refusal, ptr, bytes, userLock, alignment, stream) as DevicePtr;
    }
    const { ring } = this;
    if (ring !== undefined) ring.alloc(ptr, bytes);
    return ptr;
  }

  /**
   * Allocates a block for an array from the active manager, which is told of the array if it asks for it.
   *
   * @param elementSize - bytes
   * @throws as {@link alloc}; ERR_MEM_INVALID_SIZE for extents whose product is no size
   */
  allocArray(userLock: boolean, dims: ArrayLike<number>, elementSize: number): DevicePtr {
    const bytes = bytesOf(dims, elementSize);
    return this.quiet === undefined
      ? this.#allocWatched(bytes, userLock, 0, 0, { dims, elementSize })
      : this.alloc(bytes, userLock);
  }

  /**
   * Allocates a block from a manager that sits here beside the active one, after {@link keep}. As {@link alloc}.
   *
   * @throws ERR_MEM_LIFECYCLE when it was retired, ERR_MEM_DISPOSED after close
   */
  allocFrom(manager: MemoryManagerAdapter, bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    const seat = this.#checkServing(manager);
    return this.#allocWatched(bytes, userLock, alignment, stream, { seat });
  }

  /** Allocates a block for the user from the manager of another block, or from the active one when that drains. As {@link alloc}. */
  allocLike(ptr: DevicePtr, bytes: number, alignment = 0, stream = 0): DevicePtr {
    const seat = this.ownerOf(ptr);
    if (seat === undefined || seat.isDraining) return this.alloc(bytes, true, alignment, stream);
    return this.#allocWatched(bytes, true, alignment, stream, { seat });
  }

  /** The bytes of the live block that `ptr` heads, 0 if there is none. */
  allocated(ptr: DevicePtr): number {
    const seat = this.ownerOf(ptr) ?? this.activeSeat;
    if (seat === undefined) return 0;
    if (seat.log.enabled) seat.log.line('allocated', ptr);
    return seat.manager.allocated(ptr);
  }

  /**
   * Clears one lock of a block, in the manager that made it, and frees it when both are clear. Does nothing for null.
   *
   * @param bytes - what was asked for, where the caller knows it
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE
   */
  unlock(ptr: DevicePtr, userUnlock: boolean, bytes = UNKNOWN): void {
    const manager = this.quiet;
    if (manager === undefined || ptr === NULL_PTR) {
      this.#unlock(ptr, 'unlock', userUnlock);
      return;
    }
    manager.unlock(ptr, userUnlock);
    const { ring } = this;
    if (ring !== undefined) ring.free(ptr, bytes);
  }

  /** @throws ERR_MEM_UNKNOWN_POINTER when no live block has that address */
  userLock(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) {
      this.activeSeat?.log.line('userLock', ptr);
      return;
    }
    const seat = this.liveOwnerOf(ptr);
    if (seat.log.enabled && seat.owns(ptr)) seat.log.line('userLock', ptr);
    seat.manager.userLock(ptr);
  }

  /** Clears the user's lock. @throws as {@link unlock} */
  userUnlock(ptr: DevicePtr): void {
    this.#unlock(ptr, 'userUnlock', true);
  }

  isUserLocked(ptr: DevicePtr): boolean {
    const seat = this.ownerOf(ptr) ?? this.activeSeat;
    if (seat === undefined) return false;
    if (seat.log.enabled) seat.log.line('isUserLocked', ptr);
    return seat.manager.isUserLocked(ptr);
  }

  /** Marks a further stream that uses a block. */
  recordStream(ptr: DevicePtr, stream: number): void {
    this.liveOwnerOf(ptr).manager.recordStream(ptr, stream);
  }

  /** Notes that the holder of a live block asks for other bytes of it; see {@link MemoryManagerAdapter.resized}. */
  resized(ptr: DevicePtr, requestedBytes: number): void {
    this.liveOwnerOf(ptr).manager.resized(ptr, requestedBytes);
  }

  /** Where a live block was allocated, when its manager tracks that. */
  siteOf(ptr: DevicePtr): string | undefined {
    return this.ownerOf(ptr)?.manager.siteOf(ptr);
  }

  /** The manager's ticket for a live block; see {@link MemoryManagerAdapter.ticketOf}. */
  ticketOf(ptr: DevicePtr): number {
    const manager = this.quiet ?? this.ownerOf(ptr)?.manager;
    return manager === undefined ? 0 : manager.ticketOf(ptr);
  }

  /** `ManagerSlot { ordinary, active: CachingMemoryManager, 3 live blocks, 20.00 MiB reserved }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => [this.kind, ...slotFacts(this)]);
  }

  getMemoryPressure(): number {
    return this.activeSeat?.manager.getMemoryPressure() ?? 0;
  }

  jitTreeExceedsMemoryPressure(bytes: number): boolean {
    return this.activeSeat?.manager.jitTreeExceedsMemoryPressure(bytes) ?? false;
  }

  getMemStepSize(): number {
    return (this.activeSeat ?? this.start()).manager.getMemStepSize();
  }

  setMemStepSize(bytes: number): void {
    (this.activeSeat ?? this.start()).manager.setMemStepSize(bytes);
  }

  /** Throws for a pointer that heads no live block of any manager: as a double free if one of them knows it as free. */
  #refuse(ptr: DevicePtr): never {
    let last: unknown = new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    for (const seat of this.seats()) {
      try {
        seat.manager.unlock(ptr, true);
      } catch (error) {
        last = error;
        if (!MemoryError.is(error, 'ERR_MEM_UNKNOWN_POINTER')) break;
      }
    }
    throw last;
  }

  /** The seat of a manager that serves allocations here. @throws ERR_MEM_DISPOSED, ERR_MEM_LIFECYCLE */
  #checkServing(manager: MemoryManagerAdapter): Seat {
    if (this.closed) throw new MemoryError('ERR_MEM_DISPOSED', { what: this.options.owner });
    const seat = this.seatOf(manager);
    if (seat !== undefined && !seat.isDraining) return seat;
    throw new MemoryError('ERR_MEM_LIFECYCLE', { manager: manager.name, from: manager.lifecycle.state, to: 'active' });
  }

  /** As {@link alloc}, where there is more to do than to call the manager. */
  #allocWatched(bytes: number, userLock: boolean, alignment: number, stream: number, asked: Asked = PLAIN): DevicePtr {
    try {
      return this.#tryAlloc(bytes, userLock, alignment, stream, asked);
    } catch (error) {
      return this.#allocAfterFailure(error, bytes, userLock, alignment, stream, asked);
    }
  }

  /** One try. @throws ERR_MEM_OUT_OF_MEMORY also when the manager answers null */
  #tryAlloc(bytes: number, userLock: boolean, alignment: number, stream: number, asked: Asked): DevicePtr {
    this.stopIdle();
    if (asked.seat !== undefined) this.#checkServing(asked.seat.manager);
    const seat = asked.seat ?? this.activeSeat ?? this.start();
    let ptr = NULL_PTR;
    try {
      ptr = seat.alloc(bytes, userLock, alignment, stream, asked);
    } finally {
      // A call for nothing could end the stack, and lose the block.
      if (seat.isDraining) this.stopIdle();
    }
    if (ptr === NULL_PTR && bytes > 0) throw this.#outOfMemory(seat, bytes);
    if (ptr !== NULL_PTR) this.ring?.alloc(ptr, bytes);
    return ptr;
  }

  /** What {@link alloc} has to do when no manager is quiet, and after the call of one that threw, is quiet no more, or answered null. */
  #finishAlloc(
    manager: MemoryManagerAdapter | undefined,
    refusal: Refusal | undefined,
    ptr: DevicePtr,
    bytes: number,
    userLock: boolean,
    alignment: number,
    stream: number,
  ): DevicePtr {
    if (manager === undefined) return this.#allocWatched(bytes, userLock, alignment, stream);
    if (refusal === undefined && (ptr !== NULL_PTR || bytes === 0)) {
      const seat = this.seatOf(manager);
      if (seat?.log.watched === true) seat.noteAlloc(ptr, bytes, userLock, stream);
      if (ptr !== NULL_PTR) this.ring?.alloc(ptr, bytes);
      this.stopIdle();
      return ptr;
    }
    const { error } = refusal ?? { error: this.#outOfMemory(this.activeSeat, bytes) };
    return this.#allocAfterFailure(error, bytes, userLock, alignment, stream);
  }

  /** The rest of the out-of-memory ladder, after a manager has given back what it cached. */
  #allocAfterFailure(
    failure: unknown,
    bytes: number,
    userLock: boolean,
    alignment: number,
    stream: number,
    asked: Asked = PLAIN,
  ): DevicePtr {
    try {
      this.stopIdle();
      return climbLadder(
        failure,
        () => this.giveCachedBack(),
        () => this.trimHeap(bytes),
        () => this.#askListeners(asked.seat ?? this.activeSeat, bytes),
        () => this.#tryAlloc(bytes, userLock, alignment, stream, asked),
      );
    } catch (error) {
      // A number that is no size would make a line that cannot be read.
      if (Number.isSafeInteger(bytes) && bytes >= 0) {
        this.#noteRefusal(asked.seat ?? this.activeSeat, error, bytes, userLock, stream);
      }
      throw error;
    }
  }

  /** Logs an allocation that failed; observers hear of it when there was no memory. */
  #noteRefusal(seat: Seat | undefined, error: unknown, bytes: number, userLock: boolean, stream: number): void {
    seat?.log.line('alloc', bytes, userLock ? 1 : 0, NULL_PTR);
    if (!this.observers.anyRare || !MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) return;
    const { device } = error.facts;
    this.observers.tell((observer) => observer.outOfMemory(seat?.handle ?? 0, bytes, device, stream));
  }

  /** The error for a manager that answers null instead of throwing. */
  #outOfMemory(seat: Seat | undefined, requestedBytes: number): MemoryError {
    const { natives } = this.options;
    const device = natives.getActiveDeviceId();
    const stats = seat?.manager.stats(device);
    return new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
      requestedBytes,
      allocatedBytes: stats?.allocatedBytes.current ?? 0,
      reservedBytes: stats?.reservedBytes.current ?? seat?.natives.ledger.reservedBytes ?? 0,
      capacityBytes: natives.getMaxMemorySize(device),
      device,
    });
  }

  /** A listener that runs out of memory itself is not asked again. */
  #askListeners(seat: Seat | undefined, requestedBytes: number): boolean {
    if (seat === undefined || this.#asking) return false;
    const { manager } = seat;
    const { kind, natives, events } = this.options;
    this.#asking = true;
    try {
      return events.emit('oom', { slot: kind, manager, requestedBytes, device: natives.getActiveDeviceId() });
    } finally {
      this.#asking = false;
    }
  }

  /** As {@link unlock} for a pointer whose owner is to be found, or that is watched; null is the block of 0 bytes. */
  #unlock(ptr: DevicePtr, call: 'unlock' | 'userUnlock', userUnlock: boolean): void {
    if (ptr !== NULL_PTR) {
      const owner = this.ownerOf(ptr) ?? this.#refuse(ptr);
      const bytes = this.ring === undefined ? 0 : owner.manager.allocated(ptr);
      owner.unlock(ptr, call, userUnlock);
      this.ring?.free(ptr, bytes);
      return;
    }
    const seat = this.activeSeat;
    if (seat?.log.watched !== true) return;
    if (call === 'unlock') seat.log.line(call, NULL_PTR, userUnlock ? 1 : 0);
    else seat.log.line(call, NULL_PTR);
    this.observers.free(seat.handle, NULL_PTR);
  }
}
