import type { CallLog } from './call-log.js';
import type { NativeFunctions, VirtualMemory } from './device-interface.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { NativeLedger } from './native-ledger.js';
import type { SlotObservers } from './slot-observers.js';
import { type DevicePtr, NULL_PTR } from './units.js';

/** A manager in a slot: its live blocks, and the native memory it got through its table. */
export class SeatedManager {
  readonly manager: MemoryManagerAdapter;
  readonly log: CallLog;
  readonly ledger = new NativeLedger();
  /** The manager's number, for observers. */
  readonly handle: number;
  /** Whether the manager counts its live blocks; if not, {@link counted} does. */
  readonly countsItself: boolean;
  /**
   * Allocations that are being made, but for those that the slot counts while the manager is quiet: one that is replaced
   * from inside an allocation drains instead of stopping.
   */
  allocating = 0;
  /** Live blocks by the calls of the slot, for a manager that does not count them. */
  counted = 0;
  readonly #natives: NativeFunctions;
  readonly #ranges = new Map<DevicePtr, number>();
  readonly #grew: () => void;
  readonly #observers: SlotObservers;
  #unlocking = 0;
  /** Whether the manager has said that the call of {@link unlockWatched} that is being made freed its block. */
  #freed = false;
  #settle: (() => void) | undefined;
  readonly #noteFree = (): void => {
    this.#freed = true;
    this.#settle?.();
  };
  /** Native calls that observers hear of after the free that is being made: pointer and bytes, negative for a free. */
  readonly #held: number[] = [];

  /** @param grew - called after each native call that got memory */
  constructor(manager: MemoryManagerAdapter, natives: NativeFunctions, observers: SlotObservers, grew: () => void) {
    this.manager = manager;
    this.handle = manager.getHandle();
    this.#observers = observers;
    this.log = manager.callLog;
    this.countsItself = manager.liveBlockCount() !== undefined;
    this.#natives = natives;
    this.#grew = grew;
  }

  get liveBlocks(): number {
    return this.manager.liveBlockCount() ?? this.counted;
  }

  /** Says whether anybody observes the slot now. */
  setObserved(observed: boolean): void {
    this.log.setObserved(observed);
    this.#hearOfFrees();
  }

  /** Sets what is called when the manager has freed a block, if it counts its blocks; undefined for nothing. */
  setSettle(settle: (() => void) | undefined): void {
    this.#settle = settle;
    this.#hearOfFrees();
  }

  #hearOfFrees(): void {
    this.manager.lifecycle.onFree = this.#observers.any ? this.#noteFree : this.#settle;
  }

  /** Sets the functions of the manager's table, each logged and counted for this manager. */
  fillTable(): void {
    const table = this.manager.deviceInterface;
    const natives = this.#natives;
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
   * Calls `unlock(ptr, userUnlock)` of the manager, or `userUnlock(ptr)`, logs it and tells observers of the block if that
   * freed it. A call that is refused leaves no line.
   *
   * @throws as the manager does
   */
  unlockWatched(ptr: DevicePtr, call: 'unlock' | 'userUnlock', userUnlock: boolean): void {
    const { manager } = this;
    if (this.log.enabled && manager.allocated(ptr) > 0) {
      if (call === 'unlock') this.log.unlock(ptr, userUnlock);
      else this.log.line(call, ptr);
    }
    if (this.#observers.any) this.#unlockObserved(ptr, call, userUnlock);
    else if (call === 'unlock') manager.unlock(ptr, userUnlock);
    else manager.userUnlock(ptr);
  }

  #unlockObserved(ptr: DevicePtr, call: 'unlock' | 'userUnlock', userUnlock: boolean): void {
    const { manager } = this;
    this.#unlocking++;
    this.#freed = false;
    try {
      if (call === 'unlock') manager.unlock(ptr, userUnlock);
      else manager.userUnlock(ptr);
      // A look-up takes longer than to be told, and not every manager tells.
      if (this.#freed || manager.allocated(ptr) === 0) this.#tellFree(ptr);
    } finally {
      this.#freed = false;
      this.#unlocking--;
      if (this.#held.length > 0 && this.#unlocking === 0) this.#tellHeld();
    }
  }

  /**
   * Frees what the manager left behind. Only for one that was shut down.
   *
   * @throws the first error of the device, after everything was tried
   */
  freeOutstanding(): void {
    const errors: unknown[] = [];
    const attempt = (free: () => void) => {
      try {
        free();
      } catch (error) {
        errors.push(error);
      }
    };
    for (const ptr of this.ledger.outstanding()) attempt(() => this.#nativeFree(ptr));
    for (const [ptr, bytes] of this.#ranges) attempt(() => this.#natives.virtual?.release(ptr, bytes));
    this.#ranges.clear();
    if (errors.length > 0) throw errors[0];
  }

  #nativeAlloc(bytes: number, alignment?: number): DevicePtr {
    const ptr = this.#natives.nativeAlloc(bytes, alignment);
    if (ptr === NULL_PTR) return ptr;
    this.ledger.allocated(ptr, bytes);
    this.#grew();
    if (this.log.enabled) this.log.line('nativeAlloc', bytes, ptr);
    if (this.log.watched) this.#tellNative(ptr, bytes);
    return ptr;
  }

  #nativeFree(ptr: DevicePtr): void {
    if (this.log.enabled) this.log.line('nativeFree', ptr);
    this.#natives.nativeFree(ptr);
    const bytes = this.ledger.freed(ptr);
    if (this.log.watched) this.#tellNative(ptr, -bytes);
  }

  #tellFree(ptr: DevicePtr): void {
    const { direct } = this.#observers;
    try {
      direct.free(this.handle, ptr);
    } catch (error) {
      this.#observers.drop(direct, error);
    }
  }

  /** @param bytes - negative for a free */
  #tellNative(ptr: DevicePtr, bytes: number): void {
    if (!this.#observers.any || bytes === 0) return;
    if (this.#unlocking > 0) this.#held.push(ptr, bytes);
    else if (bytes < 0) this.#observers.nativeFree(this.handle, ptr, -bytes);
    else this.#observers.nativeAlloc(this.handle, ptr, bytes, this.#natives.getActiveDeviceId());
  }

  #tellHeld(): void {
    const held = this.#held.splice(0);
    for (let i = 0; i < held.length; i += 2) this.#tellNative(held[i] as DevicePtr, held[i + 1]!);
  }

  #countedVirtual(virtual: VirtualMemory): VirtualMemory {
    return {
      granularityBytes: virtual.granularityBytes,
      reserve: (bytes) => {
        const ptr = virtual.reserve(bytes);
        if (ptr !== NULL_PTR) this.#ranges.set(ptr, bytes);
        return ptr;
      },
      release: (ptr, bytes) => {
        virtual.release(ptr, bytes);
        this.#ranges.delete(ptr);
      },
      commit: (ptr, bytes) => {
        const done = virtual.commit(ptr, bytes);
        if (done) {
          this.ledger.committed(bytes);
          this.#grew();
          if (this.log.watched) this.#tellNative(ptr, bytes);
        }
        return done;
      },
      decommit: (ptr, bytes) => {
        virtual.decommit(ptr, bytes);
        this.ledger.decommitted(bytes);
        if (this.log.watched) this.#tellNative(ptr, -bytes);
      },
    };
  }
}
