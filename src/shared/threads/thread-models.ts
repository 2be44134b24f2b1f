import type { Device } from '../../core/device.js';
import type { StreamOperations } from '../../core/device-interface.js';
import { checkArgument, MemoryError } from '../../core/errors.js';
import { MainThreadModel, type ThreadLocalKey, ThreadModel, WorkerThreadModel } from './thread-model.js';

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

/** How a thread model is made. */
export interface ThreadModelFactory {
  readonly name: string;
  /** Whether it is the model of the thread that calls. */
  applies(): boolean;
  create(): ThreadModel;
}

const entries = new Map<string, { readonly factory: ThreadModelFactory; model?: ThreadModel }>();
registerThreadModel({ name: 'main', applies: MainThreadModel.applies, create: () => new MainThreadModel() });
registerThreadModel({ name: 'worker', applies: WorkerThreadModel.applies, create: () => new WorkerThreadModel() });

/**
 * Gives the thread model of that name; without one, that of the calling thread: the last registered one that applies.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT for a name that is not registered
 */
export function threadModel(name?: string): ThreadModel {
  const entry = name === undefined ? [...entries.values()].findLast(({ factory }) => factory.applies()) : entries.get(name);
  checkArgument(entry !== undefined, 'the thread model', JSON.stringify(name), `one of ${threadModelNames().join(', ')}`);
  entry.model ??= entry.factory.create();
  return entry.model;
}

/** The names that are registered in this thread. */
export function threadModelNames(): string[] {
  return [...entries.keys()];
}

/**
 * Registers a thread model in this thread.
 *
 * @returns a function that unregisters it
 * @throws ERR_MEM_INVALID_ARGUMENT when the name is taken
 */
export function registerThreadModel(factory: ThreadModelFactory): () => void {
  const { name } = factory;
  checkArgument(!entries.has(name), 'the thread model', JSON.stringify(name), 'a name that is not registered');
  const entry = { factory };
  entries.set(name, entry);
  return () => {
    if (entries.get(name) === entry) entries.delete(name);
  };
}

/**
 * Registers the streams of a device as a thread model under the device's name. `threadModel(device.name)` gives it: the
 * calling thread stays a host thread.
 *
 * @returns the model, and a function that unregisters it
 * @throws ERR_MEM_UNSUPPORTED_PLATFORM for a device without streams, ERR_MEM_INVALID_ARGUMENT when it is registered
 */
export function registerDeviceThreads(device: Device): { readonly model: StreamThreadModel; readonly unregister: () => void } {
  const model = new StreamThreadModel(device, threadModel());
  return { model, unregister: registerThreadModel({ name: device.name, applies: () => false, create: () => model }) };
}
