import { type DevicePtr, NULL_PTR } from '../core/units.js';

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
