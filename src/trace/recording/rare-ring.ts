import type { RareEvents } from '../../core/slot-observer.js';
import { TraceKind } from '../trace-events.js';

/** Events that are kept at most, and at least half as many where there were so many. */
const MOST_EVENTS = 65_536;

/** An event of a slot beside allocations and frees. */
export interface RareEvent {
  readonly kind: TraceKind;
  /** The number that the next event of the ring had. */
  readonly before: number;
  readonly ms: number;
  readonly manager: number;
  readonly ptr: number;
  readonly bytes: number;
  readonly device: number;
  readonly stream: number;
}

/** The last native calls, swaps, cleanups and refusals of a slot. */
export class RareRing implements RareEvents {
  readonly #next: () => number;
  readonly #refused: () => void;
  #events: RareEvent[] = [];

  /**
   * @param next - the number of the next event of the ring
   * @param refused - called when an allocation was refused
   */
  constructor(next: () => number, refused: () => void) {
    this.#next = next;
    this.#refused = refused;
  }

  /** Those that came when the ring had reached an event, or later. */
  since(event: number): RareEvent[] {
    return this.#events.filter(({ before }) => before >= event);
  }

  nativeAlloc(manager: number, ptr: number, bytes: number, device: number): void {
    this.#add(TraceKind.nativeAlloc, manager, ptr, bytes, device);
  }

  nativeFree(manager: number, ptr: number, bytes: number): void {
    this.#add(TraceKind.nativeFree, manager, ptr, bytes);
  }

  swap(manager: number): void {
    this.#add(TraceKind.swap, manager);
  }

  cleanup(manager: number): void {
    this.#add(TraceKind.cleanup, manager);
  }

  outOfMemory(manager: number, bytes: number, device: number, stream: number): void {
    this.#add(TraceKind.outOfMemory, manager, 0, bytes, device, stream);
    this.#refused();
  }

  #add(kind: TraceKind, manager: number, ptr = 0, bytes = 0, device = 0, stream = 0): void {
    if (this.#events.length === MOST_EVENTS) this.#events = this.#events.slice(MOST_EVENTS / 2);
    this.#events.push({ kind, before: this.#next(), ms: performance.now(), manager, ptr, bytes, device, stream });
  }
}
