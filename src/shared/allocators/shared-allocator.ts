import type { Releasable } from '../../core/disposable.js';
import { checkArgument } from '../../core/errors.js';
import { type DevicePtr, formatBytes, NULL_PTR } from '../../core/units.js';

declare const brand: unique symbol;

/** A place in a region: bytes from its start, the same number in every process. -1 is null. */
export type OffsetPointer = number & { readonly [brand]: 'OffsetPointer' };

/** The null offset. */
export const NULL_OFFSET = -1 as OffsetPointer;

/** Names an allocator among all that a process knows. */
export interface AllocatorId {
  readonly major: number;
  readonly minor: number;
}

/** A place in the region of a named allocator: it means the same in every process that has attached that allocator. */
export interface Pointer {
  readonly allocator: AllocatorId;
  readonly offset: OffsetPointer;
}

/** A pointer together with its address in this process. */
export interface FullPointer {
  readonly ptr: DevicePtr;
  readonly shared: Pointer;
}

/** The allocator of the null pointer. */
export const NULL_ALLOCATOR: AllocatorId = Object.freeze({ major: -1, minor: -1 });

/** The null pointer of no allocator. */
export const NULL_POINTER: Pointer = Object.freeze({ allocator: NULL_ALLOCATOR, offset: NULL_OFFSET });

/** The null pointer with its null address. */
export const NULL_FULL_POINTER: FullPointer = Object.freeze({ ptr: NULL_PTR, shared: NULL_POINTER });

/** Tells whether two ids name the same allocator. */
export function isSameAllocator(a: AllocatorId, b: AllocatorId): boolean {
  return a.major === b.major && a.minor === b.minor;
}

/** The thread id that means: look up the one of the thread that calls. */
export const NULL_TID = -1;

/** Hints for an allocation: on behalf of which thread-local storage it is made. */
export interface MemContext {
  /** As `createTls` set it, or {@link NULL_TID}. It is unique among all threads of all processes that use the region. */
  tid: number;
}

/** The context that serves nearly always: the calling thread's own storage. */
export const DEFAULT_MEM_CONTEXT: Readonly<MemContext> = Object.freeze({ tid: NULL_TID });

/**
 * What every allocator of shared memory offers. Blocks are named by offsets, which mean the same in every process.
 *
 * `ctx` tells on behalf of which thread a call is made; `DEFAULT_MEM_CONTEXT` means the one that calls. The null offset
 * stands for 0 bytes: it is what an allocation of 0 bytes gives, and freeing it does nothing. After a throw nothing has
 * changed.
 */
export interface SharedAllocator extends Releasable {
  /** Its name in the table of allocator types. */
  readonly type: string;
  readonly id: AllocatorId;
  /** What it can hand out at most, or undefined when it has no bound of its own. */
  readonly capacityBytes: number | undefined;
  /** Bytes that are handed out, by all processes, with what the allocator adds and threads keep in their caches. */
  readonly allocatedBytes: number;

  /**
   * Allocates a block.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_LOCK_TIMEOUT, ERR_MEM_DISPOSED
   */
  allocateOffset(ctx: MemContext, bytes: number): OffsetPointer;

  /**
   * Allocates a block at an address that is a multiple of `alignment` in this process; up to the size of a page, 4096, in
   * every process.
   *
   * @param alignment - bytes, a power of two; 0 for the allocator's own
   * @throws as {@link allocateOffset}, and ERR_MEM_INVALID_ALIGNMENT
   */
  alignedAllocateOffset(ctx: MemContext, bytes: number, alignment: number): OffsetPointer;

  /**
   * Makes a block larger or smaller, where it is or elsewhere; its content stays. Of null: allocates. To 0 bytes: frees.
   *
   * @throws as {@link allocateOffset} and {@link freeOffset}
   */
  reallocateOffset(ctx: MemContext, offset: OffsetPointer, bytes: number): OffsetPointer;

  /**
   * Frees a block, whichever process allocated it.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER when no block begins there, ERR_MEM_DOUBLE_FREE when it is free
   * @throws ERR_MEM_STILL_SHARED when references are counted on it
   */
  freeOffset(ctx: MemContext, offset: OffsetPointer): void;

  /** The bytes of the live block that `offset` heads, at least what was asked for; 0 if there is none, for any number. */
  sizeOf(offset: OffsetPointer): number;

  /**
   * Makes storage for a thread of its own and writes its id, unique among all threads of all processes, to `ctx`.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for the default context, ERR_MEM_OUT_OF_MEMORY when there are too many threads
   */
  createTls(ctx: MemContext): void;

  /** Ends what {@link createTls} made: its cache goes back, its id is used again. Blocks stay. @throws ERR_MEM_INVALID_ARGUMENT */
  freeTls(ctx: MemContext): void;

  /** The address of an offset in this process. */
  addressOf(offset: OffsetPointer): DevicePtr;

  /** The offset of an address in this process; null for one that lies elsewhere. */
  offsetOf(ptr: DevicePtr): OffsetPointer;

  /** An offset with its allocator and its address. */
  fullPointer(offset: OffsetPointer): FullPointer;

  /** Ends this thread's use of it; blocks stay. Every later call throws ERR_MEM_DISPOSED. Does nothing the second time. */
  detach(): void;

  /** As {@link detach}. */
  dispose(): void;

  /** Checks all that is kept in the region, in O(pages). For tests. @throws ERR_MEM_INVARIANT, ERR_MEM_REGION_DAMAGED */
  checkInvariants(): void;
}

/** Throws unless a context can get a storage of its own. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkNewContext(ctx: MemContext): void {
  const value = ctx.tid === NULL_TID ? 'the default one' : `one with thread id ${ctx.tid}`;
  const isOwn = ctx.tid === NULL_TID && !Object.isFrozen(ctx);
  checkArgument(isOwn, 'the context', value, 'one of your own, with the null thread id');
}

/** What {@link SharedAllocator.fullPointer} gives. */
export function fullPointerOf(allocator: SharedAllocator, offset: OffsetPointer): FullPointer {
  if (offset === NULL_OFFSET) return NULL_FULL_POINTER;
  return { ptr: allocator.addressOf(offset), shared: { allocator: allocator.id, offset } };
}

/** What an allocator says of itself in one line. */
export function allocatorFacts({ id, allocatedBytes, capacityBytes }: SharedAllocator, isDetached: boolean): string[] {
  const bound = capacityBytes === undefined ? '' : ` of ${formatBytes(capacityBytes)}`;
  return [allocatorKey(id), isDetached ? 'detached' : `${formatBytes(allocatedBytes)} allocated${bound}`];
}

/** An allocator's id as text: `1.0`. */
export function allocatorKey({ major, minor }: AllocatorId): string {
  return `${major}.${minor}`;
}

/** How every allocator is opened. */
export interface SharedAllocatorOptions {
  /** The longest time that a call may block the thread while another one has the lock. @defaultValue 1000 ms */
  readonly lockTimeoutMs?: number;
}
