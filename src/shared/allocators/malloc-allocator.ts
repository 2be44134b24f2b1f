import { moveBytes } from '../../../adapters/os/bytes.js';
import { THREAD_HEAP } from '../../../adapters/os/thread-memory.js';
import { ensure } from '../../blocks/ensure.js';
import { checkArgument, checkUsable, MemoryError } from '../../core/errors.js';
import { INSPECT, inspected } from '../../core/inspect.js';
import { checkAlignment, checkBytes, type DevicePtr } from '../../core/units.js';
import { outOfRoom } from '../backends/backend-errors.js';
import type { SharedRegion } from '../shared-region.js';
import {
  type AllocatorId,
  allocatorFacts,
  checkNewContext,
  type FullPointer,
  fullPointerOf,
  type MemContext,
  NULL_OFFSET,
  NULL_TID,
  type OffsetPointer,
  type SharedAllocator,
} from './shared-allocator.js';

const ALIGNMENT_BYTES = 32;

/** Where a {@link MallocAllocator} gets its memory. */
export interface HeapFunctions {
  /** @returns an address, or 0 when there is no room */
  allocate(bytes: number, alignment: number): number;
  free(address: number): void;
}

/** How a {@link MallocAllocator} is made. */
export interface MallocAllocatorInit {
  readonly id: AllocatorId;
  /** @defaultValue the C library's heap */
  readonly heap?: HeapFunctions;
}

/**
 * Takes every block from the C library's heap and ignores its region: an offset is the block's address, which means
 * something in this process alone. For comparison, and for programs that are to run without shared memory.
 */
export class MallocAllocator implements SharedAllocator {
  static readonly type = 'malloc';
  readonly type = MallocAllocator.type;
  readonly id: AllocatorId;
  readonly capacityBytes = undefined;
  readonly #heap: HeapFunctions;
  /** The bytes of each live block. */
  readonly #blocks = new Map<number, number>();
  readonly #storages = new Set<number>();
  #lastTid = 0;
  #allocatedBytes = 0;
  #detached = false;

  private constructor({ id, heap = THREAD_HEAP }: MallocAllocatorInit) {
    this.id = id;
    this.#heap = heap;
  }

  /** Makes an allocator; nothing is written to the region. */
  static shmInit(_region: SharedRegion | undefined, init: MallocAllocatorInit): MallocAllocator {
    return new MallocAllocator(init);
  }

  /** @throws ERR_MEM_UNSUPPORTED_PLATFORM always: no other thread could use its blocks */
  static shmDeserialize(_region: SharedRegion): never {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'attaching', platform: 'MallocAllocator' });
  }

  get allocatedBytes(): number {
    return this.#allocatedBytes;
  }

  allocateOffset(ctx: MemContext, bytes: number): OffsetPointer {
    return this.alignedAllocateOffset(ctx, bytes, 0);
  }

  alignedAllocateOffset(ctx: MemContext, bytes: number, alignment: number): OffsetPointer {
    this.#enter(ctx);
    checkBytes(bytes);
    checkAlignment(alignment);
    if (bytes === 0) return NULL_OFFSET;
    const address = this.#heap.allocate(bytes, Math.max(alignment, ALIGNMENT_BYTES));
    if (address === 0) throw outOfRoom(bytes, 'what the C library has', undefined, this.#allocatedBytes);
    this.#blocks.set(address, bytes);
    this.#allocatedBytes += bytes;
    return address as OffsetPointer;
  }

  reallocateOffset(ctx: MemContext, offset: OffsetPointer, bytes: number): OffsetPointer {
    checkBytes(bytes);
    const had = offset === NULL_OFFSET ? 0 : this.#bytesAt(offset);
    const moved = this.allocateOffset(ctx, bytes);
    if (moved !== NULL_OFFSET && had > 0) moveBytes(moved, offset, Math.min(had, bytes));
    this.freeOffset(ctx, offset);
    return moved;
  }

  freeOffset(ctx: MemContext, offset: OffsetPointer): void {
    this.#enter(ctx);
    if (offset === NULL_OFFSET) return;
    const bytes = this.#bytesAt(offset);
    this.#heap.free(offset);
    this.#allocatedBytes -= bytes;
    this.#blocks.delete(offset);
  }

  sizeOf(offset: OffsetPointer): number {
    return this.#blocks.get(offset) ?? 0;
  }

  /** Names a storage; this allocator keeps nothing in it. */
  createTls(ctx: MemContext): void {
    checkUsable(!this.#detached, 'MallocAllocator');
    checkNewContext(ctx);
    ctx.tid = ++this.#lastTid;
    this.#storages.add(ctx.tid);
  }

  freeTls(ctx: MemContext): void {
    this.#enter(ctx);
    checkContext(this.#storages.delete(ctx.tid), ctx);
    ctx.tid = NULL_TID;
  }

  addressOf(offset: OffsetPointer): DevicePtr {
    return (offset === NULL_OFFSET ? 0 : offset) as number as DevicePtr;
  }

  offsetOf(ptr: DevicePtr): OffsetPointer {
    return (ptr === 0 ? NULL_OFFSET : ptr) as number as OffsetPointer;
  }

  fullPointer(offset: OffsetPointer): FullPointer {
    return fullPointerOf(this, offset);
  }

  /** Frees all blocks: no other allocator can. */
  detach(): void {
    if (this.#detached) return;
    for (const offset of [...this.#blocks.keys()]) this.freeOffset({ tid: NULL_TID }, offset as OffsetPointer);
    this.#detached = true;
  }

  dispose(): void {
    this.detach();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `MallocAllocator { 1.0, 1.00 MiB allocated }`, `MallocAllocator { 1.0, detached }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => allocatorFacts(this, this.#detached));
  }

  checkInvariants(): void {
    const bytes = [...this.#blocks.values()].reduce((sum, size) => sum + size, 0);
    ensure(bytes === this.#allocatedBytes, 'allocated == sum(block.bytes)');
  }

  #bytesAt(offset: OffsetPointer): number {
    const bytes = this.#blocks.get(offset);
    if (bytes === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: offset });
    return bytes;
  }

  #enter(ctx: MemContext): void {
    checkUsable(!this.#detached, 'MallocAllocator');
    checkContext(ctx.tid === NULL_TID || this.#storages.has(ctx.tid), ctx);
  }
}

function checkContext(ok: boolean, ctx: MemContext): void {
  checkArgument(ok, 'the context', `one with thread id ${ctx.tid}`, 'one that createTls gave to this thread');
}
