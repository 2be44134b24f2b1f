import { checkArgument } from '../../src/core/errors.js';
import { nextNumber, StreamEvents } from './stream-events.js';

/** A device's own streams and events, as a driver has them, under numbers that are never used twice. */
export abstract class NativeStreams<Handle> extends StreamEvents<Handle> {
  readonly #streams = new Map<number, Handle>();
  /** By device. A number outlives what it names: a device that was closed is opened again. */
  readonly #defaults: number[] = [];

  /** The driver's default stream of a device, or of the active one. */
  protected abstract defaultOf(device?: number): Handle;
  /** Waits for a stream's work and gives the stream back. */
  protected abstract closeStream(stream: Handle): void;

  /** Streams that were made or adopted and not closed. */
  get liveStreams(): number {
    return this.#streams.size;
  }

  /** Gives a stream a number. */
  protected add(stream: Handle): number {
    const number = nextNumber();
    this.#streams.set(number, stream);
    return number;
  }

  override defaultStream(device: number): number {
    return (this.#defaults[device] ??= nextNumber());
  }

  /** Waits for a stream's work and gives the stream back; one that is closed already is ignored. */
  close(stream: number): void {
    const found = this.#streams.get(stream);
    if (found !== undefined) this.closeStream(found);
    this.#streams.delete(stream);
  }

  /** Gives back all that belongs to a device. */
  closeAll(belongs: (part: Handle) => boolean): void {
    this.destroyAll(belongs);
    for (const [number, stream] of [...this.#streams]) if (belongs(stream)) this.close(number);
  }

  override find(stream: number): Handle {
    if (stream === 0) return this.defaultOf();
    const device = this.#defaults.indexOf(stream);
    const found = device === -1 ? this.#streams.get(stream) : this.defaultOf(device);
    checkArgument(found !== undefined, 'stream', stream, '0, or a stream of this device that is not closed');
    return found;
  }
}
