import { NONE } from '../../src/blocks/block-rows.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import { ALL_CACHED, type ReleaseBounds } from '../../src/blocks/release-bounds.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { flagFromEnvironment } from '../../src/core/environment.js';
import { MemoryError } from '../../src/core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { tryAll } from '../../src/core/try-all.js';
import { alignUp, checkBytes, GiB, KiB } from '../../src/core/units.js';
import { BlockMemoryManager } from '../policy/block-memory-manager.js';
import { checkSize } from '../policy/check-options.js';

/** Buffers kept before a collection. @see Source: ArrayFire, MAX_BUFFERS */
export const DEFAULT_MAX_BUFFERS = 1000;
/** Sizes are rounded to it unless in debug mode. @see Source: ArrayFire, DefaultMemoryManager::mem_step_size */
const STEP_BYTES = 1 * KiB;

/** Options of a {@link DefaultMemoryManager}. */
export interface DefaultMemoryManagerOptions extends ManagerOptions {
  /** Buffers on a device, live and kept, at which the kept ones are given back; AF_MAX_BUFFERS overrides it. @defaultValue 1000 */
  readonly maxBuffers?: number;
  /** Whether every buffer is given back when it is freed; AF_MEM_DEBUG=1 turns it on. @defaultValue false */
  readonly debug?: boolean;
}

const OPTIONS: OwnOptions<DefaultMemoryManagerOptions> = {
  of: () => DefaultMemoryManager,
  names: { maxBuffers: true, debug: true, logStream: true },
};

/** The buffers of one device. */
interface DeviceBuffers {
  /** Free blocks by size. */
  readonly free: Map<number, number[]>;
  /** Bytes that should be live at most. */
  readonly maxBytes: number;
  /** How many there are, live and free. */
  count: number;
}

/**
 * Keeps freed buffers for requests of the same rounded size, last in first out, and gives all of them back
 * when too many bytes or buffers are held. In debug mode sizes are exact and nothing is kept.
 *
 * Each block is a native allocation of its own. What hosts fall back to when no manager is installed.
 *
 * @see Source: ArrayFire, DefaultMemoryManager
 */
export class DefaultMemoryManager extends BlockMemoryManager {
  readonly #maxBuffers: number;
  readonly #debug: boolean;
  #stepBytes: number;
  readonly #devices: (DeviceBuffers | undefined)[] = [];

  /**
   * @param deviceCount - devices managed from the start
   * @throws ERR_MEM_INVALID_ARGUMENT for a bad value, also in the environment
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: DefaultMemoryManagerOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(deviceCount, deviceInterface, options);
    const { maxBuffers = DEFAULT_MAX_BUFFERS, debug = false } = options;
    this.#maxBuffers = maxBuffersFromEnvironment() ?? checkSize('maxBuffers', maxBuffers);
    this.#debug = flagFromEnvironment('AF_MEM_DEBUG', false) || debug;
    this.#stepBytes = this.#debug ? 1 : STEP_BYTES;
  }

  override getMemStepSize(): number {
    return this.#stepBytes;
  }

  /** Rounds sizes to `bytes` from now on; buffers that are kept stay usable for requests of their own size. */
  override setMemStepSize(bytes: number): void {
    checkBytes(bytes);
    if (bytes === 0) {
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'step size', value: '0', expected: 'at least 1 byte' });
    }
    this.#stepBytes = bytes;
  }

  override removeMemoryManagement(device: number): void {
    super.removeMemoryManagement(device);
    this.#devices[device] = undefined;
  }

  /** 1 when more bytes or buffers are live on the active device than it should hold, else 0. */
  override getMemoryPressure(): number {
    const device = this.deviceInterface.getActiveDeviceId();
    const stats = this.statsOf(device);
    return stats.allocatedBytes > this.#buffersOn(device).maxBytes || stats.liveBlocks > this.#maxBuffers ? 1 : 0;
  }

  /** @see Source: ArrayFire, DefaultMemoryManager::jitTreeExceedsMemoryPressure */
  override jitTreeExceedsMemoryPressure(bytes: number): boolean {
    const device = this.deviceInterface.getActiveDeviceId();
    const live = this.statsOf(device).allocatedBytes;
    const max = this.#buffersOn(device).maxBytes;
    return live > 0.25 * max ? bytes > 0.5 * live : bytes > 0.1 * max;
  }

  protected place(bytes: number, alignment: number, _stream: number, device: number): number {
    const buffers = this.#buffersOn(device);
    if (this.statsOf(device).allocatedBytes >= buffers.maxBytes || buffers.count >= this.#maxBuffers) this.trim(device);
    const size = alignUp(bytes, this.#stepBytes);
    const kept = this.#takeKept(buffers, size, alignment);
    if (kept !== NONE) return kept;
    const block = this.nativeAllocate(size, alignment, device, bytes);
    buffers.count++;
    if (alignment !== 0 && this.blocks.addressOf(block) % alignment !== 0) {
      this.#releaseOrKeep(buffers, block);
      throw new MemoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: alignment });
    }
    return block;
  }

  protected reclaim(block: number): void {
    const buffers = this.#buffersOn(this.blocks.deviceOf(block));
    if (this.#debug) this.#release(buffers, block);
    else this.#keep(buffers, block);
  }

  /** Gives kept buffers back; of a size those that are kept longest. */
  protected trim(device: number, bounds: ReleaseBounds = ALL_CACHED): void {
    const buffers = this.#devices[device];
    if (buffers === undefined) return;
    // All of them leave the books before the first native call, which may come back with an allocation or a cleanup.
    tryAll(takeKept(buffers, bounds), (block) => this.#releaseOrKeep(buffers, block));
  }

  protected override get trimsInParts(): boolean {
    return true;
  }

  #keep({ free }: DeviceBuffers, block: number): void {
    const size = this.blocks.bytesOf(block);
    const stack = free.get(size);
    if (stack === undefined) free.set(size, [block]);
    else stack.push(block);
  }

  /** Gives a buffer back that is not kept. */
  #release(buffers: DeviceBuffers, block: number): void {
    buffers.count--;
    try {
      this.nativeRelease(block);
    } catch (error) {
      buffers.count++;
      throw error;
    }
  }

  /** As {@link #release}; keeps a buffer that the device does not take. */
  #releaseOrKeep(buffers: DeviceBuffers, block: number): void {
    try {
      this.#release(buffers, block);
    } catch (error) {
      this.#keep(buffers, block);
      throw error;
    }
  }

  #takeKept({ free }: DeviceBuffers, size: number, alignment: number): number {
    const stack = free.get(size);
    if (stack === undefined) return NONE;
    for (let i = stack.length - 1; i >= 0; i--) {
      const block = stack[i]!;
      if (alignment === 0 || this.blocks.addressOf(block) % alignment === 0) {
        stack.splice(i, 1);
        return block;
      }
    }
    return NONE;
  }

  /** The buffers of a device, whose capacity is asked for once: hosts answer slowly. */
  #buffersOn(device: number): DeviceBuffers {
    const buffers = this.#devices[device];
    if (buffers !== undefined) return buffers;
    const maxBytes = maxBytesOf(this.deviceInterface.getMaxMemorySize(device));
    return (this.#devices[device] ??= { free: new Map(), maxBytes, count: 0 });
  }
}

/** Takes buffers out of those that are kept. All go at each allocation while too many are live, and mostly none is kept then. */
function takeKept({ free }: DeviceBuffers, bounds: ReleaseBounds): Iterable<number> {
  if (bounds.isAll) {
    const all: number[] = [];
    for (const stack of free.values()) if (stack.length > 0) all.push(...stack.splice(0));
    return all;
  }
  const kept = [...free].flatMap(([bytes, stack]) => stack.map((block) => ({ block, bytes })));
  const chosen = new Set(bounds.choose(kept, { bytesOf: ({ bytes }) => bytes }).map(([{ block }]) => block));
  for (const [bytes, stack] of free) {
    const left = stack.filter((block) => !chosen.has(block));
    free.set(bytes, left);
  }
  return chosen;
}

/** Bytes that should be live on a device at most. @see Source: ArrayFire, without its underflow below 1 GiB */
function maxBytesOf(capacityBytes: number): number {
  return capacityBytes === 0 ? GiB : Math.max(0.75 * capacityBytes, capacityBytes - GiB);
}

function maxBuffersFromEnvironment(): number | undefined {
  const text = process.env['AF_MAX_BUFFERS'];
  if (text === undefined) return undefined;
  if (/^\s*0*[1-9]\d{0,14}\s*$/.test(text)) return Number(text);
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
    name: 'AF_MAX_BUFFERS',
    value: JSON.stringify(text),
    expected: 'an integer of at least 1',
  });
}
