import type { EventEmitter } from 'eventemitter3';
import { attempt } from './attempt.js';
import type { LogSink } from './call-log.js';
import type { NativeFunctions } from './device-interface.js';
import { MemoryError } from './errors.js';
import type { MemoryEvents, SlotKind } from './events.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { NativeCounters } from './native-ledger.js';
import { climbLadder } from './out-of-memory-ladder.js';
import { OwedMemory } from './owed-memory.js';
import { Seat, type SeatOptions } from './seat.js';
import { type SlotObserver, SlotObservers } from './slot-observer.js';
import type { DevicePtr } from './units.js';
import * as units from './units.js';

// A binding of its own: V8 looks an imported one up, and checks it, each time.
const { NULL_PTR } = units;

/** What a slot is made of. */
export interface ManagerSlotOptions {
  readonly kind: SlotKind;
  /** The native functions that managers in this slot get. */
  readonly natives: NativeFunctions;
  readonly events: EventEmitter<MemoryEvents>;
  /** Makes the manager that serves while none is installed. */
  readonly createFallback: () => MemoryManagerAdapter;
}

/**
 * Where a manager sits in a host: the host calls the slot, the slot calls the manager.
 *
 * Managers swap at any moment. Each live block stays with the manager that made it: one that was replaced drains,
 * serves the frees of its blocks, and is shut down when the last of them is gone. What the device then refuses to take back
 * stays in the slot's books; it is tried again after each native call that succeeds, at a cleanup, and at the end.
 * The slot also writes the call log, tells observers, and climbs the last steps of the out-of-memory ladder.
 */
export class ManagerSlot extends NativeCounters {
  readonly kind: SlotKind;
  readonly #options: ManagerSlotOptions;
  readonly #observers = new SlotObservers();
  readonly #seatOptions: SeatOptions;
  // The seat that serves when its calls need nothing beside them: its manager is alone here, counts its blocks, and nobody
  // watches. The hot path looks no further.
  #quiet: Seat | undefined;
  #active: Seat | undefined;
  #installed = false;
  #draining: Seat[] = [];
  readonly #owed = new OwedMemory();
  /** The seats that managers will take: what one gets natively before is in the books too. */
  readonly #filled = new WeakMap<MemoryManagerAdapter, Seat>();
  #closed = false;
  #changing = false;
  #asking = false;

  constructor(options: ManagerSlotOptions) {
    super();
    this.kind = options.kind;
    this.#options = options;
    const { natives } = options;
    this.#seatOptions = { natives, observers: this.#observers, counters: this, answered: () => this.#owed.deviceAnswered() };
  }

  /** The manager that serves allocations; null before the first one. */
  get active(): MemoryManagerAdapter | null {
    return this.#active?.manager ?? null;
  }

  /** The manager that was installed; null when the slot's own default serves. */
  get installed(): MemoryManagerAdapter | null {
    return this.#installed ? this.active : null;
  }

  /** Managers that were replaced and still have live blocks, oldest first. */
  get draining(): readonly MemoryManagerAdapter[] {
    return this.#draining.map((seat) => seat.manager);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Live blocks of all managers in this slot. */
  get liveBlocks(): number {
    return this.#seats().reduce((sum, seat) => sum + seat.liveBlocks, 0);
  }

  /**
   * Live blocks and native bytes of each manager that sits here, the active one first; last those that have stopped and
   * could not give everything back.
   */
  usage(): { manager: MemoryManagerAdapter; liveBlocks: number; reservedBytes: number }[] {
    return [...this.#seats(), ...this.#owed.seats].map(({ manager, liveBlocks, ledger }) => ({
      manager,
      liveBlocks: manager.lifecycle.state === 'stopped' ? 0 : liveBlocks,
      reservedBytes: ledger.reservedBytes,
    }));
  }

  /**
   * Fills a fresh manager's table with this slot's native functions, without making it active. Does nothing for one that
   * sits here already.
   *
   * @throws ERR_MEM_TABLE_IN_USE when the table serves another manager
   * @throws ERR_MEM_LIFECYCLE when the manager was shut down
   */
  fill(manager: MemoryManagerAdapter): void {
    if (this.#seatOf(manager) !== undefined) return;
    if (manager.lifecycle.state === 'stopped') manager.lifecycle.check('active', manager.name);
    manager.deviceInterface.checkClaim(manager, this);
    this.#fill(manager);
  }

  /**
   * Makes a manager the active one. A fresh one is initialised, a draining one goes on, the active one stays.
   *
   * @throws ERR_MEM_TABLE_IN_USE when the manager or its table serves another slot
   * @throws ERR_MEM_LIFECYCLE when the manager was shut down
   * @throws ERR_MEM_REENTRANT from inside initialize or shutdown
   */
  install(manager: MemoryManagerAdapter): void {
    this.#checkChange('install');
    if (this.#active?.manager === manager) this.#installed = true;
    else this.#makeActive(this.#seatOf(manager) ?? this.#admit(manager), true);
  }

  /** Goes back to the slot's own default manager. Does nothing when none is installed. */
  unset(): void {
    this.#checkChange('unset');
    if (this.#installed) this.#makeActive(this.#admit(this.#options.createFallback()), false);
  }

  /** Lets an observer see what happens here from now on. Costs nothing while there is none. */
  observe(observer: SlotObserver): void {
    this.#observers.add(observer);
    this.#markObserved();
  }

  /** Takes back {@link observe}. */
  unobserve(observer: SlotObserver): void {
    this.#observers.remove(observer);
    this.#markObserved();
  }

  /** Checks that {@link close} may be called now. @throws ERR_MEM_REENTRANT, ERR_MEM_DISPOSED */
  checkClosable(): void {
    this.#checkChange('close');
    if (this.#seats().some((seat) => seat.allocating > 0)) throw new MemoryError('ERR_MEM_REENTRANT', { operation: 'close' });
  }

  /**
   * Shuts every manager down and frees all native memory, live blocks included. The slot serves nothing afterwards; what
   * the device refused stays in {@link usage}, and {@link signalMemoryCleanup} tries it again.
   *
   * @throws ERR_MEM_REENTRANT from inside initialize, shutdown or an allocation; nothing has changed then
   */
  close(): void {
    this.checkClosable();
    const seats = this.#seats();
    this.#closed = true;
    this.#active = undefined;
    this.#installed = false;
    this.#draining = [];
    this.#noteQuiet();
    this.#owed.giveBack();
    for (const seat of seats) {
      if (seat.manager.lifecycle.state === 'active') seat.manager.lifecycle.enter('draining', seat.manager.name);
      this.#stop(seat);
    }
  }

  /**
   * Allocates a block from the active manager.
   *
   * When it has no memory: all managers here give their cached memory back, then `oom` listeners may free some;
   * after each that may have made room the allocation is tried once more.
   *
   * @throws as {@link MemoryManagerAdapter.allocBytes}; nothing has changed then
   * @throws ERR_MEM_INVALID_POINTER when a manager that does not count its blocks answers what is no address
   */
  alloc(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    const seat = this.#quiet;
    // The plus tells V8 that this is a number, too, so that it need not box the one below.
    if (seat === undefined) return +this.#allocWatched(bytes, userLock, alignment, stream) as DevicePtr;
    const before = seat.allocating;
    seat.allocating = before + 1;
    let ptr = NULL_PTR;
    try {
      ptr = seat.manager.allocBytes(bytes, userLock, alignment, stream);
    } catch (error) {
      seat.allocating = before;
      return +this.#allocAfterFailure(seat, error, bytes, userLock, alignment, stream) as DevicePtr;
    }
    seat.allocating = before;
    if (ptr !== NULL_PTR && this.#quiet === seat) return ptr;
    return +this.#finishAlloc(seat, ptr, bytes, userLock, alignment, stream) as DevicePtr;
  }

  /** The bytes of the live block that `ptr` heads, 0 if there is none. */
  allocated(ptr: DevicePtr): number {
    const seat = this.#ownerOf(ptr) ?? this.#active;
    if (seat === undefined) return 0;
    if (seat.log.enabled) seat.log.line('allocated', ptr);
    return seat.manager.allocated(ptr);
  }

  /**
   * Clears one lock of a block, in the manager that made it, and frees it when both are clear. Does nothing for null.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE
   */
  unlock(ptr: DevicePtr, userUnlock: boolean): void {
    const seat = this.#quiet;
    if (seat === undefined || ptr === NULL_PTR) this.#unlock(ptr, 'unlock', userUnlock);
    else seat.manager.unlock(ptr, userUnlock);
  }

  /** @throws ERR_MEM_UNKNOWN_POINTER when no live block has that address */
  userLock(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) {
      this.#active?.log.line('userLock', ptr);
      return;
    }
    const seat = this.#liveOwnerOf(ptr);
    if (seat.log.enabled && seat.owns(ptr)) seat.log.line('userLock', ptr);
    seat.manager.userLock(ptr);
  }

  /** Clears the user's lock. @throws as {@link unlock} */
  userUnlock(ptr: DevicePtr): void {
    this.#unlock(ptr, 'userUnlock', true);
  }

  isUserLocked(ptr: DevicePtr): boolean {
    const seat = this.#ownerOf(ptr) ?? this.#active;
    if (seat === undefined) return false;
    if (seat.log.enabled) seat.log.line('isUserLocked', ptr);
    return seat.manager.isUserLocked(ptr);
  }

  /** Marks a further stream that uses a block. */
  recordStream(ptr: DevicePtr, stream: number): void {
    this.#liveOwnerOf(ptr).manager.recordStream(ptr, stream);
  }

  /** Where a live block was allocated, when its manager tracks that. */
  siteOf(ptr: DevicePtr): string | undefined {
    return this.#ownerOf(ptr)?.manager.siteOf(ptr);
  }

  /** The manager's ticket for a live block; see {@link MemoryManagerAdapter.ticketOf}. */
  ticketOf(ptr: DevicePtr): number {
    return this.#ownerOf(ptr)?.manager.ticketOf(ptr) ?? 0;
  }

  /**
   * Makes every manager here give its cached memory back, and tries again what the device refused to take back.
   *
   * @throws the first error of a manager, after all of them were told
   */
  signalMemoryCleanup(): void {
    let failure: { readonly error: unknown } | undefined;
    for (const seat of this.#seats()) {
      if (seat.log.enabled) seat.log.line('signalMemoryCleanup');
      this.#observers.cleanup(seat.handle);
      try {
        seat.manager.signalMemoryCleanup();
      } catch (error) {
        failure ??= { error };
      }
    }
    this.#owed.giveBack();
    if (failure !== undefined) throw failure.error;
  }

  /** Writes each manager's report. */
  printInfo(message: string, device: number, sink?: LogSink): void {
    for (const seat of this.#seats()) seat.manager.printInfo(message, device, sink);
  }

  getMemoryPressure(): number {
    return this.#active?.manager.getMemoryPressure() ?? 0;
  }

  jitTreeExceedsMemoryPressure(bytes: number): boolean {
    return this.#active?.manager.jitTreeExceedsMemoryPressure(bytes) ?? false;
  }

  addMemoryManagement(device: number): void {
    for (const seat of this.#seats()) seat.manager.addMemoryManagement(device);
  }

  /** Makes every manager here stop managing a device. @throws ERR_MEM_DEVICE_BUSY; all of them go on managing it then */
  removeMemoryManagement(device: number): void {
    const removed: MemoryManagerAdapter[] = [];
    try {
      for (const { manager } of this.#seats()) {
        manager.removeMemoryManagement(device);
        removed.push(manager);
      }
    } catch (error) {
      for (const manager of removed) manager.addMemoryManagement(device);
      throw error;
    }
  }

  getMemStepSize(): number {
    return (this.#active ?? this.#start()).manager.getMemStepSize();
  }

  setMemStepSize(bytes: number): void {
    (this.#active ?? this.#start()).manager.setMemStepSize(bytes);
  }

  /** Gives the buffered log lines of every manager here to their sinks. */
  flushLogs(): void {
    for (const seat of this.#seats()) seat.log.flush();
  }

  /** Everybody who serves, the active one first. */
  #seats(): Seat[] {
    return this.#active === undefined ? this.#draining.slice() : [this.#active, ...this.#draining];
  }

  #seatOf(manager: MemoryManagerAdapter): Seat | undefined {
    return this.#seats().find((seat) => seat.manager === manager);
  }

  /** The seat whose live block `ptr` heads. A manager that is alone and counts its blocks refuses itself what it does not own. */
  #ownerOf(ptr: DevicePtr): Seat | undefined {
    const active = this.#active;
    if (active !== undefined && ((this.#draining.length === 0 && active.countsItself) || active.owns(ptr))) return active;
    return this.#draining.find((seat) => seat.owns(ptr));
  }

  /** As {@link #ownerOf}. @throws ERR_MEM_UNKNOWN_POINTER when no manager here has such a live block */
  #liveOwnerOf(ptr: DevicePtr): Seat {
    const seat = this.#ownerOf(ptr);
    if (seat === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return seat;
  }

  /** Throws for a pointer that heads no live block of any manager: as a double free if one of them knows it as free. */
  #refuse(ptr: DevicePtr): never {
    let last: unknown = new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    for (const seat of this.#seats()) {
      try {
        seat.manager.unlock(ptr, true);
      } catch (error) {
        last = error;
        if (!MemoryError.is(error, 'ERR_MEM_UNKNOWN_POINTER')) break;
      }
    }
    throw last;
  }

  /** As {@link alloc}, where there is more to do than to call the manager. */
  #allocWatched(bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    const seat = this.#active ?? this.#start();
    let ptr = NULL_PTR;
    try {
      ptr = seat.alloc(bytes, userLock, alignment, stream);
    } catch (error) {
      return this.#allocAfterFailure(seat, error, bytes, userLock, alignment, stream);
    }
    if (seat !== this.#active) this.#settle(seat);
    if (ptr !== NULL_PTR || bytes === 0) return ptr;
    return this.#allocAfterFailure(seat, this.#outOfMemory(bytes), bytes, userLock, alignment, stream);
  }

  /** What {@link alloc} has to do after the call of a manager that is quiet no more, or that answered null. */
  #finishAlloc(seat: Seat, ptr: DevicePtr, bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    if (ptr === NULL_PTR && bytes > 0) {
      return this.#allocAfterFailure(seat, this.#outOfMemory(bytes), bytes, userLock, alignment, stream);
    }
    if (seat.log.watched) seat.noteAlloc(ptr, bytes, userLock, stream);
    if (seat !== this.#active) this.#settle(seat);
    return ptr;
  }

  /** The rest of the out-of-memory ladder, after the manager of a seat has given back what it cached. */
  #allocAfterFailure(
    seat: Seat,
    failure: unknown,
    bytes: number,
    userLock: boolean,
    alignment: number,
    stream: number,
  ): DevicePtr {
    if (seat !== this.#active) this.#settle(seat);
    try {
      return climbLadder(
        failure,
        () => this.#giveCachedBack(),
        () => this.#askListeners(bytes),
        () => this.#allocAgain(bytes, userLock, alignment, stream),
      );
    } catch (error) {
      // A number that is no size would make a line that cannot be read.
      if (Number.isSafeInteger(bytes) && bytes >= 0) this.#noteRefusal(error, bytes, userLock, stream);
      throw error;
    }
  }

  #allocAgain(bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    const seat = this.#active ?? this.#start();
    try {
      return seat.alloc(bytes, userLock, alignment, stream);
    } finally {
      if (seat !== this.#active) this.#settle(seat);
    }
  }

  /** Logs an allocation that failed; observers hear of it when that was for want of memory. */
  #noteRefusal(error: unknown, bytes: number, userLock: boolean, stream: number): void {
    const seat = this.#active;
    seat?.log.line('alloc', bytes, userLock ? 1 : 0, NULL_PTR);
    if (!this.#observers.any || !MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) return;
    this.#observers.outOfMemory(seat?.handle ?? 0, bytes, error.facts.device, stream);
  }

  /** The error for a manager that answers null instead of throwing. */
  #outOfMemory(requestedBytes: number): MemoryError {
    const { natives } = this.#options;
    const device = natives.getActiveDeviceId();
    const seat = this.#active;
    const stats = seat?.manager.getMemoryStats(device);
    return new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
      requestedBytes,
      allocatedBytes: stats?.allocatedBytes.current ?? 0,
      reservedBytes: stats?.reservedBytes.current ?? seat?.ledger.reservedBytes ?? 0,
      capacityBytes: natives.getMaxMemorySize(device),
      device,
    });
  }

  #giveCachedBack(): boolean {
    const before = this.reservedBytes;
    for (const seat of this.#seats()) {
      this.#observers.cleanup(seat.handle);
      attempt(() => seat.manager.signalMemoryCleanup());
    }
    this.#owed.giveBack();
    return this.reservedBytes < before;
  }

  /** A listener that runs out of memory itself is not asked again. */
  #askListeners(requestedBytes: number): boolean {
    const manager = this.#active?.manager;
    if (manager === undefined || this.#asking) return false;
    const { kind, natives, events } = this.#options;
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
      (this.#ownerOf(ptr) ?? this.#refuse(ptr)).unlock(ptr, call, userUnlock);
      return;
    }
    const seat = this.#active;
    if (seat?.log.watched !== true) return;
    if (call === 'unlock') seat.log.line(call, NULL_PTR, userUnlock ? 1 : 0);
    else seat.log.line(call, NULL_PTR);
    this.#observers.free(seat.handle, NULL_PTR);
  }

  #markObserved(): void {
    for (const seat of this.#seats()) seat.setObserved(this.#observers.any);
  }

  #noteQuiet(): void {
    const seat = this.#active;
    const isQuiet = seat?.countsItself === true && this.#draining.length === 0 && !seat.log.watched;
    this.#quiet = isQuiet ? seat : undefined;
  }

  /** The slot's own default manager, made when it is first needed. */
  #start(): Seat {
    this.#checkChange('alloc');
    this.#makeActive(this.#admit(this.#options.createFallback()), false);
    // A listener may have installed another one meanwhile, or closed the slot.
    if (this.#active === undefined) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'slot' });
    return this.#active;
  }

  #fill(manager: MemoryManagerAdapter): Seat {
    let seat = this.#filled.get(manager);
    if (seat === undefined) {
      seat = new Seat(manager, this.#seatOptions);
      this.#filled.set(manager, seat);
    }
    seat.fillTable();
    return seat;
  }

  /** Takes a fresh manager in: claims and fills its table, initialises it. */
  #admit(manager: MemoryManagerAdapter): Seat {
    if (manager.lifecycle.state === 'stopped') manager.lifecycle.check('active', manager.name);
    manager.deviceInterface.claim(manager, this);
    const seat = this.#fill(manager);
    this.#filled.delete(manager);
    seat.enter(() => this.#noteQuiet());
    this.#changing = true;
    try {
      seat.log.line('initialize');
      manager.initialize();
    } catch (error) {
      this.#owed.add(seat);
      seat.leave();
      throw error;
    } finally {
      this.#changing = false;
    }
    return seat;
  }

  #makeActive(seat: Seat, installed: boolean): void {
    const previous = this.#active;
    seat.manager.lifecycle.enter('active', seat.manager.name);
    seat.setSettle(undefined);
    this.#draining = this.#draining.filter((other) => other !== seat);
    this.#active = seat;
    this.#installed = installed;
    this.#noteQuiet();
    this.#observers.swap(seat.handle, previous?.handle ?? 0);
    try {
      if (previous !== undefined) this.#retire(previous);
    } finally {
      const event = { slot: this.kind, current: seat.manager, previous: previous?.manager ?? null };
      attempt(() => this.#options.events.emit('swap', event));
    }
  }

  #retire(seat: Seat): void {
    seat.manager.lifecycle.enter('draining', seat.manager.name);
    if (seat.liveBlocks + seat.allocating === 0) {
      this.#stop(seat);
    } else {
      this.#draining.push(seat);
      this.#noteQuiet();
      seat.setSettle(() => this.#settle(seat));
      attempt(() => seat.manager.signalMemoryCleanup());
    }
  }

  /** Notes that a call of `seat` that may have freed its last block has ended. */
  #settle(seat: Seat): void {
    if (seat === this.#active || seat.manager.lifecycle.state !== 'draining' || this.#closed) return;
    const live = seat.liveBlocks + seat.allocating;
    if (live === 0) {
      this.#draining = this.#draining.filter((other) => other !== seat);
      this.#noteQuiet();
      this.#stop(seat);
    } else if ((live & (live - 1)) === 0) {
      // What a draining manager caches nobody will use. Cleaning up at powers of two costs O(log) times.
      attempt(() => seat.manager.signalMemoryCleanup());
    }
  }

  #stop(seat: Seat): void {
    seat.manager.lifecycle.enter('stopped', seat.manager.name);
    seat.manager.lifecycle.onFree = undefined;
    seat.log.line('shutdown');
    const changing = this.#changing;
    this.#changing = true;
    try {
      attempt(() => seat.manager.shutdown());
    } finally {
      this.#changing = changing;
    }
    this.#owed.add(seat);
    seat.leave();
    attempt(() => this.#options.events.emit('stopped', { slot: this.kind, manager: seat.manager }));
  }

  /** @throws ERR_MEM_REENTRANT, ERR_MEM_DISPOSED when the seats cannot change now */
  #checkChange(operation: string): void {
    if (this.#changing) throw new MemoryError('ERR_MEM_REENTRANT', { operation });
    if (this.#closed) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'slot' });
  }
}
