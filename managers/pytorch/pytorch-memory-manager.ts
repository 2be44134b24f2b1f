import * as blockRows from '../../src/blocks/block-rows.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import { ALL_CACHED, type ReleaseBounds } from '../../src/blocks/release-bounds.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { waitForDefaultStream } from '../../src/core/device-stream.js';
import { checkArgument, MemoryError } from '../../src/core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import * as stackRoom from '../../src/core/stack-room.js';
import * as units from '../../src/core/units.js';
import { type DevicePtr, exactBytes } from '../../src/core/units.js';
import { askNative } from '../policy/ask-native.js';
import { BlockMemoryManager } from '../policy/block-memory-manager.js';
import { checkDeviceStream } from '../policy/device-streams.js';
import { MIN_BLOCK_BYTES, SMALL_BYTES, segmentBytes } from '../policy/segment-sizes.js';
import { type PyTorchSettings, parseAllocConf } from './alloc-conf.js';
import { BlockPools, type StreamBlocks } from './block-pools.js';
import { CachedSegments } from './cached-segments.js';
import { completeSettings } from './complete-settings.js';
import { leastGrowable, mapBlock } from './expandable-segments.js';
import { cutSegment, isSound, mapSegment, type RestoredSegment } from './restored-segment.js';
import { roundUpRequest } from './round-up.js';

// Bindings of their own: V8 looks imported ones up, and checks them, each time.
const { MANAGER_LOCK, NONE, USER_LOCK } = blockRows;
const { devicePtr, NULL_PTR } = units;
const { checkStackRoom, checkStackRoomHere } = stackRoom;

/** Options of a {@link PyTorchMemoryManager}. */
export interface PyTorchMemoryManagerOptions extends ManagerOptions {
  /** A value of `PYTORCH_ALLOC_CONF`, or settings; those that are left out are the default ones. @defaultValue the default settings */
  readonly conf?: string | Partial<PyTorchSettings> | undefined;
  /**
   * What may be reserved on a device, as by `torch.cuda.set_per_process_memory_fraction`. Garbage collection by age begins at its
   * share of this limit.
   * @defaultValue the settings' fraction of the device's memory, or no limit
   */
  readonly memoryLimitBytes?: number | undefined;
}

const OPTIONS: OwnOptions<PyTorchMemoryManagerOptions> = {
  of: () => PyTorchMemoryManager,
  names: { conf: true, memoryLimitBytes: true, logStream: true },
};

/**
 * The policy of PyTorch's caching allocator with all of its settings that change memory: the same requests make the same native
 * calls. Blocks belong to the stream that they were allocated on, and to the pool in use then.
 *
 * An allocation that nothing free serves goes, in this order: collects cached segments by age where that is set, asks the device,
 * gives cached blocks back that fit where blocks have a largest size to be cut, and asks again; gives all cached segments back once
 * every stream is done with them, and asks for the last time.
 *
 * With expandable segments the device must have virtual memory whose granularity divides 2 MiB and the large segment size.
 *
 * @see Source: PyTorch, CUDACachingAllocator, by its documentation and by snapshots of its runs
 */
export class PyTorchMemoryManager extends BlockMemoryManager {
  readonly settings: PyTorchSettings;
  readonly #memoryLimitBytes: number | undefined;
  readonly #keepsAges: boolean;
  readonly #pools: (BlockPools | undefined)[] = [];
  #pool = 0;
  /** What can be released. */
  readonly #usedPools = new Set<number>();
  // What allocations without stream and alignment are taken from, as long as the kernel's rules are the whole policy.
  #small: FreeBlocks | undefined;
  #large: FreeBlocks | undefined;

  /**
   * @param deviceCount - devices managed from the start
   * @throws ERR_MEM_INVALID_ARGUMENT for a configuration that PyTorch would refuse, with the place or the name, and for a limit that
   *   is no size
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: PyTorchMemoryManagerOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(deviceCount, deviceInterface, options);
    this.blockAlignment = MIN_BLOCK_BYTES;
    const { conf = {}, memoryLimitBytes } = options;
    this.settings = typeof conf === 'string' ? parseAllocConf(conf).settings : completeSettings(conf);
    const isLimit = memoryLimitBytes === undefined || (Number.isSafeInteger(memoryLimitBytes) && memoryLimitBytes >= 0);
    checkArgument(isLimit, 'memoryLimitBytes', memoryLimitBytes, 'a size in bytes');
    this.#memoryLimitBytes = memoryLimitBytes;
    this.#keepsAges = this.#hasLimit && this.settings.garbageCollectionThreshold > 0;
  }

  /** @throws ERR_MEM_UNSUPPORTED_PLATFORM for expandable segments on a device without virtual memory, or with pages of other sizes */
  override initialize(): void {
    if (!this.settings.expandableSegments) return;
    const granularity = this.deviceInterface.virtual?.granularityBytes;
    const fits =
      granularity !== undefined &&
      [segmentBytes(1), this.settings.largeSegmentSizeBytes].every((page) => page % granularity === 0);
    if (fits) return;
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', {
      what: 'expandable segments',
      platform: `the device of ${this.name}`,
    });
  }

  override shutdown(): void {
    for (const pools of this.#pools) pools?.releaseAll();
    super.shutdown();
    this.#serve();
  }

  override getMemStepSize(): number {
    return MIN_BLOCK_BYTES;
  }

  /**
   * Has allocations come from a private pool from now on. Its memory serves nobody else and is kept until it is
   * {@link releasePool released}.
   *
   * @param pool - any integer of at least 0; 0 is the pool for everything else
   * @throws ERR_MEM_INVALID_ARGUMENT for what is no such integer
   */
  usePool(pool: number): void {
    checkArgument(Number.isSafeInteger(pool) && pool >= 0, 'pool', pool, 'an integer of at least 0');
    this.#pool = pool;
    this.#usedPools.add(pool);
    for (const pools of this.#pools) if (pool !== 0 && pools !== undefined) pools.pool(pool).isReleased = false;
    this.#serve();
  }

  /**
   * Lets the cached segments of a private pool go back with those of all others, from now on: no sooner than
   * {@link signalMemoryCleanup} or a request that is refused. Live blocks stay; their
   * memory may go back once they are freed. {@link usePool} takes the release back.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for pool 0, for the one in use, and for one that was never used, or not since it was released
   */
  releasePool(pool: number): void {
    const isOther = pool !== 0 && pool !== this.#pool && this.#usedPools.has(pool);
    checkArgument(isOther, 'pool', pool, 'a private pool that was used, and is neither in use nor released');
    this.#usedPools.delete(pool);
    for (const pools of this.#pools) if (pools !== undefined) pools.pool(pool).isReleased = true;
  }

  /**
   * Takes a segment over that a snapshot tells of, with its live blocks, on the active device.
   *
   * @returns the addresses of the live blocks; each has the user's lock
   * @throws ERR_MEM_INVALID_ARGUMENT for blocks that do not lie in the segment
   * @internal
   */
  restoreSegment(segment: RestoredSegment): DevicePtr[] {
    checkArgument(isSound(segment), 'blocks', JSON.stringify(segment.blocks), 'blocks of the segment, by offset');
    const device = this.deviceInterface.getActiveDeviceId();
    const pools = this.#poolsOf(device);
    const { heap } = pools;
    this.#usedPools.add(segment.pool);
    const blocks = pools.blocksOf(segment.pool, segment.isSmall, segment.stream);
    const whole =
      blocks.pages === undefined
        ? this.enter(devicePtr(segment.address), segment.bytes, device)
        : mapSegment(heap, blocks, segment, this.capacityOf(device));
    return cutSegment(heap, blocks, whole, segment.blocks, (block, bytes) => this.handOut(block, bytes, USER_LOCK));
  }

  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    if (alignment === 0 && stream === 0) {
      const free = bytes <= SMALL_BYTES ? this.#small : this.#large;
      if (free !== undefined) {
        checkStackRoom();
        const ptr = free.allocate(bytes, userLock ? USER_LOCK : MANAGER_LOCK);
        if (ptr !== NULL_PTR) return ptr as DevicePtr;
      }
    }
    // The plus tells V8 that this is a number, too, so that it need not box the one above.
    return +super.allocBytes(bytes, userLock, alignment, stream) as DevicePtr;
  }

  /** @throws ERR_MEM_UNSUPPORTED_PLATFORM when the device has no streams; ERR_MEM_INVALID_ARGUMENT for what is no stream */
  override recordStream(ptr: DevicePtr, stream: number): void {
    this.checkStream(stream);
    const block = this.liveBlock(ptr);
    if (block === NONE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    const pools = this.#poolsOf(this.blocks.deviceOf(block));
    pools.streams.check(stream);
    if (stream !== pools.ownerOf(block).stream) pools.used.add(block, stream);
  }

  protected override checkStream(stream: number): void {
    checkDeviceStream(this.deviceInterface.streams, stream, this.name);
  }

  protected override forget(device: number): void {
    this.#pools[device] = undefined;
    this.#serve();
  }

  protected place(bytes: number, alignment: number, stream: number, device: number): number {
    const pools = this.#poolsOf(device);
    if (pools.used.isWaiting && pools.used.collect()) this.#serve();
    const front = alignment > this.blockAlignment ? Math.max(alignment, MIN_BLOCK_BYTES) : 0;
    const size = roundUpRequest(bytes + front, this.settings.roundupPower2Divisions);
    const blocks = pools.blocksOf(this.#pool, size <= SMALL_BYTES, stream);
    const block = this.#fit(pools, blocks, size) || this.#getMemory(pools, blocks, size, bytes);
    if (front > 0) return blocks.free.carveAligned(block, size - front, front);
    if (blocks.pages === undefined && size >= this.settings.maxSplitSizeBytes) blocks.free.takeOut(block);
    else blocks.free.carve(block, size);
    return block;
  }

  protected override handOut(block: number, requestedBytes: number, lock: number): DevicePtr {
    const ptr = super.handOut(block, requestedBytes, lock);
    // So that it is left to the policy when it comes back.
    if (this.#keepsAges) this.blocks.setUsed(block);
    return ptr;
  }

  protected reclaim(block: number): void {
    const pools = this.#poolsOf(this.blocks.deviceOf(block));
    pools.giveBack(block);
    if (pools.used.isWaiting) this.#serve();
  }

  /** Gives cached segments back. All are waited for; a part is what the streams that blocks were marked with are done with already. */
  protected trim(device: number, bounds: ReleaseBounds = ALL_CACHED): void {
    const pools = this.#pools[device];
    if (pools !== undefined) this.#releaseCached(pools, bounds);
  }

  protected override get trimsInParts(): boolean {
    return true;
  }

  /** Waits for all streams: whichever a free block was last used on may still work on it. */
  protected override settle(device: number): void {
    const { streams } = this.deviceInterface;
    waitForDefaultStream(streams, device);
    for (const stream of this.#pools[device]?.streams.known ?? []) {
      const event = this.#pools[device]!.streams.record(stream);
      if (event === undefined) continue;
      try {
        streams!.synchronize(event);
      } finally {
        streams!.destroy(event);
      }
    }
  }

  override checkInvariants(): void {
    super.checkInvariants();
    this.checkBins(this.#pools.flatMap((pools) => pools?.all.map(({ free }) => free) ?? []));
  }

  get #hasLimit(): boolean {
    return this.#memoryLimitBytes !== undefined || this.settings.perProcessMemoryFraction !== undefined;
  }

  /** What may be reserved on a device; Infinity for no limit but the device's own. */
  #limitOf(device: number): number {
    if (this.#memoryLimitBytes !== undefined) return this.#memoryLimitBytes;
    const { perProcessMemoryFraction } = this.settings;
    return perProcessMemoryFraction === undefined
      ? Number.POSITIVE_INFINITY
      : Math.floor(perProcessMemoryFraction * this.capacityOf(device));
  }

  #poolsOf(device: number): BlockPools {
    let pools = this.#pools[device];
    if (pools === undefined) {
      const isAlone = () => this.callsUnderway() <= 1;
      pools = new BlockPools(this.managedDevice(device), this.settings, this.deviceInterface, this.#keepsAges, isAlone);
      this.#pools[device] = pools;
      this.#serve();
    }
    return pools;
  }

  /** Lets the hot path serve as long as it knows the whole policy. */
  #serve(): void {
    const pools = this.#pools[0];
    const { expandableSegments, roundupPower2Divisions } = this.settings;
    const isPlain = !expandableSegments && !this.#keepsAges && roundupPower2Divisions.every((divisions) => divisions <= 1);
    const isAlone = this.deviceInterface.deviceCount === 1 && this.#pool === 0;
    const serves = isPlain && isAlone && pools !== undefined && !pools.heap.isClosed && !pools.used.isWaiting;
    this.#small = serves ? pools.blocksOf(0, true, 0).free : undefined;
    this.#large = serves ? pools.blocksOf(0, false, 0).free : undefined;
  }

  /** A free block for a request of `size` bytes, or NONE. */
  #fit(pools: BlockPools, blocks: StreamBlocks, size: number): number {
    const { maxSplitSizeBytes, maxNonSplitRoundingBytes } = this.settings;
    blocks.sizes.searches = (blocks.sizes.searches + 1) | 0;
    const fitting = blocks.free.fit(size);
    if (fitting === NONE) return NONE;
    const block = blocks.pages === undefined ? fitting : leastGrowable(pools.heap, blocks, fitting);
    const bytes = pools.heap.bytesOf(block);
    const most = size < maxSplitSizeBytes ? maxSplitSizeBytes : size + maxNonSplitRoundingBytes;
    return bytes < most ? block : NONE;
  }

  /** Gets memory until a free block serves. @throws ERR_MEM_OUT_OF_MEMORY */
  #getMemory(pools: BlockPools, blocks: StreamBlocks, size: number, requestedBytes: number): number {
    const { heap } = pools;
    const failure = { cause: undefined as unknown };
    const ask = () => this.#ask(pools, blocks, size, failure);
    const cached = this.#cachedIn(pools);
    if (this.#keepsAges) cached.releaseOld(this.#limitOf(heap.device));
    let block = ask();
    if (block === NONE && cached.releaseFitting(blocks, size)) block = ask();
    if (block !== NONE) return block;
    this.#releaseCached(pools, ALL_CACHED);
    heap.stats.retries++;
    block = ask();
    if (block !== NONE) return block;
    const segment = segmentBytes(size, this.settings.largeSegmentSizeBytes);
    const limitBytes = this.#limitOf(heap.device);
    const isLimited = heap.stats.reservedBytes + segment > limitBytes;
    throw this.outOfMemory(heap, requestedBytes, segment, {
      cause: failure.cause,
      ...(isLimited ? { quota: `limited to ${exactBytes(limitBytes)}`, limitBytes } : {}),
    });
  }

  /** Asks the device for a segment, or for pages. @returns a free block of at least `size` bytes, or NONE */
  #ask({ heap }: BlockPools, blocks: StreamBlocks, size: number, failure: { cause: unknown }): number {
    const bytes = segmentBytes(size, this.settings.largeSegmentSizeBytes);
    if (!Number.isSafeInteger(bytes) || heap.stats.reservedBytes + bytes > this.#limitOf(heap.device)) return NONE;
    checkStackRoomHere();
    if (blocks.pages !== undefined) return mapBlock(heap, blocks, size, this.capacityOf(heap.device), failure);
    const ptr = askNative(() => devicePtr(this.deviceInterface.nativeAlloc(bytes, MIN_BLOCK_BYTES)), NULL_PTR, failure);
    if (ptr === NULL_PTR) return NONE;
    const block = this.enter(ptr, bytes, heap.device);
    this.noteAddress(ptr);
    blocks.free.putIn(block);
    return block;
  }

  /** Gives cached segments back that may go, once every stream is done with them. */
  #releaseCached(pools: BlockPools, bounds: ReleaseBounds): void {
    const { used } = pools;
    if (bounds.isAll) while (used.isWaiting) used.waitForOldest();
    else if (used.isWaiting) used.collect();
    this.#cachedIn(pools).release(bounds);
    this.#serve();
  }

  #cachedIn(pools: BlockPools): CachedSegments {
    const release = (free: FreeBlocks, block: number) => this.releaseFrom(free, block);
    return new CachedSegments(pools, this.settings, release, () => this.settle(pools.heap.device));
  }
}
