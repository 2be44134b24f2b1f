import { attempt } from './attempt.js';
import type { LogSink } from './call-log.js';
import type { EventRing } from './event-ring.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { processState } from './process-state.js';
import type { Seat } from './seat.js';
import { HOST_MEMORY } from './slot-charges.js';
import type { RareEvents } from './slot-observer.js';
import { SlotSeats } from './slot-seats.js';

/** What is done with all managers of a slot alike: they clean up, give parts of what they cache back, report, take devices in, are recorded. */
export abstract class SlotUpkeep extends SlotSeats {
  /** Takes the allocations and frees here, also of a quiet manager. @internal */
  protected ring: EventRing | undefined;
  /** Frees that failed, and that nobody else makes again. */
  #undone: (() => void)[] = [];

  /** How many devices managers here serve. */
  get deviceCount(): number {
    return this.options.natives.deviceCount ?? 1;
  }

  /**
   * Live blocks and native bytes of each manager that sits here, the active one first; last those that have stopped and
   * could not give everything back.
   */
  usage(): { manager: MemoryManagerAdapter; liveBlocks: number; reservedBytes: number }[] {
    return [...this.seats(), ...this.owed.seats].map(({ manager, liveBlocks, natives }) => ({
      manager,
      liveBlocks: manager.lifecycle.state === 'stopped' ? 0 : liveBlocks,
      reservedBytes: natives.ledger.reservedBytes,
    }));
  }

  /**
   * The native memory of each manager that sits here, and of those that could not give everything back: address and bytes. Of a
   * reserved range all addresses are given.
   *
   * @internal
   */
  nativeMemory(): { manager: MemoryManagerAdapter; pieces: (readonly [start: number, bytes: number])[] }[] {
    return [...this.seats(), ...this.owed.seats].map(({ manager, natives }) => ({
      manager,
      pieces: natives.ledger.all().map(([ptr, { bytes, rangeBytes }]) => [ptr, Math.max(bytes, rangeBytes)] as const),
    }));
  }

  /**
   * Makes every manager here give its cached memory back, and tries again what the device refused to take back.
   *
   * @throws the first error of a manager, after all of them were told
   */
  signalMemoryCleanup(): void {
    const errors = this.#cleanUp(true);
    if (errors.length > 0) throw errors[0];
  }

  /**
   * Gives cached native memory of a device back: what stopped managers owe, then what managers cache, those that drain first
   * and the active one last. It stops as soon as the slot holds `wantedBytes` less, and makes it hold no more than `mostBytes`
   * less; but native calls that succeed also make the device take what it refused before. May be called from inside a native
   * call of a manager here. No line is logged for it, and no observer told of a cleanup. Never throws: an error of a
   * manager becomes a process warning.
   *
   * @returns by how many bytes less the slot holds
   */
  releaseCached(device: number, wantedBytes: number, mostBytes: number): number {
    const before = this.reservedBytes;
    const given = () => before - this.reservedBytes;
    if (wantedBytes > 0) this.owed.giveBack(mostBytes);
    const place = (seat: Seat) => (seat.isDraining ? 0 : seat === this.activeSeat ? 2 : 1);
    for (const { manager } of this.seats().sort((a, b) => place(a) - place(b))) {
      const gave = given();
      if (!(gave < wantedBytes)) break;
      attempt(() => manager.releaseCached(device, wantedBytes - gave, mostBytes - gave));
    }
    this.stopIdle();
    return given();
  }

  /**
   * Makes a free that nobody else makes again: at once, and at each cleanup until it succeeds. Never throws: a failure becomes a
   * process warning.
   *
   * @internal
   */
  ensureFreed(free: () => void): void {
    attempt(() => {
      try {
        free();
      } catch (error) {
        this.#undone.push(free);
        throw error;
      }
    });
  }

  /** Writes each manager's report. */
  printInfo(message: string, device: number, sink?: LogSink): void {
    for (const seat of this.seats()) seat.manager.printInfo(message, device, sink);
  }

  /** Gives the buffered log lines of every manager here to their sinks. */
  flushLogs(): void {
    for (const seat of this.seats()) seat.log.flush();
  }

  addMemoryManagement(device: number): void {
    for (const seat of this.seats()) seat.manager.addMemoryManagement(device);
  }

  /** Makes every manager here stop managing a device. @throws ERR_MEM_DEVICE_BUSY; all of them go on managing it then */
  removeMemoryManagement(device: number): void {
    const removed: MemoryManagerAdapter[] = [];
    try {
      for (const { manager } of this.seats()) {
        manager.removeMemoryManagement(device);
        removed.push(manager);
      }
    } catch (error) {
      for (const manager of removed) manager.addMemoryManagement(device);
      throw error;
    }
  }

  /** As {@link signalMemoryCleanup}, unlogged. @returns whether the slot holds less now @internal */
  protected giveCachedBack(): boolean {
    const before = this.reservedBytes;
    for (const error of this.#cleanUp(false)) {
      attempt(() => {
        throw error;
      });
    }
    return this.reservedBytes < before;
  }

  /** Has the C library give back what it keeps free. @returns whether that was as much as is asked for @internal */
  protected trimHeap(bytes: number): boolean {
    const { trimNativeHeap } = processState();
    if (trimNativeHeap === undefined || this.charges.memory !== HOST_MEMORY) return false;
    let freed = 0;
    attempt(() => {
      freed = trimNativeHeap();
    });
    return freed >= bytes;
  }

  /** Has every manager here give its cached memory back, and the device what stopped ones owe. @returns what managers threw */
  #cleanUp(isLogged: boolean): unknown[] {
    const errors: unknown[] = [];
    processState().handleWatch?.letGo();
    for (const seat of this.seats()) {
      if (isLogged) seat.log.line('signalMemoryCleanup');
      this.observers.tell((observer) => observer.cleanup(seat.handle));
      try {
        seat.manager.signalMemoryCleanup();
      } catch (error) {
        errors.push(error);
      }
    }
    this.stopIdle();
    this.owed.giveBack();
    const undone = this.closed ? [] : this.#undone.splice(0);
    for (const free of undone) this.ensureFreed(free);
    return errors;
  }

  /**
   * Has a ring take the allocations and frees here, at some nanoseconds each, and tells of all other events. Takes the place of what was
   * set before.
   *
   * @param ring - undefined ends it
   * @internal
   */
  setRing(ring: EventRing | undefined, rare: RareEvents | undefined): void {
    this.ring = ring;
    this.observers.setRare(rare);
  }

  /** Whether a ring takes the allocations and frees here. @internal */
  get hasRing(): boolean {
    return this.ring !== undefined;
  }
}
