import { attempt, warn } from './attempt.js';

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
  /** The program, or the slot when it was out of memory, told a manager to give its cached memory back. */
  cleanup(manager: number): void;
  /** An allocation was refused after the whole out-of-memory ladder. */
  outOfMemory(manager: number, bytes: number, device: number, stream: number): void;
}

/** The events of a slot beside allocations and frees. */
export type RareEvents = Omit<SlotObserver, 'alloc' | 'free'>;

/** All observers of one slot. What is told them never throws. */
export class SlotObservers {
  // Replaced as a whole, so that an observer may leave while it is being called.
  #list: readonly SlotObserver[] = [];
  #rare: RareEvents | undefined;

  /** Whether anybody is told of allocations and frees. */
  get any(): boolean {
    return this.#list.length > 0;
  }

  /** Whether anybody is told of other events. */
  get anyRare(): boolean {
    return this.#list.length > 0 || this.#rare !== undefined;
  }

  /** Sets who is told of all but allocations and frees. */
  setRare(observer: RareEvents | undefined): void {
    this.#rare = observer;
  }

  add(observer: SlotObserver): void {
    if (!this.#list.includes(observer)) this.#list = [...this.#list, observer];
  }

  remove(observer: SlotObserver): void {
    this.#list = this.#list.filter((other) => other !== observer);
  }

  // The hot calls are written out: they make no closure.

  alloc(manager: number, ptr: number, bytes: number, device: number, stream: number): void {
    for (const observer of this.#list) {
      try {
        observer.alloc(manager, ptr, bytes, device, stream);
      } catch (error) {
        this.#drop(observer, error);
      }
    }
  }

  free(manager: number, ptr: number): void {
    for (const observer of this.#list) {
      try {
        observer.free(manager, ptr);
      } catch (error) {
        this.#drop(observer, error);
      }
    }
  }

  /** Makes any other call of each. */
  tell(call: (observer: RareEvents) => void): void {
    const rare = this.#rare;
    if (rare !== undefined) attempt(() => call(rare));
    for (const observer of this.#list) {
      try {
        call(observer);
      } catch (error) {
        this.#drop(observer, error);
      }
    }
  }

  /** Takes an observer out that threw. What it was told has happened, and must not look like a call that failed. */
  #drop(observer: SlotObserver, error: unknown): void {
    this.remove(observer);
    warn(error);
  }
}
