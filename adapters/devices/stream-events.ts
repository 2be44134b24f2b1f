import type { StreamOperations } from '../../src/core/device-interface.js';
import { checkArgument } from '../../src/core/errors.js';

// Shared by all devices of this process, so that no number names a stream or event of two devices.
let lastNumber = 0;

/** A number for a stream or an event that no other one of this process has had. */
export function nextNumber(): number {
  return ++lastNumber;
}

/**
 * Streams and events of a device. An event has a number that is never used twice: one that was destroyed is told from one
 * that was not.
 *
 * @throws (every method) ERR_MEM_INVALID_ARGUMENT for a stream that was closed or never made, an event that was destroyed
 * or never recorded, and one of another device; ERR_MEM_NATIVE where the driver refuses
 */
export abstract class StreamEvents<Stream, Event = Stream> implements StreamOperations {
  readonly #events = new Map<number, Event>();

  /** A stream by its number; 0 is the default one of the active device. */
  abstract find(stream: number): Stream;
  abstract defaultStream(device: number): number;
  protected abstract recordEvent(stream: Stream): Event;
  protected abstract isDone(event: Event): boolean;
  protected abstract waitFor(stream: Stream, event: Event): void;
  protected abstract finish(event: Event): void;
  protected abstract destroyEvent(event: Event): void;

  /** Tells whether an event stands for work that is being captured. Here: never. */
  protected isOfCapture(_event: Event): boolean {
    return false;
  }

  /** Events that were recorded and not destroyed. */
  get liveEvents(): number {
    return this.#events.size;
  }

  record(stream: number): number {
    const event = this.recordEvent(this.find(stream));
    const number = nextNumber();
    this.#events.set(number, event);
    return number;
  }

  query(event: number): boolean {
    return this.isDone(this.#event(event));
  }

  wait(stream: number, event: number): void {
    const found = this.#event(event);
    this.waitFor(this.find(stream), found);
  }

  synchronize(event: number): void {
    this.finish(this.#event(event));
  }

  isCaptured(event: number): boolean {
    return this.isOfCapture(this.#event(event));
  }

  destroy(event: number): void {
    this.destroyEvent(this.#event(event));
    this.#events.delete(event);
  }

  /** Destroys the events that belong to a device. */
  protected destroyAll(belongs: (event: Event) => boolean): void {
    for (const [number, event] of [...this.#events]) if (belongs(event)) this.destroy(number);
  }

  #event(event: number): Event {
    const found = this.#events.get(event);
    checkArgument(found !== undefined, 'event', event, 'an event of this device that was recorded and not destroyed');
    return found;
  }
}
