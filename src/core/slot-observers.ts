import type { SlotObserver } from './slot-observer.js';

/** All observers of one slot, as one. */
export class SlotObservers implements SlotObserver {
  // Replaced as a whole, so that an observer may leave while it is being called.
  #list: readonly SlotObserver[] = [];

  /** Whether there is anybody. */
  get any(): boolean {
    return this.#list.length > 0;
  }

  add(observer: SlotObserver): void {
    if (!this.#list.includes(observer)) this.#list = [...this.#list, observer];
  }

  remove(observer: SlotObserver): void {
    this.#list = this.#list.filter((other) => other !== observer);
  }

  alloc(manager: number, ptr: number, bytes: number, device: number, stream: number): void {
    const list = this.#list;
    for (let i = 0; i < list.length; i++) {
      try {
        list[i]!.alloc(manager, ptr, bytes, device, stream);
      } catch (error) {
        this.#drop(list[i]!, error);
      }
    }
  }

  free(manager: number, ptr: number): void {
    const list = this.#list;
    for (let i = 0; i < list.length; i++) {
      try {
        list[i]!.free(manager, ptr);
      } catch (error) {
        this.#drop(list[i]!, error);
      }
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

  /** What is being told has happened: an observer's failure must not make it look like one that failed. */
  #drop(observer: SlotObserver, error: unknown): void {
    this.remove(observer);
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}
