import { attempt, orUndo } from '../core/attempt.js';
import { counted } from '../core/counted.js';
import type { Releasable } from '../core/disposable.js';
import { checkArgument, checkRange, checkUsable } from '../core/errors.js';
import { INSPECT, inspected } from '../core/inspect.js';
import { processState, type Reclaimable } from '../core/process-state.js';
import type { TypedArrayClass } from '../core/typed-array.js';
import { checkBytes, type DevicePtr, formatBytes } from '../core/units.js';
import { checkSharing, type PageAllocator } from './allocators/page-allocator.js';
import {
  type AllocatorId,
  allocatorKey,
  DEFAULT_MEM_CONTEXT,
  type OffsetPointer,
  type SharedAllocator,
} from './allocators/shared-allocator.js';
import { memoryRegistry } from './memory-registry.js';
import type { CountedReference } from './pages/region-references.js';

/** Finds allocators by id: a registry. */
export interface AllocatorLookup {
  getAllocator(id: AllocatorId): SharedAllocator;
}

/**
 * Names a shared block in a message to a worker or another process: a plain object that `postMessage` and
 * `child.send` take. By itself it keeps nothing alive.
 */
export interface SharedAllocationToken {
  readonly allocator: AllocatorId;
  readonly offset: number;
  readonly bytes: number;
  /** Tells this block from later ones at the same place. */
  readonly generation: number;
  /** In a token of {@link SharedAllocation.handOver}: the reference that goes over, and who has counted it. */
  readonly reference?: number;
  readonly from?: number;
}

/**
 * A block that threads of several processes use, as one of them holds it. References are counted in the region; dropping the
 * last one frees the block.
 *
 * A handle that is dropped without being disposed is released when the garbage collector finds it. What a process held
 * when it died goes back by `allocator.reclaim(pid)`.
 */
export class SharedAllocation implements Releasable {
  readonly #held: HeldReference;

  private constructor(
    readonly allocator: PageAllocator,
    readonly offset: OffsetPointer,
    /** The bytes that were asked for. */
    readonly bytes: number,
    counted: CountedReference,
  ) {
    this.#held = new HeldReference(allocator, counted);
    processState().droppedHandles.register(this, this.#held, this);
  }

  /**
   * Allocates a block to be shared.
   *
   * @param bytes - above 0
   * @throws as {@link SharedAllocator.allocateOffset}, and ERR_MEM_UNSUPPORTED_PLATFORM for an allocator that cannot share
   */
  static allocate(allocator: SharedAllocator, bytes: number): SharedAllocation {
    const pages = checkSharing(allocator);
    const offset = pages.allocateOffset(DEFAULT_MEM_CONTEXT, bytes);
    return orUndo(
      () => SharedAllocation.share(pages, offset, bytes),
      () => pages.freeOffset(DEFAULT_MEM_CONTEXT, offset),
    );
  }

  /**
   * Turns a block into a counted one: from now on it is freed by dropping its references, not by its offset.
   *
   * @param bytes - what the block is used for; at most what it has
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE, ERR_MEM_OUT_OF_RANGE, ERR_MEM_OUT_OF_MEMORY,
   *   ERR_MEM_UNSUPPORTED_PLATFORM, ERR_MEM_LOCK_TIMEOUT
   */
  static share(allocator: SharedAllocator, offset: OffsetPointer, bytes = allocator.sizeOf(offset)): SharedAllocation {
    const pages = checkSharing(allocator);
    const blockBytes = pages.sizeOf(offset);
    checkBytes(bytes);
    if (blockBytes > 0) checkRange(0, bytes, blockBytes);
    return new SharedAllocation(pages, offset, bytes, pages.references.share(offset));
  }

  /**
   * Uses the block that a token names, with a reference of its own, or with the one that was handed over.
   *
   * @param allocators - where the token's allocator is found. @defaultValue the thread's registry
   * @throws ERR_MEM_STALE_TOKEN when the block was freed since, or its reference was taken already
   * @throws ERR_MEM_INVALID_ARGUMENT for what is no token, and an allocator that is unknown here
   * @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_LOCK_TIMEOUT
   */
  static attach(token: SharedAllocationToken, allocators: AllocatorLookup = memoryRegistry()): SharedAllocation {
    checkToken(token);
    const allocator = checkSharing(allocators.getAllocator(token.allocator));
    const { references } = allocator;
    const { generation, reference, from } = token;
    const offset = token.offset as OffsetPointer;
    const counted =
      reference === undefined || from === undefined
        ? references.retain(offset, generation)
        : references.adopt(offset, { reference: reference as OffsetPointer, generation }, from);
    orUndo(
      () => checkRange(0, token.bytes, allocator.sizeOf(offset)),
      () => references.drop(counted.reference),
    );
    return new SharedAllocation(allocator, offset, token.bytes, counted);
  }

  get disposed(): boolean {
    return this.#held.released;
  }

  /** Its address in this process. @throws ERR_MEM_DISPOSED */
  get ptr(): DevicePtr {
    this.#held.check();
    return this.allocator.addressOf(this.offset);
  }

  /** The references on the block, in all processes. @throws ERR_MEM_DISPOSED */
  get references(): number {
    this.#held.check();
    return this.allocator.references.count(this.offset);
  }

  /**
   * Shows the block, or a part of it, as a typed array without copying. What another thread writes is seen in it.
   *
   * @param offsetBytes - where in the block it begins; a multiple of the element's size
   * @param length - elements; as many as fit when left out
   * @throws ERR_MEM_DISPOSED, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_ARGUMENT
   */
  view<T>(type: TypedArrayClass<T>, offsetBytes = 0, length?: number): T {
    this.#held.check();
    const elementBytes = type.BYTES_PER_ELEMENT;
    const count = length ?? Math.floor((this.bytes - offsetBytes) / elementBytes);
    // A number of elements, and whole.
    checkRange(0, count, this.bytes);
    checkRange(offsetBytes, count * elementBytes, this.bytes);
    checkArgument(offsetBytes % elementBytes === 0, 'offsetBytes', offsetBytes, `a multiple of ${elementBytes}`);
    const seen = this.allocator.region.view(this.offset + offsetBytes, count * elementBytes);
    return new type(seen.buffer, seen.byteOffset, count);
  }

  /** A token that others can attach while a reference is held: keep this handle until they have. @throws ERR_MEM_DISPOSED */
  token(): SharedAllocationToken {
    const { generation } = this.#held.check();
    return { allocator: this.allocator.id, offset: this.offset, bytes: this.bytes, generation };
  }

  /**
   * A token that takes this handle's reference along: one thread can attach it, and this handle is disposed. Until then the
   * reference counts as this process's, for {@link PageAllocator.reclaim}.
   *
   * @throws ERR_MEM_DISPOSED
   */
  handOver(): SharedAllocationToken {
    const { reference } = this.#held.check();
    const token = { ...this.token(), reference, from: this.allocator.references.holder };
    processState().droppedHandles.unregister(this);
    this.#held.dropped = true;
    return token;
  }

  /** Drops this handle's reference; the last one frees the block. Does nothing the second time. @throws ERR_MEM_LOCK_TIMEOUT */
  dispose(): void {
    this.#held.release();
    processState().droppedHandles.unregister(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `SharedAllocation { allocator 1.0 at 0x1000, 1.00 MiB, 2 references }`, `SharedAllocation { disposed }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => {
      if (this.disposed) return ['disposed'];
      const place = `allocator ${allocatorKey(this.allocator.id)} at 0x${this.offset.toString(16)}`;
      return [place, formatBytes(this.bytes), counted(this.references, 'reference')];
    });
  }
}

/** The reference of one handle. It outlives a handle that is dropped, and then releases itself. */
class HeldReference implements Reclaimable {
  /** Whether the reference was dropped, or has gone over to another thread. */
  dropped = false;

  constructor(
    readonly allocator: PageAllocator,
    readonly counted: CountedReference,
  ) {}

  get released(): boolean {
    return this.dropped || this.allocator.detached || this.allocator.region.closed;
  }

  check(): CountedReference {
    checkUsable(!this.released, 'shared allocation');
    return this.counted;
  }

  release(): void {
    if (!this.released) this.allocator.references.drop(this.counted.reference);
    this.dropped = true;
  }

  reclaim(): void {
    attempt(() => this.release());
  }
}

function checkToken(token: SharedAllocationToken): void {
  const { offset, bytes, generation, allocator, reference = 0, from = 0 } = token ?? {};
  const numbers = [offset, bytes, generation, allocator?.major, allocator?.minor, reference, from];
  const isToken = numbers.every(Number.isSafeInteger) && token.bytes >= 0;
  checkArgument(isToken, 'the token', JSON.stringify(token), 'what SharedAllocation.token() gave');
}
