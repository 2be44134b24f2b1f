import type { EventEmitter } from 'eventemitter3';
import type { LogSink } from './call-log.js';
import type { NativeFunctions } from './device-interface.js';
import { MemoryError } from './errors.js';
import type { MemoryEvents, SlotKind } from './events.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { SeatedManager } from './seated-manager.js';
import { type DevicePtr, NULL_PTR } from './units.js';

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
 * serves the frees of its blocks, and is shut down when the last of them is gone.
 * The slot also writes the call log and climbs the last steps of the out-of-memory ladder.
 */
export class ManagerSlot {
  readonly kind: SlotKind;
  readonly #natives: NativeFunctions;
  readonly #events: EventEmitter<MemoryEvents>;
  readonly #createFallback: () => MemoryManagerAdapter;
  #active: SeatedManager | undefined;
  #installed = false;
  #draining: SeatedManager[] = [];
  #changing = false;
  #closed = false;
  #stoppedNativeAllocs = 0;
  #stoppedNativeFrees = 0;
  #peakReservedBytes = 0;

  constructor(options: ManagerSlotOptions) {
    this.kind = options.kind;
    this.#natives = options.natives;
    this.#events = options.events;
    this.#createFallback = options.createFallback;
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

  /** Live blocks of all managers in this slot. */
  get liveBlocks(): number {
    return this.#seats().reduce((sum, seat) => sum + seat.liveBlocks, 0);
  }

  /** Native memory held by all managers in this slot. */
  get reservedBytes(): number {
    return this.#seats().reduce((sum, seat) => sum + seat.ledger.reservedBytes, 0);
  }

  /** The most native memory that all managers in this slot held at once, since the start or {@link resetPeak}. */
  get peakReservedBytes(): number {
    return this.#peakReservedBytes;
  }

  /** Lets the peak start again from what is held now. */
  resetPeak(): void {
    this.#peakReservedBytes = this.reservedBytes;
  }

  /** Native allocations of every manager that ever sat here. */
  get nativeAllocs(): number {
    return this.#seats().reduce((sum, seat) => sum + seat.ledger.allocs, this.#stoppedNativeAllocs);
  }

  /** Native frees of every manager that ever sat here. */
  get nativeFrees(): number {
    return this.#seats().reduce((sum, seat) => sum + seat.ledger.frees, this.#stoppedNativeFrees);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Live blocks and native bytes of each manager that sits here, the active one first. */
  usage(): { manager: MemoryManagerAdapter; liveBlocks: number; reservedBytes: number }[] {
    return this.#seats().map((seat) => ({
      manager: seat.manager,
      liveBlocks: seat.liveBlocks,
      reservedBytes: seat.ledger.reservedBytes,
    }));
  }

  /**
   * Fills a fresh manager's table with this slot's native functions, without making it active.
   *
   * @throws ERR_MEM_TABLE_IN_USE when the table serves another manager
   */
  fill(manager: MemoryManagerAdapter): void {
    manager.deviceInterface.checkClaim(manager, this);
    new SeatedManager(manager, this.#natives, () => this.#noteReserved()).fillTable();
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
    if (this.#active?.manager === manager) {
      this.#installed = true;
      return;
    }
    const seat = this.#seatOf(manager) ?? this.#admit(manager);
    this.#makeActive(seat, true);
  }

  /** Goes back to the slot's own default manager. Does nothing when none is installed. */
  unset(): void {
    this.#checkChange('unset');
    if (this.#installed) this.#makeActive(this.#admitFallback(), false);
  }

  /**
   * Allocates a block from the active manager.
   *
   * When it has no memory: all managers here give their cached memory back, then `oom` listeners may free some;
   * after each that may have made room the allocation is tried once more.
   *
   * @throws as {@link MemoryManagerAdapter.allocBytes}; nothing has changed then
   */
  alloc(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    const seat = this.#active ?? this.#start();
    // Counted before the call, so that a manager replaced from inside it drains instead of stopping.
    seat.liveBlocks++;
    let ptr = NULL_PTR;
    try {
      ptr = seat.manager.allocBytes(bytes, userLock, alignment, stream);
    } catch (error) {
      this.#release(seat);
      return this.#allocAfterFailure(error, bytes, userLock, alignment, stream);
    }
    if (ptr === NULL_PTR) {
      this.#release(seat);
      if (bytes > 0) return this.#allocAfterFailure(this.#outOfMemory(bytes), bytes, userLock, alignment, stream);
    }
    if (seat.log.enabled) seat.log.line('alloc', bytes, userLock ? 1 : 0, ptr);
    return ptr;
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
    if (ptr === NULL_PTR) {
      this.#active?.log.line('unlock', ptr, userUnlock ? 1 : 0);
      return;
    }
    const seat = this.#ownerOf(ptr) ?? this.#refuse(ptr);
    if (seat.log.enabled) seat.log.line('unlock', ptr, userUnlock ? 1 : 0);
    seat.manager.unlock(ptr, userUnlock);
    if (seat.manager.allocated(ptr) === 0) this.#release(seat);
  }

  /** @throws ERR_MEM_UNKNOWN_POINTER when no live block has that address */
  userLock(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) {
      this.#active?.log.line('userLock', ptr);
      return;
    }
    const seat = this.#liveOwnerOf(ptr);
    if (seat.log.enabled) seat.log.line('userLock', ptr);
    seat.manager.userLock(ptr);
  }

  /** Clears the user's lock. @throws as {@link unlock} */
  userUnlock(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) {
      this.#active?.log.line('userUnlock', ptr);
      return;
    }
    const seat = this.#ownerOf(ptr) ?? this.#refuse(ptr);
    if (seat.log.enabled) seat.log.line('userUnlock', ptr);
    seat.manager.userUnlock(ptr);
    if (seat.manager.allocated(ptr) === 0) this.#release(seat);
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

  /** Makes every manager here give its cached memory back. */
  signalMemoryCleanup(): void {
    for (const seat of this.#seats()) {
      if (seat.log.enabled) seat.log.line('signalMemoryCleanup');
      seat.manager.signalMemoryCleanup();
    }
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

  /** Shuts every manager down and frees all native memory, live blocks included. The slot serves nothing afterwards. */
  close(): void {
    this.#checkChange('close');
    const seats = this.#seats();
    this.#closed = true;
    this.#active = undefined;
    this.#installed = false;
    this.#draining = [];
    let failure: { readonly error: unknown } | undefined;
    for (const seat of seats) {
      if (seat.manager.lifecycle.state === 'active') seat.manager.lifecycle.enter('draining', seat.manager.name);
      try {
        this.#stop(seat);
      } catch (error) {
        // What a listener throws must not keep the other managers' memory.
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }

  #seats(): SeatedManager[] {
    return this.#active === undefined ? this.#draining.slice() : [this.#active, ...this.#draining];
  }

  /** @param besides - bytes of a manager that has no seat yet */
  #noteReserved(besides = 0): void {
    this.#peakReservedBytes = Math.max(this.#peakReservedBytes, this.reservedBytes + besides);
  }

  #seatOf(manager: MemoryManagerAdapter): SeatedManager | undefined {
    return this.#seats().find((seat) => seat.manager === manager);
  }

  /** The seat whose live block `ptr` heads. With one manager alone it is that one, which refuses what it does not own. */
  #ownerOf(ptr: DevicePtr): SeatedManager | undefined {
    const active = this.#active;
    if (this.#draining.length === 0) return active;
    if (active !== undefined && active.manager.allocated(ptr) > 0) return active;
    return this.#draining.find((seat) => seat.manager.allocated(ptr) > 0);
  }

  /** As {@link #ownerOf}. @throws ERR_MEM_UNKNOWN_POINTER when several managers are here and none has such a live block */
  #liveOwnerOf(ptr: DevicePtr): SeatedManager {
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

  /** The slot's own default manager, made when it is first needed. */
  #start(): SeatedManager {
    if (this.#closed) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'slot' });
    this.#checkChange('alloc');
    return this.#makeActive(this.#admitFallback(), false);
  }

  #admitFallback(): SeatedManager {
    return this.#admit(this.#createFallback());
  }

  /** Takes a fresh manager in: claims and fills its table, initialises it. */
  #admit(manager: MemoryManagerAdapter): SeatedManager {
    if (manager.lifecycle.state === 'stopped') manager.lifecycle.check('active', manager.name);
    manager.deviceInterface.claim(manager, this);
    const seat = new SeatedManager(manager, this.#natives, () => this.#noteReserved());
    seat.fillTable();
    this.#changing = true;
    try {
      seat.log.line('initialize');
      manager.initialize();
      this.#noteReserved(seat.ledger.reservedBytes);
    } catch (error) {
      attempt(() => seat.freeOutstanding());
      manager.deviceInterface.unclaim();
      throw error;
    } finally {
      this.#changing = false;
    }
    return seat;
  }

  #makeActive(seat: SeatedManager, installed: boolean): SeatedManager {
    const previous = this.#active;
    seat.manager.lifecycle.enter('active', seat.manager.name);
    this.#draining = this.#draining.filter((other) => other !== seat);
    this.#active = seat;
    this.#installed = installed;
    try {
      if (previous !== undefined) this.#retire(previous);
    } finally {
      this.#events.emit('swap', { slot: this.kind, current: seat.manager, previous: previous?.manager ?? null });
    }
    return seat;
  }

  #retire(seat: SeatedManager): void {
    seat.manager.lifecycle.enter('draining', seat.manager.name);
    if (seat.liveBlocks === 0) {
      this.#stop(seat);
    } else {
      this.#draining.push(seat);
      attempt(() => seat.manager.signalMemoryCleanup());
    }
  }

  /** Counts a block of `seat` as gone. */
  #release(seat: SeatedManager): void {
    seat.liveBlocks--;
    if (seat !== this.#active && !this.#closed) this.#drained(seat);
  }

  #drained(seat: SeatedManager): void {
    const live = seat.liveBlocks;
    if (live === 0) {
      this.#draining = this.#draining.filter((other) => other !== seat);
      this.#stop(seat);
    } else if ((live & (live - 1)) === 0) {
      // What a draining manager caches nobody will use. Cleaning up at powers of two costs O(log) times.
      attempt(() => seat.manager.signalMemoryCleanup());
    }
  }

  #stop(seat: SeatedManager): void {
    seat.manager.lifecycle.enter('stopped', seat.manager.name);
    seat.log.line('shutdown');
    const changing = this.#changing;
    this.#changing = true;
    attempt(() => seat.manager.shutdown());
    this.#changing = changing;
    // Tries again what the manager could not give back.
    attempt(() => seat.freeOutstanding());
    seat.log.flush();
    this.#stoppedNativeAllocs += seat.ledger.allocs;
    this.#stoppedNativeFrees += seat.ledger.frees;
    seat.manager.deviceInterface.unclaim();
    this.#events.emit('stopped', { slot: this.kind, manager: seat.manager });
  }

  #checkChange(operation: string): void {
    if (this.#changing) throw new MemoryError('ERR_MEM_REENTRANT', { operation });
    if (this.#closed) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'slot' });
  }

  /** The rest of the out-of-memory ladder, after the active manager has given back what it cached. */
  #allocAfterFailure(failure: unknown, bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    let error = failure;
    if (MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) {
      for (const makeRoom of [() => this.#giveCachedBack(), () => this.#askListeners(bytes)]) {
        let seat: SeatedManager | undefined;
        try {
          if (!makeRoom()) continue;
          seat = this.#active ?? this.#start();
          seat.liveBlocks++;
          const ptr = seat.manager.allocBytes(bytes, userLock, alignment, stream);
          if (ptr !== NULL_PTR) {
            seat.log.line('alloc', bytes, userLock ? 1 : 0, ptr);
            return ptr;
          }
          this.#release(seat);
        } catch (again) {
          if (seat !== undefined) this.#release(seat);
          error = again;
          if (!MemoryError.is(again, 'ERR_MEM_OUT_OF_MEMORY')) break;
        }
      }
    }
    this.#active?.log.line('alloc', bytes, userLock ? 1 : 0, NULL_PTR);
    throw error;
  }

  #giveCachedBack(): boolean {
    const before = this.reservedBytes;
    for (const seat of this.#seats()) seat.manager.signalMemoryCleanup();
    return this.reservedBytes < before;
  }

  #askListeners(bytes: number): boolean {
    const manager = this.active;
    if (manager === null) return false;
    const device = this.#natives.getActiveDeviceId();
    return this.#events.emit('oom', { slot: this.kind, manager, requestedBytes: bytes, device });
  }

  /** The error for a manager that answers null instead of throwing. */
  #outOfMemory(requestedBytes: number): MemoryError {
    const device = this.#natives.getActiveDeviceId();
    const stats = this.#active?.manager.getMemoryStats(device);
    return new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
      requestedBytes,
      allocatedBytes: stats?.allocatedBytes.current ?? 0,
      reservedBytes: stats?.reservedBytes.current ?? this.#active?.ledger.reservedBytes ?? 0,
      capacityBytes: this.#natives.getMaxMemorySize(device),
      device,
    });
  }
}

/**
 * Does what follows from a call that has succeeded: a failure here must not make it look like one that failed.
 * It becomes a process warning instead.
 */
function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}
