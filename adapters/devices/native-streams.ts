import type { StreamOperations } from '../../src/core/device-interface.js';
import { checkArgument } from '../../src/core/errors.js';

// Of all devices of this process, so that none is taken for one of another.
let lastNumber = 0;

/**
 * A device's own streams and events, as a driver has them, under numbers that are never used twice: one that is gone is
 * told from one that is not.
 *
 * @throws (every method) ERR_MEM_INVALID_ARGUMENT for a stream that was closed or never made, an event that was destroyed
 * or never recorded, and one of another device; ERR_MEM_NATIVE where the driver refuses
 */
export abstract class NativeStreams<Handle> implements StreamOperations {
  readonly #streams = new Map<number, Handle>();
  readonly #events = new Map<number, Handle>();
  /** By device. A number outlives what it names: a device that was closed is opened again. */
  readonly #defaults: number[] = [];

  /** The driver's default stream of a device, or of the active one. */
  protected abstract defaultOf(device?: number): Handle;
  /** Waits for a stream's work and gives the stream back. */
  protected abstract closeStream(stream: Handle): void;
  protected abstract recordEvent(stream: Handle): Handle;
  protected abstract isDone(event: Handle): boolean;
  protected abstract waitFor(stream: Handle, event: Handle): void;
  protected abstract finish(event: Handle): void;
  protected abstract destroyEvent(event: Handle): void;

  /** Streams that were made or adopted and not closed. */
  get liveStreams(): number {
    return this.#streams.size;
  }

  /** Events that were recorded and not destroyed. */
  get liveEvents(): number {
    return this.#events.size;
  }

  /** Gives a stream a number. */
  protected add(stream: Handle): number {
    this.#streams.set(++lastNumber, stream);
    return lastNumber;
  }

  defaultStream(device: number): number {
    return (this.#defaults[device] ??= ++lastNumber);
  }

  /** Waits for a stream's work and gives the stream back; one that is closed already is ignored. */
  close(stream: number): void {
    const found = this.#streams.get(stream);
    if (found !== undefined) this.closeStream(found);
    this.#streams.delete(stream);
  }

  /** Gives back all that belongs to a device. */
  closeAll(belongs: (part: Handle) => boolean): void {
    for (const [number, event] of [...this.#events]) if (belongs(event)) this.destroy(number);
    for (const [number, stream] of [...this.#streams]) if (belongs(stream)) this.close(number);
  }

  /** A stream by its number; 0 is the default one of the active device. */
  find(stream: number): Handle {
    if (stream === 0) return this.defaultOf();
    const device = this.#defaults.indexOf(stream);
    const found = device === -1 ? this.#streams.get(stream) : this.defaultOf(device);
    checkArgument(found !== undefined, 'stream', stream, '0, or a stream of this device that is not closed');
    return found;
  }

  record(stream: number): number {
    const event = this.recordEvent(this.find(stream));
    this.#events.set(++lastNumber, event);
    return lastNumber;
  }

  query(event: number): boolean {
    return this.isDone(this.#event(event));
  }

  wait(stream: number, event: number): void {
    this.waitFor(this.find(stream), this.#event(event));
  }

  synchronize(event: number): void {
    this.finish(this.#event(event));
  }

  destroy(event: number): void {
    this.destroyEvent(this.#event(event));
    this.#events.delete(event);
  }

  #event(event: number): Handle {
    const found = this.#events.get(event);
    checkArgument(found !== undefined, 'event', event, 'an event of this device that was recorded and not destroyed');
    return found;
  }
}
