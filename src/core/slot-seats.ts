import type { EventEmitter } from 'eventemitter3';
import { attempt } from './attempt.js';
import type { NativeFunctions } from './device-interface.js';
import { MemoryError } from './errors.js';
import type { MemoryEvents, SlotKind } from './events.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { SeatedManager } from './seated-manager.js';
import type { SlotObserver } from './slot-observer.js';
import { SlotObservers } from './slot-observers.js';
import type { DevicePtr } from './units.js';

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
 * Who sits in a slot: the active manager and those that drain. It moves managers through their lifecycle and knows
 * which of them owns a pointer.
 */
export class SlotSeats {
  /** Who serves allocations; undefined before the first one. */
  active: SeatedManager | undefined;
  /** Whether the active one was installed, and is not the slot's own default. */
  installed = false;
  /** Who was replaced and still has live blocks, oldest first. */
  draining: SeatedManager[] = [];
  closed = false;
  /** Who sees what happens here. */
  readonly observers = new SlotObservers();
  readonly #options: ManagerSlotOptions;
  readonly #quietChanged: (quiet: SeatedManager | undefined) => void;
  #changing = false;
  #stoppedNativeAllocs = 0;
  #stoppedNativeFrees = 0;
  #stoppedCommits = 0;
  #stoppedDecommits = 0;
  #peakReservedBytes = 0;

  /**
   * @param quietChanged - called with the active one while it is alone here, counts its blocks, and nobody watches: its
   * calls need nothing beside them then
   */
  constructor(options: ManagerSlotOptions, quietChanged: (quiet: SeatedManager | undefined) => void) {
    this.#options = options;
    this.#quietChanged = quietChanged;
  }

  get liveBlocks(): number {
    return this.all().reduce((sum, seat) => sum + seat.liveBlocks, 0);
  }

  get reservedBytes(): number {
    let bytes = this.active?.ledger.reservedBytes ?? 0;
    for (const seat of this.draining) bytes += seat.ledger.reservedBytes;
    return bytes;
  }

  get peakReservedBytes(): number {
    return this.#peakReservedBytes;
  }

  resetPeak(): void {
    this.#peakReservedBytes = this.reservedBytes;
  }

  get nativeAllocs(): number {
    return this.all().reduce((sum, seat) => sum + seat.ledger.allocs, this.#stoppedNativeAllocs);
  }

  get nativeFrees(): number {
    return this.all().reduce((sum, seat) => sum + seat.ledger.frees, this.#stoppedNativeFrees);
  }

  get nativeCommits(): number {
    return this.all().reduce((sum, seat) => sum + seat.ledger.commits, this.#stoppedCommits);
  }

  get nativeDecommits(): number {
    return this.all().reduce((sum, seat) => sum + seat.ledger.decommits, this.#stoppedDecommits);
  }

  /** Everybody, the active one first. */
  all(): SeatedManager[] {
    return this.active === undefined ? this.draining.slice() : [this.active, ...this.draining];
  }

  /** Lets an observer see what happens here from now on. */
  observe(observer: SlotObserver): void {
    this.observers.add(observer);
    this.#markObserved();
  }

  /** Takes back {@link observe}. */
  unobserve(observer: SlotObserver): void {
    this.observers.remove(observer);
    this.#markObserved();
  }

  #markObserved(): void {
    for (const seat of this.all()) seat.setObserved(this.observers.any);
  }

  #seated(manager: MemoryManagerAdapter): SeatedManager {
    return new SeatedManager(manager, this.#options.natives, this.observers, () => this.#noteReserved());
  }

  /** @param besides - bytes of a manager that has no seat yet */
  #noteReserved(besides = 0): void {
    this.#peakReservedBytes = Math.max(this.#peakReservedBytes, this.reservedBytes + besides);
  }

  /** The seat of a manager that is active or drains. */
  seatOf(manager: MemoryManagerAdapter): SeatedManager | undefined {
    return this.all().find((seat) => seat.manager === manager);
  }

  fill(manager: MemoryManagerAdapter): void {
    manager.deviceInterface.checkClaim(manager, this);
    this.#seated(manager).fillTable();
  }

  install(manager: MemoryManagerAdapter): void {
    this.checkChange('install');
    if (this.active?.manager === manager) {
      this.installed = true;
      return;
    }
    const seat = this.seatOf(manager) ?? this.#admit(manager);
    this.#makeActive(seat, true);
  }

  unset(): void {
    this.checkChange('unset');
    if (this.installed) this.#makeActive(this.#admitFallback(), false);
  }

  /** The seat whose live block `ptr` heads. A manager that is alone and counts its blocks refuses itself what it does not own. */
  ownerOf(ptr: DevicePtr): SeatedManager | undefined {
    const active = this.active;
    if (this.draining.length === 0 && active?.countsItself === true) return active;
    if (active !== undefined && active.manager.allocated(ptr) > 0) return active;
    return this.draining.find((seat) => seat.manager.allocated(ptr) > 0);
  }

  /** As {@link ownerOf}. @throws ERR_MEM_UNKNOWN_POINTER when several managers are here and none has such a live block */
  liveOwnerOf(ptr: DevicePtr): SeatedManager {
    const seat = this.ownerOf(ptr);
    if (seat === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return seat;
  }

  /** Throws for a pointer that heads no live block of any manager: as a double free if one of them knows it as free. */
  refuse(ptr: DevicePtr): never {
    let last: unknown = new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    for (const seat of this.all()) {
      try {
        seat.manager.unlock(ptr, true);
      } catch (error) {
        last = error;
        if (!MemoryError.is(error, 'ERR_MEM_UNKNOWN_POINTER')) break;
      }
    }
    throw last;
  }

  /** @throws ERR_MEM_REENTRANT, ERR_MEM_DISPOSED */
  checkClosable(): void {
    this.checkChange('close');
    if (this.all().some((seat) => seat.allocating > 0)) throw new MemoryError('ERR_MEM_REENTRANT', { operation: 'close' });
  }

  close(): void {
    const seats = this.all();
    this.closed = true;
    this.active = undefined;
    this.installed = false;
    this.draining = [];
    this.#noteQuiet();
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

  /** The slot's own default manager, made when it is first needed. */
  start(): SeatedManager {
    if (this.closed) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'slot' });
    this.checkChange('alloc');
    this.#makeActive(this.#admitFallback(), false);
    // A listener may have installed another one meanwhile, or closed the slot.
    if (this.active === undefined) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'slot' });
    return this.active;
  }

  #noteQuiet(): void {
    const seat = this.active;
    const isQuiet = seat?.countsItself === true && this.draining.length === 0 && !seat.log.watched;
    this.#quietChanged(isQuiet ? seat : undefined);
  }

  #admitFallback(): SeatedManager {
    return this.#admit(this.#options.createFallback());
  }

  /** Takes a fresh manager in: claims and fills its table, initialises it. */
  #admit(manager: MemoryManagerAdapter): SeatedManager {
    if (manager.lifecycle.state === 'stopped') manager.lifecycle.check('active', manager.name);
    manager.deviceInterface.claim(manager, this);
    const seat = this.#seated(manager);
    seat.fillTable();
    seat.setObserved(this.observers.any);
    seat.log.onChange = () => this.#noteQuiet();
    this.#changing = true;
    try {
      seat.log.line('initialize');
      manager.initialize();
      this.#noteReserved(seat.ledger.reservedBytes);
    } catch (error) {
      attempt(() => seat.freeOutstanding());
      manager.lifecycle.onFree = undefined;
      seat.log.onChange = undefined;
      manager.deviceInterface.unclaim();
      throw error;
    } finally {
      this.#changing = false;
    }
    return seat;
  }

  #makeActive(seat: SeatedManager, installed: boolean): SeatedManager {
    const previous = this.active;
    seat.manager.lifecycle.enter('active', seat.manager.name);
    seat.setSettle(undefined);
    this.draining = this.draining.filter((other) => other !== seat);
    this.active = seat;
    this.installed = installed;
    this.#noteQuiet();
    this.observers.swap(seat.handle, previous?.handle ?? 0);
    try {
      if (previous !== undefined) this.#retire(previous);
    } finally {
      const event = { slot: this.#options.kind, current: seat.manager, previous: previous?.manager ?? null };
      attempt(() => this.#options.events.emit('swap', event));
    }
    return seat;
  }

  #retire(seat: SeatedManager): void {
    seat.manager.lifecycle.enter('draining', seat.manager.name);
    if (seat.liveBlocks + seat.allocating === 0) {
      this.#stop(seat);
    } else {
      this.draining.push(seat);
      this.#noteQuiet();
      seat.setSettle(() => this.settle(seat));
      attempt(() => seat.manager.signalMemoryCleanup());
    }
  }

  /** Notes that a call of `seat` that may have freed its last block has ended. */
  settle(seat: SeatedManager): void {
    if (seat === this.active || seat.manager.lifecycle.state !== 'draining' || this.closed) return;
    const live = seat.liveBlocks + seat.allocating;
    if (live === 0) {
      this.draining = this.draining.filter((other) => other !== seat);
      this.#noteQuiet();
      this.#stop(seat);
    } else if ((live & (live - 1)) === 0) {
      // What a draining manager caches nobody will use. Cleaning up at powers of two costs O(log) times.
      attempt(() => seat.manager.signalMemoryCleanup());
    }
  }

  #stop(seat: SeatedManager): void {
    seat.manager.lifecycle.enter('stopped', seat.manager.name);
    seat.manager.lifecycle.onFree = undefined;
    seat.log.line('shutdown');
    const changing = this.#changing;
    this.#changing = true;
    attempt(() => seat.manager.shutdown());
    this.#changing = changing;
    // Tries again what the manager could not give back.
    attempt(() => seat.freeOutstanding());
    seat.log.flush();
    seat.log.setObserved(false);
    seat.log.onChange = undefined;
    this.#stoppedNativeAllocs += seat.ledger.allocs;
    this.#stoppedNativeFrees += seat.ledger.frees;
    this.#stoppedCommits += seat.ledger.commits;
    this.#stoppedDecommits += seat.ledger.decommits;
    seat.manager.deviceInterface.unclaim();
    attempt(() => this.#options.events.emit('stopped', { slot: this.#options.kind, manager: seat.manager }));
  }

  /** @throws ERR_MEM_REENTRANT, ERR_MEM_DISPOSED when the seats cannot change now */
  checkChange(operation: string): void {
    if (this.#changing) throw new MemoryError('ERR_MEM_REENTRANT', { operation });
    if (this.closed) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'slot' });
  }
}
