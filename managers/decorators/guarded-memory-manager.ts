import { ABSENT } from '../../src/blocks/address-hash.js';
import { MANAGER_LOCK, USER_LOCK } from '../../src/blocks/block-rows.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import { ensure } from '../../src/blocks/ensure.js';
import { orUndo } from '../../src/core/attempt.js';
import { counted } from '../../src/core/counted.js';
import { MemoryError } from '../../src/core/errors.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import type { MemoryStat, MemoryStatsSnapshot } from '../../src/core/memory-statistics.js';
import { asSnapshot } from '../../src/core/memory-statistics.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { checkAlignment, checkBytes, type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { DecoratingMemoryManager } from './decorating-memory-manager.js';
import { DEFAULT_GUARD_BYTES, type GuardMemory, Guards } from './guard-bytes.js';
import { GuardedBlocks, SiteColumn } from './live-blocks.js';

export interface GuardedOptions extends ManagerOptions {
  /** The memory's device, or another object that writes and reads it. */
  readonly memory: GuardMemory;
  /** Bytes of the guard on each side, a power of two from 16 on. @defaultValue 64 */
  readonly guardBytes?: number;
  /** Whether freed blocks are overwritten. @defaultValue true */
  readonly poison?: boolean;
  /**
   * Whether the stack of each allocation is recorded; a number says how many of the program's frames.
   * @defaultValue false; then a TrackingMemoryManager inside is asked
   */
  readonly sites?: boolean | number;
}

const OPTIONS: OwnOptions<GuardedOptions> = {
  of: () => GuardedMemoryManager,
  names: { memory: true, guardBytes: true, poison: true, sites: true, logStream: true },
};

/** An error that says which block was damaged, on which side, and where. */
export type CorruptionError = MemoryError<'ERR_MEM_CORRUPTED'>;

/**
 * Puts guards around each block and finds writes beyond its ends: when it is freed, and at {@link check}.
 *
 * An inner block is `front | block | guard`, and the last `guardBytes` of the front are a guard, too;
 * `front = max(guardBytes, alignment)`, so a block is aligned as the inner one is. A block has exactly the bytes that were asked for. Freeing poisons its content before the inner manager gets it: should that
 * fail, the block is still held but its content is lost.
 *
 * Cost beside the inner manager's: two fills an allocation; two reads, a scan of both guards and a fill of the whole block a free.
 */
export class GuardedMemoryManager extends DecoratingMemoryManager {
  readonly #guards: Guards;
  readonly #poison: boolean;
  readonly #blocks = new GuardedBlocks();
  readonly #sites: SiteColumn;
  /** Bytes in live blocks by device; the inner manager counts the guards, too. */
  readonly #bytes: (MutableStat | undefined)[] = [];
  #largestFront: number;

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(inner: MemoryManagerAdapter, options: GuardedOptions) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(inner, options);
    this.#guards = new Guards(options.memory, options.guardBytes ?? DEFAULT_GUARD_BYTES);
    this.#poison = options.poison ?? true;
    this.#sites = new SiteColumn(options.sites);
    this.#largestFront = this.#guards.bytes;
  }

  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    if (bytes === 0) return this.callInner(0, userLock, alignment, stream);
    const front = Math.max(this.#guards.bytes, alignment);
    const total = front + bytes + this.#guards.bytes;
    const device = this.deviceInterface.getActiveDeviceId();
    const base = this.#allocInner(total, bytes, userLock, alignment, stream, device);
    if (base === NULL_PTR) return NULL_PTR;
    orUndo(
      () => this.#guards.write(base + front, bytes),
      () => this.takeBack(base, userLock),
    );
    const row = this.#blocks.enter(base, bytes, front, userLock ? USER_LOCK : MANAGER_LOCK, device);
    this.#sites.capture(row);
    this.#largestFront = Math.max(this.#largestFront, front);
    grow((this.#bytes[device] ??= newStat()), bytes);
    return (base + front) as DevicePtr;
  }

  override allocated(ptr: DevicePtr): number {
    const row = this.#blocks.find(ptr);
    return row === ABSENT ? 0 : this.#blocks.bytesOf(row);
  }

  /**
   * @throws ERR_MEM_CORRUPTED when this would free a block whose guard was overwritten. It stays live; after
   * {@link repair} it can be freed
   */
  override unlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (ptr === NULL_PTR) return;
    const blocks = this.#blocks;
    const row = blocks.find(ptr);
    if (row === ABSENT) this.#refuse(ptr, userUnlock);
    const rest = blocks.locks.get(row) & ~(userUnlock ? USER_LOCK : MANAGER_LOCK);
    if (rest === 0) {
      this.#free(row, userUnlock);
      return;
    }
    this.inner.callUnlock(blocks.baseOf(row), userUnlock);
    blocks.locks.set(row, rest);
  }

  override userLock(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) return;
    const row = this.#rowOf(ptr);
    this.inner.userLock(this.#blocks.baseOf(row));
    this.#blocks.locks.set(row, this.#blocks.locks.get(row) | USER_LOCK);
  }

  override isUserLocked(ptr: DevicePtr): boolean {
    const row = this.#blocks.find(ptr);
    return row !== ABSENT && (this.#blocks.locks.get(row) & USER_LOCK) !== 0;
  }

  override ticketOf(ptr: DevicePtr): number {
    const row = this.#blocks.find(ptr);
    return row === ABSENT ? 0 : this.inner.ticketOf(this.#blocks.baseOf(row));
  }

  override recordStream(ptr: DevicePtr, stream: number): void {
    this.inner.recordStream(this.#blocks.baseOf(this.#rowOf(ptr)), stream);
  }

  /** Puts the guard behind the block where it ends now. @throws ERR_MEM_CORRUPTED when a guard was overwritten before */
  override resized(ptr: DevicePtr, requestedBytes: number): void {
    const row = this.#rowOf(ptr);
    const blocks = this.#blocks;
    this.#checkGuards(row);
    this.#guards.write(ptr, requestedBytes);
    const base = blocks.baseOf(row);
    this.inner.resized(base, ptr - base + requestedBytes + this.#guards.bytes);
    this.#bytes[blocks.devices.get(row)]!.current += requestedBytes - blocks.bytesOf(row);
    blocks.resize(row, requestedBytes, requestedBytes);
  }

  override removeMemoryManagement(device: number): void {
    super.removeMemoryManagement(device);
    this.#bytes[device] = undefined;
  }

  /** The inner manager's statistics, with requested and allocated bytes as the program knows them: without guards. */
  override stats(device: number = this.deviceInterface.getActiveDeviceId()): MemoryStatsSnapshot | undefined {
    const stats = super.stats(device);
    if (stats === undefined) return undefined;
    const bytes = { ...(this.#bytes[device] ?? newStat()) };
    return asSnapshot({ ...stats, requestedBytes: bytes, allocatedBytes: bytes });
  }

  override siteOf(ptr: DevicePtr): string | undefined {
    const row = this.#blocks.find(ptr);
    return row === ABSENT ? undefined : this.#siteOfRow(row);
  }

  /** Checks the guards of all live blocks. Cost: O(live blocks * guard). @throws ERR_MEM_CORRUPTED for the first that was overwritten */
  check(): void {
    for (const row of this.#blocks) this.#checkGuards(row);
  }

  /** Every live block whose guard was overwritten, as the error that tells of it. Cost as {@link check}. */
  damages(): CorruptionError[] {
    return [...this.#blocks].flatMap((row) => this.#damageOf(row) ?? []);
  }

  /** Writes a live block's guards anew, so that it can be freed. @throws ERR_MEM_UNKNOWN_POINTER */
  repair(ptr: DevicePtr): void {
    const row = this.#rowOf(ptr);
    this.#guards.write(ptr, this.#blocks.bytesOf(row));
  }

  override checkInvariants(): void {
    super.checkInvariants();
    this.#blocks.checkInvariants();
    const bytes: number[] = [];
    for (const row of this.#blocks) {
      const device = this.#blocks.devices.get(row);
      bytes[device] = (bytes[device] ?? 0) + this.#blocks.bytesOf(row);
      const base = this.#blocks.baseOf(row);
      const needed = this.#blocks.addressOf(row) + this.#blocks.bytesOf(row) + this.#guards.bytes - base;
      ensure(this.inner.allocated(base) >= needed, () => `block in row ${row} and its guards lie in an inner block`);
    }
    this.#bytes.forEach((stat, device) => {
      ensure((stat?.current ?? 0) === (bytes[device] ?? 0), () => `bytes == sum(live block.bytes) on device ${device}`);
    });
  }

  protected override infoLine(): string {
    return `Guarded: ${counted(this.#blocks.count, 'live block')}, ${this.#guards.bytes} bytes on each side`;
  }

  #allocInner(total: number, bytes: number, userLock: boolean, alignment: number, stream: number, device: number): DevicePtr {
    // No device has more bytes than a number holds exactly.
    if (!Number.isSafeInteger(total)) throw this.outOfMemory(bytes);
    try {
      return this.callInner(total, userLock, alignment, stream);
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
      // The caller knows neither the guards nor what they add up to.
      const allocatedBytes = this.#bytes[device]?.current ?? 0;
      throw new MemoryError('ERR_MEM_OUT_OF_MEMORY', { ...error.facts, requestedBytes: bytes, allocatedBytes }, error);
    }
  }

  #rowOf(ptr: DevicePtr): number {
    const row = this.#blocks.find(ptr);
    if (row === ABSENT) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return row;
  }

  protected override innerWasReset(): void {
    for (const row of this.#blocks) if (this.inner.allocated(this.#blocks.baseOf(row)) === 0) this.#drop(row);
  }

  /** Frees a block. It is in no book while the inner manager does, and in all of them again when that fails. */
  #free(row: number, userUnlock: boolean): void {
    const blocks = this.#blocks;
    this.#checkGuards(row);
    const ptr = blocks.addressOf(row);
    const bytes = blocks.bytesOf(row);
    if (this.#poison) this.#guards.poison(ptr, bytes);
    const base = blocks.baseOf(row);
    const locks = blocks.locks.get(row);
    const device = blocks.devices.get(row);
    const site = this.#sites.get(row);
    this.#drop(row);
    const enterAgain = () => {
      const again = blocks.enter(base, bytes, ptr - base, locks, device);
      this.#sites.set(again, site);
      this.#bytes[device]!.current += bytes;
    };
    orUndo(() => this.inner.callUnlock(base, userUnlock), enterAgain);
  }

  #drop(row: number): void {
    this.#bytes[this.#blocks.devices.get(row)]!.current -= this.#blocks.bytesOf(row);
    this.#sites.set(row, undefined);
    this.#blocks.remove(row);
  }

  #checkGuards(row: number): void {
    const damage = this.#damageOf(row);
    if (damage !== undefined) throw damage;
  }

  #damageOf(row: number): CorruptionError | undefined {
    const block = { pointer: this.#blocks.addressOf(row), bytes: this.#blocks.bytesOf(row) };
    const damage = this.#guards.damageOf(block.pointer, block.bytes);
    return damage && new MemoryError('ERR_MEM_CORRUPTED', { ...block, ...damage, site: this.#siteOfRow(row) });
  }

  #siteOfRow(row: number): string | undefined {
    return this.#sites.text(row) ?? super.siteOf(this.#blocks.baseOf(row));
  }

  /** Throws for a pointer that heads no live block: as a double free when a free inner block lies where its front was. */
  #refuse(ptr: DevicePtr, userUnlock: boolean): never {
    for (let front = this.#guards.bytes; front <= this.#largestFront && front < ptr; front *= 2) {
      const base = (ptr - front) as DevicePtr;
      if (this.inner.allocated(base) > 0) continue;
      try {
        this.inner.callUnlock(base, userUnlock);
      } catch (error) {
        if (MemoryError.is(error, 'ERR_MEM_DOUBLE_FREE')) throw new MemoryError('ERR_MEM_DOUBLE_FREE', { pointer: ptr }, error);
      }
    }
    throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
  }
}

type MutableStat = { -readonly [K in keyof MemoryStat]: MemoryStat[K] };

function newStat(): MutableStat {
  return { current: 0, peak: 0, total: 0 };
}

function grow(stat: MutableStat, bytes: number): void {
  stat.current += bytes;
  stat.peak = Math.max(stat.peak, stat.current);
  stat.total += bytes;
}
