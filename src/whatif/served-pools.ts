import { PyTorchMemoryManager } from '../../managers/pytorch/pytorch-memory-manager.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { MemoryError } from '../core/errors.js';
import type { ManagerFactory } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { type DevicePtr, NULL_PTR } from '../core/units.js';
import { OTHER_STREAM } from './card-streams.js';
import type { EarlierMemory } from './earlier-state.js';
import type { NumberCard } from './number-card.js';

/**
 * The managers of one run, on one card. PyTorch's has private pools itself; of any other there is one for each pool. One that
 * refuses streams serves all of them as one, and has its blocks back at once.
 */
export class ServedPools {
  readonly card: NumberCard;
  readonly managers: MemoryManagerAdapter[] = [];
  /** Whether a manager refused streams. */
  refusesStreams = false;
  readonly #create: ManagerFactory;
  readonly #byPool = new Map<number, MemoryManagerAdapter>();
  #pool = 0;
  #current: MemoryManagerAdapter;

  constructor(card: NumberCard, create: ManagerFactory) {
    this.card = card;
    this.#create = create;
    this.#current = this.#open(0);
  }

  /** The name of the managers. */
  get name(): string {
    return this.#current.name;
  }

  /** Has the next allocations come from a pool. */
  select(pool: number): void {
    if (pool === this.#pool) return;
    this.#pool = pool;
    if (this.#current instanceof PyTorchMemoryManager) this.#current.usePool(pool);
    else this.#current = this.#byPool.get(pool) ?? this.#open(pool);
  }

  /** Allocates from the pool that is selected. @returns null when it is refused */
  alloc(bytes: number, stream: number): DevicePtr {
    this.card.stream = stream;
    try {
      return this.#current.allocBytes(bytes, true, 0, this.refusesStreams ? 0 : stream);
    } catch (error) {
      return this.#allocAfter(error, bytes, stream);
    }
  }

  /** The bytes of a live block, as its manager rounded them up. */
  blockBytes(ptr: DevicePtr): number {
    return this.#current.allocated(ptr) || this.#ownerOf(ptr).allocated(ptr);
  }

  free(ptr: DevicePtr): void {
    if (this.managers.length === 1) this.#current.unlock(ptr, true);
    else this.#ownerOf(ptr).unlock(ptr, true);
  }

  /** Frees a block that a stream still uses. @returns the events that stand for the end of that */
  freeInUse(ptr: DevicePtr): readonly number[] {
    const { streams } = this.card;
    if (!this.refusesStreams) {
      try {
        this.#ownerOf(ptr).recordStream(ptr, OTHER_STREAM);
      } catch (error) {
        if (!MemoryError.is(error, 'ERR_MEM_UNSUPPORTED_PLATFORM')) throw error;
        this.refusesStreams = true;
      }
    }
    streams.recorded = [];
    this.free(ptr);
    return streams.recorded;
  }

  /** Takes segments over that were there before the recording. @returns the addresses of their live blocks, segment by segment */
  restore(memory: readonly EarlierMemory[]): DevicePtr[][] {
    const manager = this.#current as PyTorchMemoryManager;
    const { card } = this;
    const given = memory.filter(({ expandable }) => !expandable).map(({ segment }) => segment);
    card.addresses.occupy(given);
    for (const { address, bytes, stream } of given) card.enter(address, bytes, stream);
    const pointers = memory.map(({ segment }) => {
      card.stream = segment.stream;
      return manager.restoreSegment(segment);
    });
    // What was there was got before.
    card.nativeAllocs = 0;
    return pointers;
  }

  /** Has all managers give back what they cache. */
  cleanUp(): void {
    for (const manager of this.managers) manager.signalMemoryCleanup();
  }

  /** Adds up a counter of all managers. */
  sum(counter: 'retries' | 'ooms'): number {
    return this.managers.reduce((sum, manager) => sum + (manager.stats(0)?.[counter] ?? 0), 0);
  }

  /** Ends the managers. @param live - their live blocks */
  close(live: Iterable<DevicePtr>): void {
    for (const ptr of live) this.free(ptr);
    for (const manager of this.managers) manager.shutdown();
  }

  #allocAfter(error: unknown, bytes: number, stream: number): DevicePtr {
    if (MemoryError.is(error, 'ERR_MEM_UNSUPPORTED_PLATFORM') && stream !== 0 && !this.refusesStreams) {
      this.refusesStreams = true;
      return this.alloc(bytes, stream);
    }
    if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
    const { nativeFrees } = this.card;
    for (const manager of this.managers) if (manager !== this.#current) manager.signalMemoryCleanup();
    if (this.card.nativeFrees === nativeFrees) return NULL_PTR;
    try {
      return this.#current.allocBytes(bytes, true, 0, this.refusesStreams ? 0 : stream);
    } catch (again) {
      if (!MemoryError.is(again, 'ERR_MEM_OUT_OF_MEMORY')) throw again;
      return NULL_PTR;
    }
  }

  #ownerOf(ptr: DevicePtr): MemoryManagerAdapter {
    if (this.managers.length === 1) return this.#current;
    return this.managers.find((manager) => manager.allocated(ptr) > 0) ?? this.#current;
  }

  #open(pool: number): MemoryManagerAdapter {
    const table = new MemoryManagerDeviceInterface();
    const { card } = this;
    Object.assign(table, {
      deviceCount: card.deviceCount,
      virtual: card.virtual,
      streams: card.streams,
      getActiveDeviceId: () => 0,
      getMaxMemorySize: () => card.getMaxMemorySize(),
      nativeAlloc: (bytes: number, alignment?: number) => card.nativeAlloc(bytes, alignment),
      nativeFree: (ptr: DevicePtr) => card.nativeFree(ptr),
      getMemoryPressureThreshold: () => card.getMemoryPressureThreshold(),
      setMemoryPressureThreshold: (value: number) => card.setMemoryPressureThreshold(value),
    });
    const manager = this.#create(card.deviceCount, table);
    manager.initialize();
    this.managers.push(manager);
    this.#byPool.set(pool, manager);
    return manager;
  }
}
