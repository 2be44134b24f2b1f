import type { EventEmitter } from 'eventemitter3';
import { attempt } from './attempt.js';
import { checkManager } from './check-given.js';
import type { NativeFunctions } from './device-interface.js';
import { MemoryError } from './errors.js';
import type { MemoryEvents, SlotKind } from './events.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { NativeCounters } from './native-ledger.js';
import { OwedMemory } from './owed-memory.js';
import { Seat, type SeatOptions } from './seat.js';
import { SlotCharges } from './slot-charges.js';
import { type SlotObserver, SlotObservers } from './slot-observer.js';
import type { DevicePtr } from './units.js';

/** What a slot is made of. */
export interface ManagerSlotOptions {
  readonly kind: SlotKind;
  /** What a program closes to close the slot, for errors. */
  readonly owner: string;
  /** The native functions that managers in this slot get. */
  readonly natives: NativeFunctions;
  /** The kind of the memory: `host` for that of this machine, else the device's name. */
  readonly memory: string;
  readonly events: EventEmitter<MemoryEvents>;
  /** Makes the manager that is installed by a first use before any other. @defaultValue the fallback serves, and none is installed */
  readonly createFirst?: (() => MemoryManagerAdapter) | undefined;
  /** Makes the manager that serves while none is installed. */
  readonly createFallback: () => MemoryManagerAdapter;
}

/** What a {@link SlotSeats.use} covers. */
interface Cover {
  seat: Seat;
  installed: boolean;
}

/**
 * Who sits in a slot: the manager that serves allocations, those that drain, and those that ended and still owe native memory.
 * Here it is decided whose a block is, and when a manager is initialised, retired and shut down.
 */
export abstract class SlotSeats extends NativeCounters {
  readonly kind: SlotKind;
  /** Who is charged with what managers here get natively. Budgets join. */
  readonly charges: SlotCharges;
  /** @internal */
  protected readonly options: ManagerSlotOptions;
  /** @internal */
  protected readonly observers = new SlotObservers();
  readonly #seatOptions: SeatOptions;
  /**
   * The active manager when its calls need nothing beside them: it is alone here, counts its blocks and its calls, and nobody
   * watches. The hot path looks no further.
   *
   * @internal
   */
  protected quiet: MemoryManagerAdapter | undefined;
  /** @internal */
  protected activeSeat: Seat | undefined;
  /** Whether a manager ever sat here that gives tickets. Blocks of others need not ask for theirs. @internal */
  givesTickets = false;
  #installed = false;
  /** Who sits here beside the active manager, the oldest first: those that drain, those of {@link keep}, and covered ones. */
  #others: readonly Seat[] = [];
  /** What was active before each {@link use} that has not ended, the oldest first. */
  #covered: Cover[] = [];
  /** @internal */
  protected readonly owed = new OwedMemory();
  /** The seats that managers will take: what one gets natively before is in the books too. */
  readonly #filled = new WeakMap<MemoryManagerAdapter, Seat>();
  #closed = false;
  #changing = false;

  constructor(options: ManagerSlotOptions) {
    super();
    this.kind = options.kind;
    this.options = options;
    this.charges = new SlotCharges(options.memory, () =>
      [...this.seats(), ...this.owed.seats].map(({ natives }) => natives.ledger),
    );
    this.#seatOptions = {
      natives: options.natives,
      charges: this.charges,
      observers: this.observers,
      counters: this,
      answered: () => this.owed.deviceAnswered(),
      settle: (seat) => this.settle(seat),
    };
  }

  /** The manager that serves allocations; null before the first one. */
  get active(): MemoryManagerAdapter | null {
    return this.activeSeat?.manager ?? null;
  }

  /** The manager that was installed; null when the slot's own default serves. */
  get installed(): MemoryManagerAdapter | null {
    return this.#installed ? this.active : null;
  }

  /** Managers that were replaced and still have live blocks, oldest first. */
  get draining(): readonly MemoryManagerAdapter[] {
    return this.#others.filter((seat) => seat.isDraining).map((seat) => seat.manager);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Live blocks of all managers in this slot. */
  get liveBlocks(): number {
    return this.seats().reduce((sum, seat) => sum + seat.liveBlocks, 0);
  }

  /**
   * Fills a fresh manager's table with this slot's native functions, without making it active. Does nothing for one that
   * sits here already.
   *
   * @throws ERR_MEM_TABLE_IN_USE when the table serves another manager
   * @throws ERR_MEM_LIFECYCLE when the manager was shut down
   */
  fill(manager: MemoryManagerAdapter): void {
    if (this.seatOf(manager) === undefined) this.#fill(manager);
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
    checkManager(manager);
    if (this.activeSeat?.manager === manager) this.#installed = true;
    else this.#makeActive(this.seatOf(manager) ?? this.#admit(manager), true);
  }

  /**
   * Makes a manager the active one until the function that is returned is called, which brings the former one back: it waits
   * here meanwhile, also without live blocks. Uses nest: one that ends below another leaves the active manager as it is. What
   * is installed meanwhile takes the place of the manager, and goes with it.
   *
   * @throws as {@link install}; so does the function that is returned, and may be called again
   */
  use(manager: MemoryManagerAdapter): () => void {
    const cover: Cover = { seat: this.activeSeat ?? this.start(), installed: this.#installed };
    this.#covered.push(cover);
    try {
      this.install(manager);
    } catch (error) {
      this.#covered = this.#covered.filter((other) => other !== cover);
      throw error;
    }
    return () => this.#uncover(cover);
  }

  /**
   * Lets a manager serve allocations by name, beside the active one, until {@link retire}.
   *
   * @throws as {@link install}
   */
  keep(manager: MemoryManagerAdapter): void {
    this.#checkChange('install');
    const seat = this.seatOf(manager) ?? this.#admit(manager);
    this.#serve(seat);
    if (seat !== this.activeSeat) this.#seatBeside(seat);
    seat.isKept = true;
  }

  /** Takes back {@link keep}: the manager drains, unless it is the active one. Does nothing for others. @throws ERR_MEM_REENTRANT */
  retire(manager: MemoryManagerAdapter): void {
    const seat = this.seatOf(manager);
    if (seat === undefined) return;
    this.#checkChange('retire');
    seat.isKept = false;
    if (seat !== this.activeSeat) this.#retire(seat);
  }

  /** Goes back to the slot's own default manager. Does nothing when none is installed. */
  unset(): void {
    this.#checkChange('unset');
    if (this.#installed) this.#makeActive(this.#admit(this.options.createFallback()), false);
  }

  /** Lets an observer see what happens here from now on. Costs nothing while there is none. */
  observe(observer: SlotObserver): void {
    this.observers.add(observer);
    this.#watch();
  }

  /** Takes back {@link observe}. */
  unobserve(observer: SlotObserver): void {
    this.observers.remove(observer);
    this.#watch();
  }

  /** Checks that {@link close} may be called now. @throws ERR_MEM_REENTRANT, ERR_MEM_DISPOSED */
  checkClosable(): void {
    this.#checkChange('close');
    if (this.seats().some((seat) => seat.underway > 0)) throw new MemoryError('ERR_MEM_REENTRANT', { operation: 'close' });
  }

  /**
   * Shuts every manager down and frees all native memory, live blocks included, once the streams that may work on it are
   * done: the default ones, and those that managers were told of. The slot serves nothing afterwards. What the device refused
   * stays in {@link usage}; {@link signalMemoryCleanup} tries it again.
   *
   * @throws ERR_MEM_REENTRANT from inside initialize, shutdown or a call under way of a manager; nothing has changed then
   */
  close(): void {
    this.checkClosable();
    const seats = this.seats();
    this.#closed = true;
    this.activeSeat = undefined;
    this.#installed = false;
    this.#others = [];
    this.#covered = [];
    this.#noteQuiet();
    this.owed.giveBack();
    for (const seat of seats) {
      if (seat.manager.lifecycle.state === 'active') seat.manager.lifecycle.enter('draining', seat.manager.name);
      this.#stop(seat);
    }
    this.charges.closed();
  }

  /** Everybody who serves, the active one first. @internal */
  protected seats(): Seat[] {
    return this.activeSeat === undefined ? [...this.#others] : [this.activeSeat, ...this.#others];
  }

  /** @internal */
  protected seatOf(manager: MemoryManagerAdapter): Seat | undefined {
    const active = this.activeSeat;
    return active?.manager === manager ? active : this.#others.find((seat) => seat.manager === manager);
  }

  /** The seat whose live block `ptr` heads. A manager that is alone and counts its blocks refuses itself what it does not own. @internal */
  protected ownerOf(ptr: DevicePtr): Seat | undefined {
    const active = this.activeSeat;
    if (active !== undefined && ((this.#others.length === 0 && active.countsItself) || active.owns(ptr))) return active;
    return this.#others.find((seat) => seat.owns(ptr));
  }

  /** As {@link ownerOf}. @throws ERR_MEM_UNKNOWN_POINTER when no manager here has such a live block @internal */
  protected liveOwnerOf(ptr: DevicePtr): Seat {
    const seat = this.ownerOf(ptr);
    if (seat === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return seat;
  }

  #watch(): void {
    for (const seat of this.seats()) seat.watch();
  }

  #noteQuiet(): void {
    const seat = this.activeSeat;
    this.quiet = seat?.isQuiet === true && this.#others.length === 0 ? seat.manager : undefined;
  }

  /** Makes the manager that serves from the first use on. @internal */
  protected start(): Seat {
    this.#checkChange('alloc');
    const { createFirst, createFallback } = this.options;
    this.#makeActive(this.#admit((createFirst ?? createFallback)()), createFirst !== undefined);
    // A listener may have installed another one meanwhile, or closed the slot.
    if (this.activeSeat === undefined) throw new MemoryError('ERR_MEM_DISPOSED', { what: this.options.owner });
    return this.activeSeat;
  }

  #fill(manager: MemoryManagerAdapter): Seat {
    checkManager(manager);
    manager.checkMethods();
    if (manager.lifecycle.state === 'stopped') manager.lifecycle.check('active', manager.name);
    manager.deviceInterface.checkClaim(manager, this);
    let seat = this.#filled.get(manager);
    if (seat === undefined) {
      seat = new Seat(manager, this.#seatOptions);
      this.#filled.set(manager, seat);
    }
    seat.natives.fillTable();
    return seat;
  }

  /** Takes a fresh manager in: claims and fills its table, initialises it. */
  #admit(manager: MemoryManagerAdapter): Seat {
    const seat = this.#fill(manager);
    manager.deviceInterface.claim(manager, this);
    this.#filled.delete(manager);
    seat.enter(() => this.#noteQuiet());
    this.givesTickets ||= manager.givesTickets;
    this.#changing = true;
    try {
      seat.log.line('initialize');
      manager.initialize();
    } catch (error) {
      this.owed.add(seat);
      seat.leave();
      throw error;
    } finally {
      this.#changing = false;
    }
    return seat;
  }

  #makeActive(seat: Seat, installed: boolean): void {
    const previous = this.activeSeat;
    this.#serve(seat);
    this.#others = this.#others.filter((other) => other !== seat);
    this.activeSeat = seat;
    this.#installed = installed;
    this.#noteQuiet();
    this.observers.tell((observer) => observer.swap(seat.handle, previous?.handle ?? 0));
    try {
      if (previous !== undefined) this.#retire(previous);
    } finally {
      const event = { slot: this.kind, current: seat.manager, previous: previous?.manager ?? null };
      attempt(() => this.options.events.emit('swap', event));
    }
  }

  /** Lets a manager get allocations; one that was covered or kept does already. */
  #serve(seat: Seat): void {
    const { lifecycle, name } = seat.manager;
    if (lifecycle.state !== 'active') lifecycle.enter('active', name);
    seat.watch();
  }

  /** Lets a seat drain that is not the active one, unless somebody still needs it there. */
  #retire(seat: Seat): void {
    this.#seatBeside(seat);
    if (seat.isKept || seat.isDraining || this.#covered.some((cover) => cover.seat === seat)) return;
    seat.manager.lifecycle.enter('draining', seat.manager.name);
    seat.watch();
    this.settle(seat, true);
  }

  #seatBeside(seat: Seat): void {
    if (!this.#others.includes(seat)) this.#others = [...this.#others, seat];
    this.#noteQuiet();
  }

  #uncover(cover: Cover): void {
    const level = this.#covered.indexOf(cover);
    if (level === -1) return;
    this.#checkChange('install');
    const above = this.#covered[level + 1];
    this.#covered.splice(level, 1);
    if (above === undefined) {
      this.#installed = cover.installed;
      if (cover.seat !== this.activeSeat) this.#makeActive(cover.seat, cover.installed);
      return;
    }
    const { seat } = above;
    above.seat = cover.seat;
    above.installed = cover.installed;
    if (seat !== this.activeSeat) this.#retire(seat);
  }

  /** Goes on with a seat that drains, after a call that may have freed its last block. @internal */
  protected settle(seat: Seat, isNew = false): void {
    if (seat === this.activeSeat || !seat.isDraining || (this.#closed && !isNew)) return;
    const { claims } = seat;
    if (claims === 0) this.#stop(seat);
    else if (isNew || (claims & (claims - 1)) === 0) {
      // What a draining manager caches nobody will use. Cleaning up at powers of two costs O(log) times.
      attempt(() => seat.manager.signalMemoryCleanup());
    }
  }

  /** Stops the managers whose last claim was a call that has ended. @internal */
  protected stopIdle(): void {
    for (const seat of this.#others) if (seat.isDraining && seat.claims === 0) this.#stop(seat);
  }

  #stop(seat: Seat): void {
    this.#others = this.#others.filter((other) => other !== seat);
    this.#noteQuiet();
    seat.manager.lifecycle.enter('stopped', seat.manager.name);
    seat.watch();
    seat.log.line('shutdown');
    const changing = this.#changing;
    this.#changing = true;
    try {
      attempt(() => seat.manager.shutdown());
    } finally {
      this.#changing = changing;
    }
    this.owed.add(seat);
    seat.leave();
    attempt(() => this.options.events.emit('stopped', { slot: this.kind, manager: seat.manager }));
  }

  /** @throws ERR_MEM_REENTRANT, ERR_MEM_DISPOSED when the seats cannot change now */
  #checkChange(operation: string): void {
    if (this.#changing) throw new MemoryError('ERR_MEM_REENTRANT', { operation });
    if (this.#closed) throw new MemoryError('ERR_MEM_DISPOSED', { what: this.options.owner });
  }
}
