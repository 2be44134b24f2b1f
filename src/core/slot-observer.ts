import { warn } from './attempt.js';

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

/** All observers of one slot, as one that never throws. */
export class SlotObservers implements SlotObserver {
  // Replaced as a whole, so that an observer may leave while it is being called.
  #list: readonly SlotObserver[] = [];
  // Called directly while there is only one: the hot calls make no closure then.
  #only: SlotObserver | undefined;

  /** Whether there is anybody. */
  get any(): boolean {
    return this.#list.length > 0;
  }

  add(observer: SlotObserver): void {
    if (!this.#list.includes(observer)) this.#set([...this.#list, observer]);
  }

  remove(observer: SlotObserver): void {
    this.#set(this.#list.filter((other) => other !== observer));
  }

  alloc(manager: number, ptr: number, bytes: number, device: number, stream: number): void {
    const only = this.#only;
    if (only === undefined) {
      this.#tell((observer) => observer.alloc(manager, ptr, bytes, device, stream));
      return;
    }
    try {
      only.alloc(manager, ptr, bytes, device, stream);
    } catch (error) {
      this.#drop(only, error);
    }
  }

  free(manager: number, ptr: number): void {
    const only = this.#only;
    if (only === undefined) {
      this.#tell((observer) => observer.free(manager, ptr));
      return;
    }
    try {
      only.free(manager, ptr);
    } catch (error) {
      this.#drop(only, error);
    }
  }

  nativeAlloc(manager: number, ptr: number, bytes: number, device: number): void {
    this.#tell((observer) => observer.nativeAlloc(manager, ptr, bytes, device));
  }

  nativeFree(manager: number, ptr: number, bytes: number): void {
    this.#tell((observer) => observer.nativeFree(manager, ptr, bytes));
  }

  swap(manager: number, previous: number): void {
    this.#tell((observer) => observer.swap(manager, previous));
  }

  cleanup(manager: number): void {
    this.#tell((observer) => observer.cleanup(manager));
  }

  outOfMemory(manager: number, bytes: number, device: number, stream: number): void {
    this.#tell((observer) => observer.outOfMemory(manager, bytes, device, stream));
  }

  #tell(call: (observer: SlotObserver) => void): void {
    for (const observer of this.#list) {
      try {
        call(observer);
      } catch (error) {
        this.#drop(observer, error);
      }
    }
  }

  #set(list: readonly SlotObserver[]): void {
    this.#list = list;
    this.#only = list.length === 1 ? list[0] : undefined;
  }

  /** Takes an observer out that threw. What it was told has happened, and must not look like a call that failed. */
  #drop(observer: SlotObserver, error: unknown): void {
    this.remove(observer);
    warn(error);
  }
}
