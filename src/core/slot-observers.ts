import type { SlotObserver } from './slot-observer.js';

/**
 * All observers of one slot, as one. Callers on a hot path call {@link direct}, which is the observer itself while there is
 * only one, and hand what it throws to {@link drop}.
 */
export class SlotObservers implements SlotObserver {
  // Replaced as a whole, so that an observer may leave while it is being called.
  #list: readonly SlotObserver[] = [];
  /** Who is to be called. */
  direct: SlotObserver = this;

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
    this.#tell((observer) => observer.alloc(manager, ptr, bytes, device, stream));
  }

  free(manager: number, ptr: number): void {
    this.#tell((observer) => observer.free(manager, ptr));
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
        this.drop(observer, error);
      }
    }
  }

  #set(list: readonly SlotObserver[]): void {
    this.#list = list;
    this.direct = list.length === 1 ? list[0]! : this;
  }

  /** Takes an observer out that threw. What it was told has happened, and must not look like a call that failed. */
  drop(observer: SlotObserver, error: unknown): void {
    this.remove(observer);
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}
