import { NONE } from '../../src/blocks/block-rows.js';
import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { StreamOperations } from '../../src/core/device-interface.js';
import { waitForDefaultStream } from '../../src/core/device-stream.js';
import { MemoryError } from '../../src/core/errors.js';

/** The free blocks of a stream: it may use all of them, others those before `event` once that is done. */
interface StreamBins {
  readonly stream: number;
  /** Freed since the last event. */
  readonly fresh: FreeBlocks;
  /** Freed before the event. */
  readonly sealed: FreeBlocks;
  event: number | undefined;
  /** When the event was recorded: the lower, the older. */
  age: number;
}

/** A block that was freed while streams that were recorded as its users may work on it. */
interface UsedBlock {
  readonly block: number;
  /** One of each user, recorded at the free. */
  readonly events: number[];
  readonly age: number;
}

/**
 * The free blocks of one device in the order of its streams.
 *
 * A block that a stream's program frees is the stream's own: the stream may take it at once, since its work runs in
 * order. Others may when an event that was recorded on the stream after the free is done; the block is `idle` then.
 * A block that has further users comes back when an event of each is done. Events are recorded when another stream finds
 * no memory, and looked at then; when the device has none left, the oldest are waited for.
 *
 * While only stream 0 was ever used, all free blocks are in `idle` and nothing is recorded.
 */
export class StreamOrder {
  readonly idle: FreeBlocks;
  readonly #heap: DeviceHeap;
  readonly #createBins: (group: number) => FreeBlocks;
  readonly #deviceStreams: () => StreamOperations | undefined;
  readonly #bins = new Map<number, StreamBins>();
  readonly #known = new Set<number>();
  readonly #users = new Map<number, Set<number>>();
  /** Oldest first, each. */
  #used: UsedBlock[] = [];
  #sealed: StreamBins[] = [];
  #groups = 1;
  #age = 0;

  /**
   * @param createBins - makes free blocks of a group
   * @param streams - the device's; without them no stream but 0 is named
   */
  constructor(heap: DeviceHeap, createBins: (group: number) => FreeBlocks, streams: () => StreamOperations | undefined) {
    this.#heap = heap;
    this.#createBins = createBins;
    this.#deviceStreams = streams;
    this.idle = createBins(0);
  }

  /** All free blocks there are, of all streams. */
  get all(): readonly FreeBlocks[] {
    return [this.idle, ...[...this.#bins.values()].flatMap(({ fresh, sealed }) => [fresh, sealed])].flatMap((bins) => bins.parts);
  }

  /** Tells whether blocks are free that no program may take yet. */
  get hasPending(): boolean {
    return this.#used.length > 0 || [...this.#bins.values()].some(({ fresh, sealed }) => isFilled(fresh) || isFilled(sealed));
  }

  /** What a stream's allocations are taken from first, and where its blocks go. @throws what the device throws for no stream */
  binsOf(stream: number): FreeBlocks {
    this.#check(stream);
    if (this.#bins.size === 0) {
      if (stream === 0) return this.idle;
      this.#separate();
    }
    return this.#binsOf(stream).fresh;
  }

  /** Takes a block that a stream may use now out of any bins, or gives NONE. */
  take(stream: number, bytes: number): number {
    const own = this.binsOf(stream);
    let block = own.take(bytes);
    if (block !== NONE) return block;
    if (this.#bins.size === 0) {
      // One of the blocks that others used may have come back since.
      return this.#used.length > 0 && this.#collectUsed() ? own.take(bytes) : NONE;
    }
    block = this.#binsOf(stream).sealed.take(bytes);
    if (block === NONE) block = this.idle.take(bytes);
    if (block === NONE && this.collect()) block = this.#takeCollected(stream, bytes);
    if (block !== NONE) this.#heap.setOwner(block, own);
    return block;
  }

  /** Marks one more stream that uses a live block. @throws what the device throws for no stream */
  addUser(block: number, stream: number): void {
    this.#check(stream);
    if (stream === this.#streamOf(block)) return;
    const users = this.#users.get(block);
    if (users === undefined) this.#users.set(block, new Set([stream]));
    else users.add(stream);
    this.#heap.setUsed(block);
  }

  /** Takes a block back that was freed and has users: it is free when all of them are done. */
  giveBack(block: number): void {
    const users = this.#users.get(block)!;
    const events: number[] = [];
    try {
      for (const stream of users) {
        const event = this.#record(stream);
        if (event !== undefined) events.push(event);
      }
    } catch (error) {
      for (const event of events) this.#streams().destroy(event);
      throw error;
    }
    this.#users.delete(block);
    this.#used.push({ block, events, age: this.#age++ });
  }

  /** Records what was not, and makes free what is done. @returns whether anything is */
  collect(): boolean {
    let isAnyDone = this.#collectUsed();
    if (this.#sealAll()) isAnyDone = true;
    try {
      for (const bins of this.#sealed) {
        if (!this.#streams().query(bins.event!)) continue;
        isAnyDone = true;
        this.#release(bins);
      }
    } finally {
      this.#sealed = this.#sealed.filter(({ event }) => event !== undefined);
    }
    return isAnyDone;
  }

  /** Waits for streams, the oldest event first, until `isEnough` or nothing is pending. */
  waitUntil(isEnough: () => boolean): void {
    while (!isEnough()) {
      // What came back from a wait is its stream's own.
      this.#sealAll();
      const used = this.#used[0];
      const sealed = this.#sealed[0];
      if (used !== undefined && (sealed === undefined || used.age < sealed.age)) this.#waitForUsed(used);
      else if (sealed !== undefined) this.#waitForSealed(sealed);
      else return;
    }
  }

  /**
   * Waits for stream 0 while it alone is used: what it has freed is idle then, though it may work on it. Memory that goes
   * back to the device must not be worked on.
   */
  settle(): void {
    if (this.#bins.size === 0) waitForDefaultStream(this.#deviceStreams(), this.#heap.device);
  }

  /** Records an event on a stream that was seen before; undefined when it was closed since, which its work was done by. */
  #record(stream: number): number | undefined {
    const streams = this.#streams();
    try {
      // A free or a cleanup may come while another device is active.
      return streams.record(stream === 0 ? streams.defaultStream(this.#heap.device) : stream);
    } catch (error) {
      if (stream !== 0 && MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) return undefined;
      throw error;
    }
  }

  /** Has the device look at a stream when it is first named: an event that fails later would fail a free. */
  #check(stream: number): void {
    if (stream === 0 || this.#known.has(stream)) return;
    this.#streams().destroy(this.#streams().record(stream));
    this.#known.add(stream);
  }

  /** From now on each stream has bins of its own, stream 0 too: what is free or live is stream 0's. */
  #separate(): void {
    const { fresh } = this.#binsOf(0);
    this.idle.moveAllTo(fresh);
    for (const block of this.#heap) {
      if (!this.#heap.isHole(block) && !this.#heap.isInBins(block)) this.#heap.setOwner(block, fresh);
    }
  }

  #binsOf(stream: number): StreamBins {
    let bins = this.#bins.get(stream);
    if (bins === undefined) {
      bins = {
        stream,
        fresh: this.#createBins(this.#groups++),
        sealed: this.#createBins(this.#groups++),
        event: undefined,
        age: 0,
      };
      this.#bins.set(stream, bins);
    }
    return bins;
  }

  #takeCollected(stream: number, bytes: number): number {
    // What others used belongs to the stream it was allocated on, which may be this one.
    const block = this.#binsOf(stream).fresh.take(bytes);
    return block === NONE ? this.idle.take(bytes) : block;
  }

  /** @returns whether blocks of closed streams became idle */
  #sealAll(): boolean {
    let isAnyIdle = false;
    for (const bins of this.#bins.values()) {
      if (bins.event !== undefined || !isFilled(bins.fresh)) continue;
      const event = this.#record(bins.stream);
      if (event === undefined) {
        bins.fresh.moveAllTo(this.idle);
        isAnyIdle = true;
        continue;
      }
      bins.event = event;
      bins.age = this.#age++;
      this.#sealed.push(bins);
      bins.fresh.moveAllTo(bins.sealed);
    }
    return isAnyIdle;
  }

  #release(bins: StreamBins): void {
    const event = bins.event!;
    bins.event = undefined;
    bins.sealed.moveAllTo(this.idle);
    this.#streams().destroy(event);
  }

  #waitForSealed(oldest: StreamBins): void {
    this.#streams().synchronize(oldest.event!);
    this.#sealed.shift();
    this.#release(oldest);
  }

  #waitForUsed({ block, events }: UsedBlock): void {
    while (events.length > 0) {
      this.#streams().synchronize(events.at(-1)!);
      this.#streams().destroy(events.pop()!);
    }
    this.#used.shift();
    this.#heap.retire(block);
  }

  #collectUsed(): boolean {
    const used = this.#used;
    const waiting: UsedBlock[] = [];
    let looked = 0;
    try {
      for (; looked < used.length; looked++) {
        const { block, events } = used[looked]!;
        if (this.#areDone(events)) this.#heap.retire(block);
        else waiting.push(used[looked]!);
      }
    } finally {
      // A stream that cannot be asked leaves the rest as it is.
      this.#used = waiting.concat(used.slice(looked));
    }
    return this.#used.length < used.length;
  }

  /** Destroys events that are done, up to one that is not. */
  #areDone(events: number[]): boolean {
    while (events.length > 0) {
      if (!this.#streams().query(events.at(-1)!)) return false;
      this.#streams().destroy(events.pop()!);
    }
    return true;
  }

  #streams(): StreamOperations {
    return this.#deviceStreams()!;
  }

  #streamOf(block: number): number {
    const group = this.#heap.groupOf(block);
    for (const { stream, fresh } of this.#bins.values()) if (fresh.group === group) return stream;
    return 0;
  }
}

function isFilled(bins: FreeBlocks): boolean {
  return bins.parts.some((part) => !part.isEmpty || part.deferredBytes > 0);
}
