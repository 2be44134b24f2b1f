import type { SlotObserver } from '../../core/slot-observer.js';
import { TraceKind } from '../trace-events.js';
import type { RecordingContext } from './recording-context.js';

/**
 * Writes what happens in one slot, at some nanoseconds an event. Allocations and frees read the clock now and then, all else
 * every time: it is rare, and takes longer itself.
 */
export class SlotRecorder implements SlotObserver {
  readonly #context: RecordingContext;
  readonly #slot: number;
  readonly #space: string;

  /**
   * @param slot - a number above 0 that no other slot of the recording has
   * @param space - the name of the slot's space
   */
  constructor(context: RecordingContext, slot: number, space: string) {
    this.#context = context;
    this.#slot = slot;
    this.#space = space;
  }

  alloc(manager: number, ptr: number, bytes: number, device: number, stream: number): void {
    const context = this.#context;
    if (--context.untilClock < 0) context.readClock();
    if (manager !== context.manager || this.#slot !== context.slot) context.enter(manager, this.#slot, this.#space);
    if (device !== context.device || stream !== context.stream || context.process.allocationTag !== context.tag) {
      context.enterAllocation(device, stream);
    }
    context.encoder.sized(TraceKind.alloc, ptr, bytes);
  }

  free(manager: number, ptr: number): void {
    const context = this.#context;
    if (--context.untilClock < 0) context.readClock();
    if (manager !== context.manager || this.#slot !== context.slot) context.enter(manager, this.#slot, this.#space);
    context.encoder.free(ptr);
  }

  nativeAlloc(manager: number, ptr: number, bytes: number, device: number): void {
    this.#enterRare(manager);
    this.#context.enterAllocation(device, this.#context.stream);
    this.#context.encoder.sized(TraceKind.nativeAlloc, ptr, bytes);
  }

  nativeFree(manager: number, ptr: number, bytes: number): void {
    this.#enterRare(manager);
    this.#context.encoder.sized(TraceKind.nativeFree, ptr, bytes);
  }

  swap(manager: number): void {
    this.#enterRare(manager);
    this.#context.encoder.mark(TraceKind.swap);
  }

  cleanup(manager: number): void {
    this.#enterRare(manager);
    this.#context.encoder.mark(TraceKind.cleanup);
  }

  outOfMemory(manager: number, bytes: number, device: number, stream: number): void {
    this.#enterRare(manager);
    this.#context.enterAllocation(device, stream);
    this.#context.encoder.outOfMemory(bytes);
  }

  #enterRare(manager: number): void {
    this.#context.readClock();
    this.#context.enter(manager, this.#slot, this.#space);
  }
}
