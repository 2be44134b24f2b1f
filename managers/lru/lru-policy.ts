import { ABSENT } from '../../src/blocks/address-hash.js';
import { NONE, REFERENCE_LOCK } from '../../src/blocks/block-rows.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import { ensure } from '../../src/blocks/ensure.js';
import { ALL_CACHED, type ReleaseBounds } from '../../src/blocks/release-bounds.js';
import { widened } from '../../src/blocks/widened.js';
import type { LogSink } from '../../src/core/call-log.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { tryAll } from '../../src/core/try-all.js';
import { type DevicePtr, formatBytes } from '../../src/core/units.js';
import { BlockMemoryManager } from '../policy/block-memory-manager.js';
import { ALIGNMENT_CODE_MASK, alignmentCode, LayoutCache } from './layout-cache.js';

/** Layouts that are kept on a device. @see Source: hpt, CPU cache */
export const DEFAULT_CAPACITY_LAYOUTS = 100;
/** Marks a block that was taken over. Beside an alignment's code in a block's mark. */
const INSERTED = 128;

export interface LruMemoryManagerOptions extends ManagerOptions {
  /** Layouts of which buffers are kept on each device; 0 keeps nothing. @defaultValue 100 */
  readonly capacityLayouts?: number;
  /** Bytes of buffers that are kept on each device. @defaultValue no limit */
  readonly capacityBytes?: number;
}

/**
 * Where the blocks of an LruMemoryManager come from and go to: a cache of layouts on each device, blocks that were taken
 * over, and reference counts. Each block is a native allocation of its own.
 *
 * `layouts <= capacityLayouts` and `keptBytes <= capacityBytes` on each device.
 */
export abstract class LruPolicy extends BlockMemoryManager {
  readonly #caches: (LayoutCache | undefined)[] = [];
  /** By device: free blocks that it did not take and that a full cache could not keep. The next cleanup tries them again. */
  readonly #owed: (number[] | undefined)[] = [];
  readonly #releases = new Map<number, (ptr: DevicePtr) => void>();
  /** By device and row. */
  readonly #references: (Float64Array | undefined)[] = [];
  #capacityLayouts = DEFAULT_CAPACITY_LAYOUTS;
  #capacityBytes = Number.POSITIVE_INFINITY;
  #stopped = false;

  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: LruMemoryManagerOptions) {
    super(deviceCount, deviceInterface, options);
    this.setCapacityLayouts(options.capacityLayouts ?? DEFAULT_CAPACITY_LAYOUTS);
    this.setCapacityBytes(options.capacityBytes ?? Number.POSITIVE_INFINITY);
  }

  get capacityLayouts(): number {
    return this.#capacityLayouts;
  }

  get capacityBytes(): number {
    return this.#capacityBytes;
  }

  /** Keeps at most that many layouts on each device from now on; gives the excess back. @throws ERR_MEM_INVALID_ARGUMENT */
  setCapacityLayouts(layouts: number): void {
    checkCapacity('capacityLayouts', layouts);
    for (const cache of this.#caches) {
      while (cache !== undefined && cache.layouts > layouts) this.#evict(cache, cache.oldestBut(ABSENT));
    }
    this.#capacityLayouts = layouts;
  }

  /** Keeps at most that many bytes on each device from now on; gives the excess back by layouts. @throws ERR_MEM_INVALID_ARGUMENT */
  setCapacityBytes(bytes: number): void {
    checkCapacity('capacityBytes', bytes);
    for (const cache of this.#caches) {
      while (cache !== undefined && cache.bytes > bytes) this.#evict(cache, cache.oldestBut(ABSENT));
    }
    this.#capacityBytes = bytes;
  }

  /** Layouts that are kept on a device. */
  keptLayouts(device: number): number {
    return this.#caches[device]?.layouts ?? 0;
  }

  override shutdown(): void {
    super.shutdown();
    this.#stopped = true;
  }

  override printInfo(message: string, device: number, sink: LogSink = process.stdout): void {
    super.printInfo(message, device, sink);
    const bytes = this.#caches[device]?.bytes ?? 0;
    const limit = this.#capacityBytes === Number.POSITIVE_INFINITY ? '' : ` of ${formatBytes(this.#capacityBytes)}`;
    sink.write(`Kept: ${this.keptLayouts(device)} of ${this.#capacityLayouts} layouts, ${formatBytes(bytes)}${limit}\n`);
  }

  override checkInvariants(): void {
    super.checkInvariants();
    let kept = 0;
    this.#caches.forEach((cache, device) => {
      if (cache === undefined) return;
      cache.checkInvariants();
      ensure(cache.layouts <= this.#capacityLayouts, () => `layouts <= capacityLayouts on device ${device}`);
      ensure(cache.bytes <= this.#capacityBytes, () => `kept bytes <= capacityBytes on device ${device}`);
      for (const { buffer, bytes, code } of cache.entries()) {
        kept++;
        ensure(this.blocks.isFree(buffer), () => `kept block ${buffer} is free`);
        ensure(this.blocks.deviceOf(buffer) === device, () => `kept block ${buffer} is on device ${device}`);
        const own = this.blocks.bytesOf(buffer) === bytes && (this.blocks.markOf(buffer) & ALIGNMENT_CODE_MASK) === code;
        ensure(own, () => `kept block ${buffer} has its layout`);
      }
    });
    let free = 0;
    for (const block of this.blocks) {
      // One that is going back to the device is not found by its address.
      if (this.blocks.isFree(block) && this.blocks.find(this.blocks.addressOf(block)) === block) free++;
      const isReferenced = (this.blocks.locksOf(block) & REFERENCE_LOCK) !== 0;
      ensure(
        isReferenced === this.referencesOf(block) > 0,
        () => `references of block ${block} > 0 while it has the reference lock`,
      );
    }
    const owed = this.#owed.reduce((sum, blocks) => sum + (blocks?.length ?? 0), 0);
    ensure(free === kept + owed, () => `${free} free blocks, ${kept} of them kept and ${owed} owed to the device`);
    for (const block of this.#releases.keys()) ensure(!this.blocks.isFree(block), () => `foreign block ${block} is live`);
  }

  protected place(bytes: number, alignment: number, _stream: number, device: number): number {
    const kept = this.#cacheOf(device).take(bytes, alignmentCode(alignment));
    return kept === NONE ? this.#placeNew(bytes, alignment, device) : kept;
  }

  /** Places a block for each size (NONE for 0): all, or none. */
  protected placeAll(sizes: ArrayLike<number>, alignment: number, device: number): number[] {
    const placed: number[] = [];
    const fresh: number[] = [];
    try {
      for (let i = 0; i < sizes.length; i++) {
        const kept = sizes[i] === 0 ? NONE : this.#cacheOf(device).take(sizes[i]!, alignmentCode(alignment));
        const isFresh = kept === NONE && sizes[i] !== 0;
        placed.push(isFresh ? this.#placeNew(sizes[i]!, alignment, device) : kept);
        if (isFresh) fresh.push(placed.at(-1)!);
      }
    } catch (error) {
      for (const block of placed.reverse()) if (block !== NONE) this.#unplace(block, fresh.includes(block));
      throw error;
    }
    this.statsOf(device).misses += fresh.length;
    return placed;
  }

  protected reclaim(block: number): void {
    const mark = this.blocks.markOf(block);
    const isInserted = (mark & INSERTED) !== 0;
    const release = isInserted ? this.#releases.get(block) : undefined;
    if (release !== undefined) {
      this.#releaseForeign(block, release);
      return;
    }
    const cache = this.#cacheOf(this.blocks.deviceOf(block));
    const bytes = this.blocks.bytesOf(block);
    const code = mark & ALIGNMENT_CODE_MASK;
    // A host frees what it allocated for a manager that is shut down; what was taken over it does not know.
    const isLast = this.#stopped && isInserted;
    if (!isLast && this.#makeRoom(cache, bytes, code)) cache.put(block, bytes, code);
    else this.nativeRelease(block);
  }

  /** Gives buffers back: those that the device did not take before, then those of the least recently used layouts. */
  protected trim(device: number, bounds: ReleaseBounds = ALL_CACHED): void {
    const goes = bounds.inTurn();
    const owed = this.#owed[device] ?? [];
    const leaving = new Set(owed.filter((block) => goes(this.blocks.bytesOf(block))));
    this.#owed[device] = owed.filter((block) => !leaving.has(block));
    // All of them leave the books before the first native call, which may come back with an allocation or a cleanup.
    tryAll([...leaving, ...this.#cacheOf(device).takeOldest(goes)], (block) => this.#releaseOrKeep(block));
  }

  protected override get trimsInParts(): boolean {
    return true;
  }

  protected override forget(device: number): void {
    this.#caches[device] = undefined;
    this.#owed[device] = undefined;
    this.#references[device] = undefined;
  }

  /** Makes memory from elsewhere a free block that no cache has. */
  protected adoptInserted(
    ptr: DevicePtr,
    bytes: number,
    alignment: number,
    device: number,
    release: ((ptr: DevicePtr) => void) | undefined,
  ): number {
    const block = this.adopt(ptr, bytes, device);
    this.blocks.setMark(block, alignmentCode(alignment) | INSERTED);
    if (release !== undefined) this.#releases.set(block, release);
    this.statsOf(device).misses++;
    return block;
  }

  protected referencesOf(block: number): number {
    return this.#references[this.blocks.deviceOf(block)]?.[this.blocks.rowOf(block)] ?? 0;
  }

  protected setReferences(block: number, references: number): void {
    const device = this.blocks.deviceOf(block);
    const row = this.blocks.rowOf(block);
    let column = (this.#references[device] ??= new Float64Array(64));
    if (row >= column.length) {
      column = widened(column, new Float64Array(Math.max(2 * column.length, row + 1)));
      this.#references[device] = column;
    }
    column[row] = references;
  }

  #cacheOf(device: number): LayoutCache {
    return (this.#caches[device] ??= new LayoutCache());
  }

  #placeNew(bytes: number, alignment: number, device: number): number {
    const block = this.nativeAllocate(bytes, alignment, device, bytes);
    this.blocks.setMark(block, alignmentCode(alignment));
    if (alignment !== 0 && this.blocks.addressOf(block) % alignment !== 0) {
      this.#releaseOrKeep(block);
      throw new MemoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: alignment });
    }
    return block;
  }

  /** Evicts until one more buffer of that layout fits; false when it never will. The layout itself is spared. */
  #makeRoom(cache: LayoutCache, bytes: number, code: number): boolean {
    if (this.#capacityLayouts === 0 || bytes > this.#capacityBytes) return false;
    // Looked up anew each time: evicting calls the device, which may come back.
    while (!this.#hasRoom(cache, bytes, code)) {
      const oldest = cache.oldestBut(cache.find(bytes, code));
      if (oldest === ABSENT) return false;
      this.#evict(cache, oldest);
    }
    return true;
  }

  #hasRoom(cache: LayoutCache, bytes: number, code: number): boolean {
    const isListed = cache.layouts < this.#capacityLayouts || cache.find(bytes, code) !== ABSENT;
    return isListed && cache.bytes + bytes <= this.#capacityBytes;
  }

  /** Gives all buffers of a layout back, up to the first that the device does not take. */
  #evict(cache: LayoutCache, layout: number): void {
    const bytes = cache.sizeOf(layout);
    const code = cache.codeOf(layout);
    for (let left = cache.countOf(layout); left > 0; left--) {
      const block = cache.take(bytes, code);
      if (block !== NONE) this.#releaseOrKeep(block);
    }
  }

  /** Gives a block back that is in no cache. @throws as the device does; the block is kept then */
  #releaseOrKeep(block: number): void {
    try {
      this.nativeRelease(block);
    } catch (error) {
      this.#keepOrOwe(block);
      throw error;
    }
  }

  /** Keeps a block that the device did not take; where the cache is full it is owed to the device. */
  #keepOrOwe(block: number): void {
    const device = this.blocks.deviceOf(block);
    const cache = this.#cacheOf(device);
    const bytes = this.blocks.bytesOf(block);
    const code = this.blocks.markOf(block) & ALIGNMENT_CODE_MASK;
    if (this.#hasRoom(cache, bytes, code)) cache.put(block, bytes, code);
    else (this.#owed[device] ??= []).push(block);
  }

  #unplace(block: number, isFresh: boolean): void {
    try {
      if (isFresh) this.nativeRelease(block);
      else this.reclaim(block);
    } catch {
      // The caller gets the first error.
      this.#keepOrOwe(block);
    }
  }

  #releaseForeign(block: number, release: (ptr: DevicePtr) => void): void {
    this.#releases.delete(block);
    try {
      this.nativeRelease(block, release);
    } catch (error) {
      this.#releases.set(block, release);
      throw error;
    }
  }
}

function checkCapacity(name: string, value: number): void {
  if (value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && value >= 0)) return;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
    name,
    value: String(value),
    expected: 'an integer of at least 0, or Infinity',
  });
}
