import { NONE } from '../../src/blocks/block-rows.js';
import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { StreamOperations } from '../../src/core/device-interface.js';
import { waitForDefaultStream } from '../../src/core/device-stream.js';
import { DeviceStreams } from './device-streams.js';
import { leaveDone, UsedBlocks } from './used-blocks.js';

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
  readonly #streams: DeviceStreams;
  readonly #used: UsedBlocks;
  /** Those that have an event, oldest first. */
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
    this.#streams = new DeviceStreams(streams, heap.device);
    this.#used = new UsedBlocks(heap, this.#streams, (block) => heap.retire(block));
    this.idle = createBins(0);
  }

  /** All free blocks there are, of all streams. */
  get all(): readonly FreeBlocks[] {
    const all = [...this.idle.parts];
    for (const { fresh, sealed } of this.#bins.values()) all.push(...fresh.parts, ...sealed.parts);
    return all;
  }

  /** Tells whether blocks are free that no program may take yet. */
  get hasPending(): boolean {
    return this.#used.isWaiting || [...this.#bins.values()].some(({ fresh, sealed }) => isFilled(fresh) || isFilled(sealed));
  }

  /** What a stream's allocations are taken from first, and where its blocks go. @throws what the device throws for no stream */
  binsOf(stream: number): FreeBlocks {
    this.#streams.check(stream);
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
      return this.#used.isWaiting && this.#used.collect() ? own.take(bytes) : NONE;
    }
    block = this.#binsOf(stream).sealed.take(bytes);
    if (block === NONE) block = this.idle.take(bytes);
    if (block === NONE && this.collect()) block = this.#takeCollected(stream, bytes);
    if (block !== NONE) this.#heap.setOwner(block, own);
    return block;
  }

  /** Marks one more stream that uses a live block. @throws what the device throws for no stream */
  addUser(block: number, stream: number): void {
    this.#streams.check(stream);
    if (stream === this.#streamOf(block)) return;
    this.#used.add(block, stream);
  }

  /** Takes a block back that was freed and has users: it is free when all of them are done. */
  giveBack(block: number): void {
    this.#used.giveBack(block, this.#age++);
  }

  /** Records what was not, and makes free what is done. @returns whether anything is */
  collect(): boolean {
    let isAnyDone = this.#used.collect();
    if (this.#sealAll()) isAnyDone = true;
    const sealed = this.#sealed;
    this.#sealed = [];
    const isAnyReleased = leaveDone(
      sealed,
      (bins) => {
        if (!this.#streams.operations.query(bins.event!)) return false;
        this.#release(bins);
        return true;
      },
      (left) => (this.#sealed = left.concat(this.#sealed).filter(({ event }) => event !== undefined)),
    );
    return isAnyDone || isAnyReleased;
  }

  /** Waits for streams, the oldest event first, until `isEnough` or nothing is pending that can be waited for. */
  waitUntil(isEnough: () => boolean): void {
    while (!isEnough()) {
      // What came back from a wait is its stream's own.
      this.#sealAll();
      const sealed = this.#sealed[0];
      if (this.#used.isWaiting && this.#used.oldestAge < (sealed?.age ?? Number.POSITIVE_INFINITY)) {
        if (!this.#used.canWait) return;
        this.#used.waitForOldest();
      } else if (sealed !== undefined && !this.#streams.isCaptured(sealed.event!)) this.#waitForOldest();
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
      const event = this.#streams.record(bins.stream);
      if (bins.event !== undefined) {
        // The call came back with another one of this kind.
        if (event !== undefined) this.#streams.operations.destroy(event);
        continue;
      }
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
    this.#streams.operations.destroy(event);
  }

  #waitForOldest(): void {
    const oldest = this.#sealed.shift()!;
    try {
      this.#streams.operations.synchronize(oldest.event!);
    } catch (error) {
      this.#sealed.unshift(oldest);
      throw error;
    }
    this.#release(oldest);
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
