import type { StreamOperations } from './device-interface.js';
import './disposable.js';
import type { Releasable } from './disposable.js';
import { checkArgument, checkUsable, MemoryError } from './errors.js';

/**
 * An order of work on a device: what is enqueued on one stream is done in turn, several streams work side by side.
 * `id` is what `allocBytes`, `copyAsync` and {@link StreamOperations} take; runtimes and handles take the object, too.
 * `Device.createStream` makes one.
 */
export class DeviceStream implements Releasable {
  readonly id: number;
  readonly #operations: StreamOperations;
  readonly #close: (id: number) => void;
  #isDisposed = false;

  /** @param close - gives the stream back to its device; called once */
  constructor(id: number, operations: StreamOperations, close: (id: number) => void) {
    this.id = id;
    this.#operations = operations;
    this.#close = close;
  }

  /** Whether it was closed. */
  get disposed(): boolean {
    return this.#isDisposed;
  }

  /** Marks the present end of the stream's work. @throws ERR_MEM_DISPOSED */
  record(): DeviceEvent {
    this.#checkOpen();
    return new DeviceEvent(this.#operations.record(this.id), this.#operations);
  }

  /**
   * Lets later work of this stream begin only after the event.
   *
   * @throws ERR_MEM_DISPOSED, ERR_MEM_INVALID_ARGUMENT for an event of another device
   */
  wait(event: DeviceEvent): void {
    this.#checkOpen();
    this.#operations.wait(this.id, event.idFor(this.#operations));
  }

  /** Blocks until the work so far is done. @throws ERR_MEM_DISPOSED */
  synchronize(): void {
    this.#checkOpen();
    waitForStream(this.#operations, this.id);
  }

  /** Waits for the work that the stream still has, and closes it. A second time does nothing. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#close(this.id);
    this.#isDisposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #checkOpen(): void {
    checkUsable(!this.#isDisposed, 'stream');
  }
}

/**
 * The id of a stream that was given as an object or as its id.
 *
 * @throws ERR_MEM_DISPOSED, ERR_MEM_INVALID_ARGUMENT for what is neither: it would stand for the default stream
 */
export function streamIdOf(stream: DeviceStream | number): number {
  if (typeof stream === 'number') return stream;
  // Not by its class: another copy of this package may have made it.
  checkArgument(typeof (stream as DeviceStream | null)?.id === 'number', 'stream', stream, 'a DeviceStream or its id');
  checkUsable(!stream.disposed, 'stream');
  return stream.id;
}

/** Blocks until the work so far of a stream is done. @throws what the device throws */
export function waitForStream(streams: StreamOperations, stream: number): void {
  const event = streams.record(stream);
  try {
    streams.synchronize(event);
  } finally {
    streams.destroy(event);
  }
}

/** A point in a stream's work. {@link DeviceStream.record} makes one. */
export class DeviceEvent implements Releasable {
  readonly #id: number;
  readonly #operations: StreamOperations;
  #isDisposed = false;

  constructor(id: number, operations: StreamOperations) {
    this.#id = id;
    this.#operations = operations;
  }

  /** Whether all work before it is done. @throws ERR_MEM_DISPOSED */
  get isDone(): boolean {
    return this.#operations.query(this.idFor(this.#operations));
  }

  /** Blocks until all work before it is done. @throws ERR_MEM_DISPOSED */
  synchronize(): void {
    this.#operations.synchronize(this.idFor(this.#operations));
  }

  /** The device's own number of it. @throws ERR_MEM_DISPOSED, ERR_MEM_INVALID_ARGUMENT when `operations` are another device's */
  idFor(operations: StreamOperations): number {
    if (this.#isDisposed) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'event' });
    if (operations === this.#operations) return this.#id;
    throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
      name: 'event',
      value: `${this.#id} of another device`,
      expected: "an event of the stream's own device",
    });
  }

  /** Gives the event back. A second time does nothing. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#operations.destroy(this.#id);
    this.#isDisposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Waits for the work so far on the default stream of a device, where it has streams. Before memory goes back that no other used. */
export function waitForDefaultStream(streams: StreamOperations | undefined, device: number): void {
  if (streams !== undefined) waitForStream(streams, streams.defaultStream(device));
}
