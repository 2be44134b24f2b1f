import { NONE } from '../../src/blocks/block-rows.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { ReleaseBounds } from '../../src/blocks/release-bounds.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { alignUp, KiB } from '../../src/core/units.js';
import { BinnedMemoryManager } from '../policy/binned-memory-manager.js';
import type { Backing, BackingParts } from './backing.js';
import { PageBacking } from './page-backing.js';
import { SegmentBacking } from './segment-backing.js';

/** All sizes and addresses are multiples of it. */
const UNIT_BYTES = 16;
const DEFAULT_SLACK = 0.03;
/** Where a decommit stops the device: with it no trace of docs/performance.md has a native call from its second replay on. */
const DEFAULT_SLACK_WHERE_STOPPED = 0.1;
/** Pages below it cost native calls and save little. */
const DEFAULT_PAGE_BYTES = 16 * KiB;
/** A slack below it that was asked for is kept before all else. */
const MOST_KEPT_SLACK = 0.1;
/** Where pages are so large, or go by whole pieces, a small slack is few of them, so that blocks have to be placed with care. */
const COARSE_PAGE_BYTES = 256 * KiB;
/** Of such pages, smaller free parts than that share go to any block that they are large enough for. */
const TIGHT_FIT_SHARE = 1 / 1024;

export interface PoolMemoryManagerOptions extends ManagerOptions {
  /**
   * How much more than the peak of live bytes a pool may hold before whole free pages are given back, as a share. One below 0.1 that
   * is given, and not the default, is kept before all else, by more native calls; with pages of 256 KiB or more, and where the device
   * takes back whole pieces alone, as on CUDA and HIP, blocks are placed so that they touch few pages, too: some 100 ns more
   * each, some µs where very many parts are free.
   *
   * @defaultValue 0.03; 0.1 where giving back stops the device (`decommitStops` of its virtual memory), as on CUDA and HIP
   */
  readonly slack?: number | undefined;
  /**
   * How many bytes a pool may hold on each device in any case before it gives whole free pages back, as the release threshold of
   * CUDA's own pools.
   * @defaultValue 0: the slack alone decides
   */
  readonly releaseThresholdBytes?: number | undefined;
  /**
   * Bytes that are committed and decommitted as one: a multiple of the device's granularity.
   * @defaultValue the device's granularity, at least 16 KiB
   */
  readonly granularityBytes?: number | undefined;
}

const OPTIONS: OwnOptions<PoolMemoryManagerOptions> = {
  of: () => PoolMemoryManager,
  names: { slack: true, releaseThresholdBytes: true, granularityBytes: true, logStream: true },
};

/**
 * The manager to pick unless there is a reason for another: blocks of any size side by side in a reserved range of
 * addresses, in units of 16 B, by good fit. Pages get memory when a block needs them, and give it back before the pool would hold
 * more than the peak of its live bytes and a slack, or a release threshold. Small freed blocks wait in a bounded front for a
 * request of their size. Where the device has no virtual memory, native segments take the place of pages.
 *
 * Per device: `reserved == committed bytes`, and the invariants of {@link BlockMemoryManager}. While whole pages are free that are worth a
 * native call, `reserved <= max(peak live * (1 + slack), release threshold)` and a step of 1/128 of the peak; rounded up to a page
 * instead where such a small slack was given. Blocks are never moved, so that no placement keeps pages free in every program; what was
 * tried is in docs/choosing-a-manager.md.
 */
export class PoolMemoryManager extends BinnedMemoryManager {
  readonly #backings: (Backing | undefined)[] = [];
  readonly #slack: number | undefined;
  readonly #releaseThresholdBytes: number;
  readonly #granularityBytes: number | undefined;

  /**
   * @param deviceCount - devices managed from the start
   * @throws ERR_MEM_INVALID_ARGUMENT for a slack that is negative or no number, or a threshold or a granularity that is no size
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: PoolMemoryManagerOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(deviceCount, deviceInterface, options, UNIT_BYTES);
    const { slack, releaseThresholdBytes = 0, granularityBytes } = options;
    if (slack !== undefined && !(slack >= 0 && slack < Number.POSITIVE_INFINITY))
      throw bad('slack', slack, 'a share from 0 on, such as 0.03');
    if (!(Number.isSafeInteger(releaseThresholdBytes) && releaseThresholdBytes >= 0)) {
      throw bad('releaseThresholdBytes', releaseThresholdBytes, 'a number of bytes from 0 on');
    }
    if (granularityBytes !== undefined && !(Number.isSafeInteger(granularityBytes) && granularityBytes > 0)) {
      throw bad('granularityBytes', granularityBytes, 'a positive number of bytes');
    }
    this.#slack = slack;
    this.#releaseThresholdBytes = releaseThresholdBytes;
    this.#granularityBytes = granularityBytes;
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT when the granularity is no multiple of the device's */
  override initialize(): void {
    this.#pageBytes();
  }

  protected override forget(device: number): void {
    super.forget(device);
    this.#backings[device] = undefined;
  }

  protected createBins(device: number, group: number): FreeBlocks {
    const free = this.createFreeBlocks({ device, group, unitBytes: UNIT_BYTES, fit: 'good' });
    if (group === 0 && this.#isTight) {
      // All others are placed one by one, and what comes back is joined at once.
      free.setLimits(TIGHT_FIT_SHARE * this.#pageBytes(), Number.POSITIVE_INFINITY);
    } else if (group === 0) {
      // Its backing bounds it when it gets memory.
      free.addFront(0, 0);
    }
    return free;
  }

  protected grow(bytes: number, idle: FreeBlocks, device: number): number {
    const joined = this.#isTight ? NONE : idle.fitOrJoin(bytes);
    if (joined !== NONE) return joined;
    const backing = this.#backings[device] ?? this.#open(idle, device);
    const failure = { cause: undefined as unknown };
    const block = backing.grow(bytes, failure);
    if (block !== NONE) return block;
    throw this.outOfMemory(this.managedDevice(device), bytes, bytes, failure);
  }

  /** Any that is large enough, also one that a tight pool does not hand out before it has looked for a better place. */
  protected override canServe(idle: FreeBlocks, bytes: number): boolean {
    return idle.fit(bytes) !== NONE;
  }

  protected override trimIdle(_idle: FreeBlocks, device: number, bounds: ReleaseBounds): void {
    this.#backings[device]?.trim(bounds);
    this.#backings[device]?.close();
  }

  get #keepsSlack(): boolean {
    return this.#slack !== undefined && this.#slack < MOST_KEPT_SLACK;
  }

  /** Whether blocks are placed one by one, to keep the slack. */
  get #isTight(): boolean {
    const { virtual } = this.deviceInterface;
    return this.#keepsSlack && virtual !== undefined && (virtual.pieces !== undefined || this.#pageBytes() >= COARSE_PAGE_BYTES);
  }

  #pageBytes(): number {
    const granularityBytes = this.deviceInterface.virtual?.granularityBytes;
    if (granularityBytes === undefined) return 0;
    const pageBytes = this.#granularityBytes ?? alignUp(Math.max(granularityBytes, DEFAULT_PAGE_BYTES), granularityBytes);
    if (pageBytes % granularityBytes === 0 && pageBytes % UNIT_BYTES === 0) return pageBytes;
    throw bad('granularityBytes', pageBytes, `a multiple of the device's ${granularityBytes} bytes`);
  }

  #open(idle: FreeBlocks, device: number): Backing {
    const { deviceInterface } = this;
    const { virtual } = deviceInterface;
    const parts: BackingParts = {
      heap: this.managedDevice(device),
      idle,
      deviceInterface,
      slack: this.#slack ?? (virtual?.decommitStops === true ? DEFAULT_SLACK_WHERE_STOPPED : DEFAULT_SLACK),
      keepsSlack: this.#keepsSlack,
      releaseThresholdBytes: this.#releaseThresholdBytes,
      release: (block) => this.releaseFrom(idle, block),
      releaseSegments: (bounds) => this.releaseSegments([idle], bounds),
      settle: () => this.settle(device),
      waitForFit: (bytes) => this.waitForFit(device, bytes),
    };
    if (virtual === undefined) return (this.#backings[device] = new SegmentBacking(parts));
    return (this.#backings[device] = new PageBacking(parts, virtual, this.#pageBytes(), this.#isTight));
  }
}

function bad(name: string, value: number, expected: string): MemoryError<'ERR_MEM_INVALID_ARGUMENT'> {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: String(value), expected });
}
