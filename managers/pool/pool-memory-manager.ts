import { NONE } from '../../src/blocks/block-table.js';
import { RangeHash } from '../../src/blocks/range-hash.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { alignUp, KiB } from '../../src/core/units.js';
import { BlockMemoryManager, type ManagerOptions } from '../policy/block-memory-manager.js';
import type { Backing, BackingParts } from './backing.js';
import { PageBacking } from './page-backing.js';
import { HOLE, PoolHeap } from './pool-heap.js';
import { SegmentBacking } from './segment-backing.js';

/** All sizes and addresses are multiples of it. */
const UNIT_BYTES = 16;
const MAX_INT32_UNITS_BYTES = 2 ** 31 - UNIT_BYTES;
const DEFAULT_SLACK = 0.03;
/** Pages below it cost native calls and save little. */
const DEFAULT_PAGE_BYTES = 16 * KiB;

export interface PoolMemoryManagerOptions extends ManagerOptions {
  /**
   * How much more than the peak of live bytes a pool may hold before whole free pages are given back, as a share.
   * @defaultValue 0.03
   */
  readonly slack?: number | undefined;
  /**
   * Bytes that are committed and decommitted as one: a multiple of the device's granularity.
   * @defaultValue the device's granularity, at least 16 KiB
   */
  readonly granularityBytes?: number | undefined;
}

interface Pool {
  readonly heap: PoolHeap;
  readonly backing: Backing;
}

/**
 * The manager to pick unless there is a reason for another: blocks of any size side by side in a reserved range of
 * addresses, in units of 16 B, by best fit. Pages get memory when a block needs them, and give it back before the pool
 * would hold more than the peak of its live bytes and a slack. Small freed blocks wait in a bounded front for a request
 * of their size. Where the device has no virtual memory, native segments take the place of pages.
 *
 * Per device: `reserved == committed bytes`, `reserved <= peak live * (1 + slack)` as long as whole pages are free,
 * and the invariants of {@link BlockMemoryManager}.
 */
export class PoolMemoryManager extends BlockMemoryManager {
  readonly #pools: (Pool | undefined)[] = [];
  readonly #slack: number;
  readonly #granularityBytes: number | undefined;
  // What every block's address is a multiple of: less than a unit when a table ignores alignments.
  #blockAlignment = UNIT_BYTES;

  /**
   * @param deviceCount - devices managed from the start
   * @throws ERR_MEM_INVALID_ARGUMENT for a slack that is negative or no number, or a granularity that is no size
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: PoolMemoryManagerOptions = {}) {
    super(deviceCount, deviceInterface, options, new RangeHash());
    const { slack = DEFAULT_SLACK, granularityBytes } = options;
    if (!(slack >= 0 && slack < Number.POSITIVE_INFINITY)) throw bad('slack', slack, 'a share from 0 on, such as 0.03');
    if (granularityBytes !== undefined && !(Number.isSafeInteger(granularityBytes) && granularityBytes > 0)) {
      throw bad('granularityBytes', granularityBytes, 'a positive number of bytes');
    }
    this.#slack = slack;
    this.#granularityBytes = granularityBytes;
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT when the granularity is no multiple of the device's */
  override initialize(): void {
    this.#pageBytes();
  }

  override removeMemoryManagement(device: number): void {
    super.removeMemoryManagement(device);
    this.#pools[device] = undefined;
  }

  override getMemStepSize(): number {
    return UNIT_BYTES;
  }

  override get metadataBytes(): number {
    return this.#pools.reduce(
      (bytes, pool) => (pool === undefined ? bytes : bytes + pool.heap.metadataBytes + pool.backing.metadataBytes),
      super.metadataBytes,
    );
  }

  protected place(bytes: number, alignment: number, _stream: number, device: number): number {
    const size = bytes <= MAX_INT32_UNITS_BYTES ? (bytes + UNIT_BYTES - 1) & -UNIT_BYTES : alignUp(bytes, UNIT_BYTES);
    const pool = this.#pools[device] ?? this.#open(device);
    if (alignment > this.#blockAlignment) return this.#placeAligned(size, alignment, pool, device, bytes);
    const taken = pool.heap.take(size);
    if (taken !== NONE) return taken;
    const block = this.#makeFree(size, pool, device, bytes);
    // Only now is it known what the first segment's address is a multiple of.
    if (alignment > this.#blockAlignment) return this.#placeAligned(size, alignment, pool, device, bytes);
    pool.heap.cut(block, size);
    return block;
  }

  protected reclaim(block: number): void {
    this.#pools[this.blocks.deviceOf(block)]!.heap.giveBack(block);
  }

  protected trim(device: number): void {
    const pool = this.#pools[device];
    if (pool === undefined) return;
    pool.heap.flush();
    pool.backing.trim();
    pool.backing.close();
  }

  protected override isReserved(block: number): boolean {
    return !(this.blocks.isFree(block) && this.blocks.poolOf(block) === HOLE);
  }

  override checkInvariants(): void {
    super.checkInvariants();
    this.#pools.forEach((pool, device) => {
      pool?.heap.checkInvariants(device);
    });
  }

  #pageBytes(): number {
    const granularityBytes = this.deviceInterface.virtual?.granularityBytes;
    if (granularityBytes === undefined) return 0;
    const pageBytes = this.#granularityBytes ?? alignUp(Math.max(granularityBytes, DEFAULT_PAGE_BYTES), granularityBytes);
    if (pageBytes % granularityBytes === 0 && pageBytes % UNIT_BYTES === 0) return pageBytes;
    throw bad('granularityBytes', pageBytes, `a multiple of the device's ${granularityBytes} bytes`);
  }

  #open(device: number): Pool {
    const { virtual } = this.deviceInterface;
    const heap = new PoolHeap(this.blocks, this.addresses, virtual !== undefined);
    const parts: BackingParts = {
      heap,
      stats: this.statsOf(device),
      deviceInterface: this.deviceInterface,
      device,
      slack: this.#slack,
    };
    const backing = virtual === undefined ? new SegmentBacking(parts) : new PageBacking(parts, virtual, this.#pageBytes());
    const pool = { heap, backing };
    this.#pools[device] = pool;
    return pool;
  }

  /** A free block of at least `bytes` where none was: from deferred blocks, else from the device. @throws ERR_MEM_OUT_OF_MEMORY */
  #makeFree(bytes: number, { heap, backing }: Pool, device: number, requestedBytes: number): number {
    if (heap.deferredBytes > 0) {
      heap.flush();
      const joined = heap.index.findBestFit(bytes);
      if (joined !== NONE) return joined;
    }
    const failure = { cause: undefined as unknown };
    const block = backing.grow(bytes, failure);
    const stats = this.statsOf(device);
    if (block === NONE) {
      stats.ooms++;
      const { allocatedBytes, reservedBytes } = stats;
      const capacityBytes = this.deviceInterface.getMaxMemorySize(device);
      throw new MemoryError(
        'ERR_MEM_OUT_OF_MEMORY',
        { requestedBytes, allocatedBytes, reservedBytes, capacityBytes, device },
        failure.cause,
      );
    }
    while (this.blocks.addressOf(block) % this.#blockAlignment !== 0) this.#blockAlignment /= 2;
    return block;
  }

  /** Places a block whose alignment blocks do not have: cuts it out of a larger free one. */
  #placeAligned(size: number, alignment: number, pool: Pool, device: number, requestedBytes: number): number {
    const { heap } = pool;
    const room = size + alignment;
    const found = heap.index.findBestFit(room);
    const block = found !== NONE ? found : this.#makeFree(room, pool, device, requestedBytes);
    const address = this.blocks.addressOf(block);
    const front = alignUp(address, alignment) - address;
    heap.remove(block);
    const aligned = front === 0 ? block : heap.split(block, front);
    if (this.blocks.bytesOf(aligned) > size) heap.insert(heap.split(aligned, size));
    if (front > 0) heap.insert(block);
    return aligned;
  }
}

function bad(name: string, value: number, expected: string): MemoryError<'ERR_MEM_INVALID_ARGUMENT'> {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: String(value), expected });
}
