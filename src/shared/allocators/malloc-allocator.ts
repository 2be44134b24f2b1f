import { moveBytes } from '../../../adapters/os/bytes.js';
import { THREAD_HEAP } from '../../../adapters/os/thread-memory.js';
import { NONE } from '../../blocks/block-rows.js';
import { DeviceHeap } from '../../blocks/device-heap.js';
import { ensure } from '../../blocks/ensure.js';
import { MemoryError } from '../../core/errors.js';
import { checkAlignment, checkBytes, type DevicePtr } from '../../core/units.js';
import { type MemContext, NULL_TID } from '../mem-context.js';
import { type AllocatorId, type FullPointer, NULL_FULL_POINTER, NULL_OFFSET, type OffsetPointer } from '../offset-pointer.js';
import type { SharedRegion } from '../shared-region.js';
import type { SharedAllocator } from './shared-allocator.js';

const ALIGNMENT_BYTES = 32;
const HELD = 1;

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
  readonly #blocks = new DeviceHeap(0);
  readonly #storages = new Set<number>();
  #lastTid = 0;
  #allocatedBytes = 0;
  #detached = false;

  private constructor(init: MallocAllocatorInit) {
    this.id = init.id;
    this.#heap = init.heap ?? THREAD_HEAP;
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
    if (address === 0) throw this.#outOfMemory(bytes);
    this.#blocks.handOut(this.#blocks.create(address, bytes, this.#blocks.home), bytes, HELD);
    this.#allocatedBytes += bytes;
    return address as OffsetPointer;
  }

  reallocateOffset(ctx: MemContext, offset: OffsetPointer, bytes: number): OffsetPointer {
    checkBytes(bytes);
    const had = offset === NULL_OFFSET ? 0 : this.#blocks.bytesOf(this.#blockAt(offset));
    const moved = this.allocateOffset(ctx, bytes);
    if (moved !== NULL_OFFSET && had > 0) moveBytes(moved, offset, Math.min(had, bytes));
    this.freeOffset(ctx, offset);
    return moved;
  }

  freeOffset(ctx: MemContext, offset: OffsetPointer): void {
    this.#enter(ctx);
    if (offset === NULL_OFFSET) return;
    const block = this.#blockAt(offset);
    this.#heap.free(offset);
    this.#allocatedBytes -= this.#blocks.bytesOf(block);
    this.#blocks.remove(block);
  }

  sizeOf(offset: OffsetPointer): number {
    const block = offset > 0 ? this.#blocks.find(offset) : NONE;
    return block === NONE ? 0 : this.#blocks.bytesOf(block);
  }

  /** Names a storage; this allocator keeps nothing in it. */
  createTls(ctx: MemContext): void {
    this.#checkOpen();
    if (ctx.tid !== NULL_TID || Object.isFrozen(ctx)) throw badContext(ctx, 'one of your own, with the null thread id');
    this.#lastTid++;
    this.#storages.add(this.#lastTid);
    ctx.tid = this.#lastTid;
  }

  freeTls(ctx: MemContext): void {
    this.#enter(ctx);
    if (!this.#storages.delete(ctx.tid)) throw badContext(ctx, 'one that createTls gave to this thread');
    ctx.tid = NULL_TID;
  }

  addressOf(offset: OffsetPointer): DevicePtr {
    return (offset === NULL_OFFSET ? 0 : offset) as number as DevicePtr;
  }

  offsetOf(ptr: DevicePtr): OffsetPointer {
    return (ptr === 0 ? NULL_OFFSET : ptr) as number as OffsetPointer;
  }

  fullPointer(offset: OffsetPointer): FullPointer {
    if (offset === NULL_OFFSET) return NULL_FULL_POINTER;
    return { ptr: this.addressOf(offset), shared: { allocator: this.id, offset } };
  }

  /** Frees all blocks: nobody else can. */
  detach(): void {
    if (this.#detached) return;
    for (const block of [...this.#blocks]) this.freeOffset({ tid: NULL_TID }, this.#blocks.addressOf(block) as OffsetPointer);
    this.#detached = true;
    this.#blocks.close();
  }

  checkInvariants(): void {
    this.#blocks.checkInvariants();
    let bytes = 0;
    for (const block of this.#blocks) bytes += this.#blocks.bytesOf(block);
    ensure(bytes === this.#allocatedBytes, 'allocated == sum(block.bytes)');
  }

  #blockAt(offset: OffsetPointer): number {
    const block = offset > 0 ? this.#blocks.find(offset) : NONE;
    if (block === NONE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: offset });
    return block;
  }

  #enter(ctx: MemContext): void {
    this.#checkOpen();
    if (ctx.tid !== NULL_TID && !this.#storages.has(ctx.tid)) throw badContext(ctx, 'one that createTls gave to this thread');
  }

  #checkOpen(): void {
    if (this.#detached) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'MallocAllocator' });
  }

  #outOfMemory(requestedBytes: number): MemoryError {
    const allocatedBytes = this.#allocatedBytes;
    const facts = { requestedBytes, allocatedBytes, reservedBytes: allocatedBytes, capacityBytes: 0, device: 0 };
    return new MemoryError('ERR_MEM_OUT_OF_MEMORY', { ...facts, quota: 'what the C library has' });
  }
}

function badContext(ctx: MemContext, expected: string): MemoryError {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'the context', value: `one with thread id ${ctx.tid}`, expected });
}
