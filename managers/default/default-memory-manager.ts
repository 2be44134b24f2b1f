import { NONE } from '../../src/blocks/block-table.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { alignUp, checkBytes, GiB, KiB } from '../../src/core/units.js';
import { BlockMemoryManager, type ManagerOptions } from '../policy/block-memory-manager.js';

/** Buffers kept before a collection. @see Source: ArrayFire, MAX_BUFFERS */
export const DEFAULT_MAX_BUFFERS = 1000;
/** Sizes are rounded to it unless in debug mode. @see Source: ArrayFire, DefaultMemoryManager::mem_step_size */
const STEP_BYTES = 1 * KiB;

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
  /** Free blocks by device, then by size. */
  readonly #free: Map<number, number[]>[] = [];
  readonly #buffers: number[] = [];

  /**
   * @param maxBuffers - buffers on a device, live and kept, at which the kept ones are given back; AF_MAX_BUFFERS overrides it
   * @param debug - true gives every buffer back when it is freed; AF_MEM_DEBUG=1 turns it on
   * @throws ERR_MEM_INVALID_ARGUMENT for a bad value, also in the environment
   */
  constructor(
    deviceCount: number,
    maxBuffers: number,
    debug: boolean,
    deviceInterface: MemoryManagerDeviceInterface,
    options: ManagerOptions = {},
  ) {
    super(deviceCount, deviceInterface, options);
    this.#maxBuffers = maxBuffersFromEnvironment() ?? checkMaxBuffers('maxBuffers', maxBuffers);
    this.#debug = debugFromEnvironment() || debug;
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

  /** 1 when more bytes or buffers are live on the active device than it should hold, else 0. */
  override getMemoryPressure(): number {
    const device = this.deviceInterface.getActiveDeviceId();
    const stats = this.statsOf(device);
    return stats.allocatedBytes > this.#maxBytes(device) || stats.liveBlocks > this.#maxBuffers ? 1 : 0;
  }

  /** @see Source: ArrayFire, DefaultMemoryManager::jitTreeExceedsMemoryPressure */
  override jitTreeExceedsMemoryPressure(bytes: number): boolean {
    const device = this.deviceInterface.getActiveDeviceId();
    const live = this.statsOf(device).allocatedBytes;
    const max = this.#maxBytes(device);
    return live > 0.25 * max ? bytes > 0.5 * live : bytes > 0.1 * max;
  }

  protected place(bytes: number, alignment: number, _stream: number, device: number): number {
    const stats = this.statsOf(device);
    if (stats.allocatedBytes >= this.#maxBytes(device) || (this.#buffers[device] ?? 0) >= this.#maxBuffers) this.trim(device);
    const size = alignUp(bytes, this.#stepBytes);
    const kept = this.#takeKept(size, alignment, device);
    if (kept !== NONE) return kept;
    const block = this.nativeAllocate(size, alignment, device, bytes);
    if (alignment !== 0 && this.blocks.addressOf(block) % alignment !== 0) {
      this.nativeRelease(block);
      throw new MemoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: alignment });
    }
    this.#buffers[device] = (this.#buffers[device] ?? 0) + 1;
    return block;
  }

  protected reclaim(block: number): void {
    const device = this.blocks.deviceOf(block);
    if (this.#debug) {
      this.nativeRelease(block);
      this.#buffers[device]!--;
      return;
    }
    const free = (this.#free[device] ??= new Map());
    const size = this.blocks.bytesOf(block);
    const stack = free.get(size);
    if (stack === undefined) free.set(size, [block]);
    else stack.push(block);
  }

  protected trim(device: number): void {
    for (const stack of this.#free[device]?.values() ?? []) {
      while (stack.length > 0) {
        this.nativeRelease(stack.at(-1)!);
        stack.pop();
        this.#buffers[device]!--;
      }
    }
  }

  #takeKept(size: number, alignment: number, device: number): number {
    const stack = this.#free[device]?.get(size);
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

  /** Bytes that should be live on a device at most. @see Source: ArrayFire, without its underflow below 1 GiB */
  #maxBytes(device: number): number {
    const capacity = this.deviceInterface.getMaxMemorySize(device);
    return capacity === 0 ? GiB : Math.max(0.75 * capacity, capacity - GiB);
  }
}

function checkMaxBuffers(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: String(value), expected: 'an integer of at least 1' });
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

function debugFromEnvironment(): boolean {
  const text = process.env['AF_MEM_DEBUG'];
  if (text === undefined || text === '0' || text === '') return false;
  if (text === '1') return true;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'AF_MEM_DEBUG', value: JSON.stringify(text), expected: '0 or 1' });
}
