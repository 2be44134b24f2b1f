import type { Device } from '../../core/device.js';
import type { StreamOperations } from '../../core/device-interface.js';
import { MemoryError } from '../../core/errors.js';
import { type ThreadLocalKey, ThreadModel } from './thread-model.js';

// Above every number of a host thread.
const TIDS_OF_HOST = 2 ** 31;

const numbers = new Map<string, number>();

/**
 * The streams of a device as threads: what one stream does is done in order, and streams run beside each other. The
 * current stream is the one that {@link onStream} runs under; each has values and a number of its own.
 */
export class StreamThreadModel extends ThreadModel {
  /** The device's. */
  readonly name: string;
  readonly #host: ThreadModel;
  readonly #streams: StreamOperations;
  #current = 0;

  /**
   * @param host - the model of the calling thread, which does the waiting
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM for a device without streams
   */
  constructor(device: Device, host: ThreadModel) {
    super();
    if (device.streams === undefined) {
      throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'a thread model of streams', platform: device.name });
    }
    this.name = device.name;
    this.#host = host;
    this.#streams = device.streams;
  }

  /** Runs `work`, which ends before it returns, on behalf of a stream. */
  onStream<T>(stream: number, work: () => T): T {
    const outer = this.#current;
    this.#current = stream;
    try {
      return work();
    } finally {
      this.#current = outer;
    }
  }

  /** The host thread's number together with one for the stream. */
  override getTid(): number {
    const key = `${this.name}/${this.#current}`;
    const number = numbers.get(key) ?? numbers.size + 1;
    numbers.set(key, number);
    return number * TIDS_OF_HOST + this.#host.getTid();
  }

  /** Asks the device once for the stream's work, which makes drivers submit what is queued, and lets other threads run. */
  override yield(): void {
    const event = this.#streams.record(this.#current);
    try {
      this.#streams.query(event);
    } finally {
      this.#streams.destroy(event);
    }
    this.#host.yield();
  }

  /** Stops the host thread, and so what it would have queued; work that is queued goes on. */
  override sleepForUs(us: number): void {
    this.#host.sleepForUs(us);
  }

  protected override placeOf(key: ThreadLocalKey<unknown>): string {
    return `${this.#current}/${key.id}`;
  }
}
