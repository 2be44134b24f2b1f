import type { StreamOperations } from '../core/device-interface.js';

/** The stream that still uses what the program freed: no program's, since those are handles or small numbers. */
export const OTHER_STREAM = Number.MAX_SAFE_INTEGER;

/**
 * The streams of a card of numbers. Their work is done at once, except that of {@link OTHER_STREAM}: an event of it is done when the
 * recording says so, or when somebody waits for it.
 */
export class CardStreams implements StreamOperations {
  /** The events of the other stream that were recorded since this was emptied. */
  recorded: number[] = [];
  readonly #pending = new Set<number>();
  #events = 0;

  defaultStream(): number {
    return 0;
  }

  record(stream: number): number {
    const event = ++this.#events;
    if (stream === OTHER_STREAM) {
      this.#pending.add(event);
      this.recorded.push(event);
    }
    return event;
  }

  query(event: number): boolean {
    return !this.#pending.has(event);
  }

  wait(): void {}

  synchronize(event: number): void {
    this.complete(event);
  }

  destroy(event: number): void {
    this.complete(event);
  }

  /** Says that the work before an event is done. */
  complete(event: number): void {
    this.#pending.delete(event);
  }
}
