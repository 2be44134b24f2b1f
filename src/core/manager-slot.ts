import type { LogSink } from './call-log.js';
import type { SlotKind } from './events.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { OutOfMemoryLadder } from './out-of-memory-ladder.js';
import type { SeatedManager } from './seated-manager.js';
import { SlotNotes } from './slot-notes.js';
import type { SlotObserver } from './slot-observer.js';
import { type ManagerSlotOptions, SlotSeats } from './slot-seats.js';
import type { DevicePtr } from './units.js';
import * as units from './units.js';

// A binding of its own: V8 looks an imported one up, and checks it, each time.
const { NULL_PTR } = units;

/**
 * Where a manager sits in a host: the host calls the slot, the slot calls the manager.
 *
 * Managers swap at any moment. Each live block stays with the manager that made it: one that was replaced drains,
 * serves the frees of its blocks, and is shut down when the last of them is gone.
 * The slot also writes the call log, tells observers, and climbs the last steps of the out-of-memory ladder.
 */
export class ManagerSlot {
  readonly kind: SlotKind;
  readonly #seats: SlotSeats;
  readonly #ladder: OutOfMemoryLadder;
  readonly #notes: SlotNotes;
  // The manager that sits here when nobody has to be told of its calls: the hot path looks no further.
  #quiet: MemoryManagerAdapter | undefined;
  #quietSeat: SeatedManager | undefined;
  // Allocations that the quiet manager is making; once it is quiet no more, its seat counts them.
  #underway = 0;

  constructor(options: ManagerSlotOptions) {
    this.kind = options.kind;
    this.#seats = new SlotSeats(options, (quiet) => this.#setQuiet(quiet));
    this.#ladder = new OutOfMemoryLadder(this.#seats, options);
    this.#notes = new SlotNotes(this.#seats, options.natives);
  }

  /** The manager that serves allocations; null before the first one. */
  get active(): MemoryManagerAdapter | null {
    return this.#seats.active?.manager ?? null;
  }

  /** The manager that was installed; null when the slot's own default serves. */
  get installed(): MemoryManagerAdapter | null {
    return this.#seats.installed ? this.active : null;
  }

  /** Managers that were replaced and still have live blocks, oldest first. */
  get draining(): readonly MemoryManagerAdapter[] {
    return this.#seats.draining.map((seat) => seat.manager);
  }

  /** Live blocks of all managers in this slot. */
  get liveBlocks(): number {
    return this.#seats.liveBlocks;
  }

  /** Native memory held by all managers in this slot. */
  get reservedBytes(): number {
    return this.#seats.reservedBytes;
  }

  /** The most native memory that all managers in this slot held at once, since the start or {@link resetPeak}. */
  get peakReservedBytes(): number {
    return this.#seats.peakReservedBytes;
  }

  /** Lets the peak start again from what is held now. */
  resetPeak(): void {
    this.#seats.resetPeak();
  }

  /** Native allocations of every manager that ever sat here. */
  get nativeAllocs(): number {
    return this.#seats.nativeAllocs;
  }

  /** Native frees of every manager that ever sat here. */
  get nativeFrees(): number {
    return this.#seats.nativeFrees;
  }

  /** Commits of pages by every manager that ever sat here. */
  get nativeCommits(): number {
    return this.#seats.nativeCommits;
  }

  /** Decommits of pages by every manager that ever sat here. */
  get nativeDecommits(): number {
    return this.#seats.nativeDecommits;
  }

  get closed(): boolean {
    return this.#seats.closed;
  }

  /** Live blocks and native bytes of each manager that sits here, the active one first. */
  usage(): { manager: MemoryManagerAdapter; liveBlocks: number; reservedBytes: number }[] {
    const all = this.#seats.all();
    return all.map(({ manager, liveBlocks, ledger }) => ({ manager, liveBlocks, reservedBytes: ledger.reservedBytes }));
  }

  /**
   * Fills a fresh manager's table with this slot's native functions, without making it active.
   *
   * @throws ERR_MEM_TABLE_IN_USE when the table serves another manager
   */
  fill(manager: MemoryManagerAdapter): void {
    this.#seats.fill(manager);
  }

  /**
   * Makes a manager the active one. A fresh one is initialised, a draining one goes on, the active one stays.
   *
   * @throws ERR_MEM_TABLE_IN_USE when the manager or its table serves another slot
   * @throws ERR_MEM_LIFECYCLE when the manager was shut down
   * @throws ERR_MEM_REENTRANT from inside initialize or shutdown
   */
  install(manager: MemoryManagerAdapter): void {
    this.#seats.install(manager);
  }

  /** Goes back to the slot's own default manager. Does nothing when none is installed. */
  unset(): void {
    this.#seats.unset();
  }

  /** Lets an observer see what happens here from now on. Costs nothing while there is none. */
  observe(observer: SlotObserver): void {
    this.#seats.observe(observer);
  }

  /** Takes back {@link observe}. */
  unobserve(observer: SlotObserver): void {
    this.#seats.unobserve(observer);
  }

  /** Checks that {@link close} may be called now. @throws ERR_MEM_REENTRANT, ERR_MEM_DISPOSED */
  checkClosable(): void {
    // Its seat is to count what the quiet manager is making.
    this.#setQuiet(this.#quietSeat);
    this.#seats.checkClosable();
  }

  /**
   * Shuts every manager down and frees all native memory, live blocks included. The slot serves nothing afterwards.
   *
   * @throws ERR_MEM_REENTRANT from inside initialize, shutdown or an allocation; nothing has changed then
   */
  close(): void {
    this.checkClosable();
    this.#seats.close();
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
    const manager = this.#quiet;
    // The plus tells V8 that this is a number, too, so that it need not box the one below.
    if (manager === undefined) return +this.#allocWatched(bytes, userLock, alignment, stream) as DevicePtr;
    const underway = this.#underway + 1;
    this.#underway = underway;
    let ptr = NULL_PTR;
    try {
      ptr = manager.allocBytes(bytes, userLock, alignment, stream);
    } catch (error) {
      this.#allocEnded(this.#seatOfAlloc(manager, underway), NULL_PTR);
      return +this.#allocAfterFailure(error, bytes, userLock, alignment, stream) as DevicePtr;
    }
    if (ptr === NULL_PTR || this.#underway !== underway) {
      return +this.#finishAlloc(this.#seatOfAlloc(manager, underway), ptr, bytes, userLock, alignment, stream) as DevicePtr;
    }
    this.#underway = underway - 1;
    return ptr;
  }

  /** The bytes of the live block that `ptr` heads, 0 if there is none. */
  allocated(ptr: DevicePtr): number {
    const seat = this.#seats.ownerOf(ptr) ?? this.#seats.active;
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
    const manager = this.#quiet;
    if (manager === undefined || ptr === NULL_PTR) this.#unlockAmongOthers(ptr, userUnlock);
    else manager.unlock(ptr, userUnlock);
  }

  /** @throws ERR_MEM_UNKNOWN_POINTER when no live block has that address */
  userLock(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) {
      this.#seats.active?.log.line('userLock', ptr);
      return;
    }
    const seat = this.#seats.liveOwnerOf(ptr);
    if (seat.log.enabled && seat.manager.allocated(ptr) > 0) seat.log.line('userLock', ptr);
    seat.manager.userLock(ptr);
  }

  /** Clears the user's lock. @throws as {@link unlock} */
  userUnlock(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) {
      this.#notes.nullFree('userUnlock');
      return;
    }
    const seat = this.#seats.ownerOf(ptr) ?? this.#seats.refuse(ptr);
    if (seat.log.watched) seat.unlockWatched(ptr, 'userUnlock', true);
    else seat.manager.userUnlock(ptr);
    this.#unlockEnded(seat, ptr);
  }

  isUserLocked(ptr: DevicePtr): boolean {
    const seat = this.#seats.ownerOf(ptr) ?? this.#seats.active;
    if (seat === undefined) return false;
    if (seat.log.enabled) seat.log.line('isUserLocked', ptr);
    return seat.manager.isUserLocked(ptr);
  }

  /** Marks a further stream that uses a block. */
  recordStream(ptr: DevicePtr, stream: number): void {
    this.#seats.liveOwnerOf(ptr).manager.recordStream(ptr, stream);
  }

  /** Where a live block was allocated, when its manager tracks that. */
  siteOf(ptr: DevicePtr): string | undefined {
    return this.#seats.ownerOf(ptr)?.manager.siteOf(ptr);
  }

  /** The manager's ticket for a live block; see {@link MemoryManagerAdapter.ticketOf}. */
  ticketOf(ptr: DevicePtr): number {
    return this.#seats.ownerOf(ptr)?.manager.ticketOf(ptr) ?? 0;
  }

  /** Makes every manager here give its cached memory back. */
  signalMemoryCleanup(): void {
    for (const seat of this.#seats.all()) {
      if (seat.log.enabled) seat.log.line('signalMemoryCleanup');
      this.#seats.observers.cleanup(seat.handle);
      seat.manager.signalMemoryCleanup();
    }
  }

  /** Writes each manager's report. */
  printInfo(message: string, device: number, sink?: LogSink): void {
    for (const seat of this.#seats.all()) seat.manager.printInfo(message, device, sink);
  }

  getMemoryPressure(): number {
    return this.#seats.active?.manager.getMemoryPressure() ?? 0;
  }

  jitTreeExceedsMemoryPressure(bytes: number): boolean {
    return this.#seats.active?.manager.jitTreeExceedsMemoryPressure(bytes) ?? false;
  }

  addMemoryManagement(device: number): void {
    for (const seat of this.#seats.all()) seat.manager.addMemoryManagement(device);
  }

  /** Makes every manager here stop managing a device. @throws ERR_MEM_DEVICE_BUSY; all of them go on managing it then */
  removeMemoryManagement(device: number): void {
    const removed: MemoryManagerAdapter[] = [];
    try {
      for (const { manager } of this.#seats.all()) {
        manager.removeMemoryManagement(device);
        removed.push(manager);
      }
    } catch (error) {
      for (const manager of removed) manager.addMemoryManagement(device);
      throw error;
    }
  }

  getMemStepSize(): number {
    return (this.#seats.active ?? this.#seats.start()).manager.getMemStepSize();
  }

  setMemStepSize(bytes: number): void {
    (this.#seats.active ?? this.#seats.start()).manager.setMemStepSize(bytes);
  }

  /** Gives the buffered log lines of every manager here to their sinks. */
  flushLogs(): void {
    for (const seat of this.#seats.all()) seat.log.flush();
  }

  #setQuiet(quiet: SeatedManager | undefined): void {
    if (this.#quietSeat !== undefined) this.#quietSeat.allocating += this.#underway;
    this.#underway = 0;
    this.#quietSeat = quiet;
    this.#quiet = quiet?.manager;
  }

  /**
   * The seat of a manager whose allocation ends: from now on the seat counts it as under way.
   *
   * @param underway - how many there were with this one while the manager was quiet
   */
  #seatOfAlloc(manager: MemoryManagerAdapter, underway: number): SeatedManager {
    // It counts this one already if the manager was quiet no more in between.
    if (this.#underway !== underway) return this.#seats.seatOf(manager) as SeatedManager;
    const seat = this.#quietSeat as SeatedManager;
    this.#underway = underway - 1;
    seat.allocating++;
    return seat;
  }

  /** As {@link alloc}, where there is more to do than to call the manager. */
  #allocWatched(bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    let ptr = NULL_PTR;
    try {
      ptr = this.#allocOnce(bytes, userLock, alignment, stream);
    } catch (error) {
      return this.#allocAfterFailure(error, bytes, userLock, alignment, stream);
    }
    if (ptr !== NULL_PTR || bytes === 0) return ptr;
    return this.#allocAfterFailure(this.#ladder.outOfMemory(bytes), bytes, userLock, alignment, stream);
  }

  /** The rest of the out-of-memory ladder, after the active manager has given back what it cached. */
  #allocAfterFailure(failure: unknown, bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    try {
      return this.#ladder.climb(failure, bytes, () => this.#allocOnce(bytes, userLock, alignment, stream));
    } catch (error) {
      // A number that is no size would make a line that cannot be read.
      if (Number.isSafeInteger(bytes) && bytes >= 0) this.#notes.refusal(error, bytes, userLock, stream);
      throw error;
    }
  }

  #allocOnce(bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    const seat = this.#seats.active ?? this.#seats.start();
    let ptr = NULL_PTR;
    seat.allocating++;
    try {
      ptr = seat.manager.allocBytes(bytes, userLock, alignment, stream);
    } finally {
      this.#allocEnded(seat, ptr);
    }
    if ((ptr !== NULL_PTR || bytes === 0) && seat.log.watched) this.#notes.alloc(seat, ptr, bytes, userLock, stream);
    return ptr;
  }

  /** What {@link alloc} has to do after the call unless the manager is quiet. */
  #finishAlloc(
    seat: SeatedManager,
    ptr: DevicePtr,
    bytes: number,
    userLock: boolean,
    alignment: number,
    stream: number,
  ): DevicePtr {
    this.#allocEnded(seat, ptr);
    if (ptr === NULL_PTR && bytes > 0) {
      return this.#allocAfterFailure(this.#ladder.outOfMemory(bytes), bytes, userLock, alignment, stream);
    }
    if (seat.log.watched) this.#notes.alloc(seat, ptr, bytes, userLock, stream);
    return ptr;
  }

  /** As {@link unlock} for a pointer whose owner is to be found, or that is watched. */
  #unlockAmongOthers(ptr: DevicePtr, userUnlock: boolean): void {
    if (ptr === NULL_PTR) {
      this.#notes.nullFree('unlock', userUnlock ? 1 : 0);
      return;
    }
    const seat = this.#seats.ownerOf(ptr) ?? this.#seats.refuse(ptr);
    if (seat.log.watched) seat.unlockWatched(ptr, 'unlock', userUnlock);
    else seat.manager.unlock(ptr, userUnlock);
    this.#unlockEnded(seat, ptr);
  }

  #allocEnded(seat: SeatedManager, ptr: DevicePtr): void {
    seat.allocating--;
    if (ptr !== NULL_PTR && !seat.countsItself) seat.counted++;
    if (seat !== this.#seats.active) this.#seats.settle(seat);
  }

  /** A manager that counts its blocks tells its slot itself what it has freed while it drains. */
  #unlockEnded(seat: SeatedManager, ptr: DevicePtr): void {
    if (seat.countsItself || seat.manager.allocated(ptr) > 0) return;
    seat.counted--;
    this.#seats.settle(seat);
  }
}
