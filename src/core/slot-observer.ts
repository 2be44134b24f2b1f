/**
 * Sees what happens in a slot, as plain numbers, right after it happened. Managers are given by their handles.
 *
 * Calls come from the middle of an allocation: an observer keeps them short, calls no manager, and does not throw (one that
 * does is dropped with a process warning). What a manager gets or gives back natively while it frees a block comes after
 * that free. Blocks that a manager frees by methods of its own, beside the slot, are not seen.
 */
export interface SlotObserver {
  /** A block was handed out; one of 0 bytes has the null pointer. */
  alloc(manager: number, ptr: number, bytes: number, device: number, stream: number): void;
  /** A block's last lock was cleared. */
  free(manager: number, ptr: number): void;
  /** A manager got a segment, or committed pages. */
  nativeAlloc(manager: number, ptr: number, bytes: number, device: number): void;
  /** A manager gave a segment back, or decommitted pages: a part of what it got, maybe. */
  nativeFree(manager: number, ptr: number, bytes: number): void;
  /** Another manager serves from now on. @param previous - 0 for none */
  swap(manager: number, previous: number): void;
  /** The program, or the slot for want of memory, told a manager to give its cached memory back. */
  cleanup(manager: number): void;
  /** An allocation was refused after the whole out-of-memory ladder. */
  outOfMemory(manager: number, bytes: number, device: number, stream: number): void;
}
