import { isMainThread } from 'node:worker_threads';
import { threadIdentity } from '../../../adapters/os/process-identity.js';
import { yieldThread } from '../../../adapters/os/scheduling.js';
import type { Device } from '../../core/device.js';
import type { StreamOperations } from '../../core/device-interface.js';
import { checkArgument, MemoryError } from '../../core/errors.js';
import { INSPECT, inspected } from '../../core/inspect.js';

// No timer of Node is longer.
const MAX_SLEEP_US = (2 ** 31 - 1) * 1000;
const US_PER_MS = 1000;

const idle = new Int32Array(new SharedArrayBuffer(4));

/** Names a thread-local value. It can be sent to other threads: there it names their own value. */
export interface ThreadLocalKey<T> {
  readonly id: string;
  /** Only for the type. */
  readonly value?: T;
}

let lastKey = 0;

/** How the threads of one kind wait, and what they keep for themselves. */
export abstract class ThreadModel {
  abstract readonly name: string;
  readonly #values = new Map<string, unknown>();

  /** The number of the thread that calls: no other thread of any process has it as long as this one runs. */
  abstract getTid(): number;

  /** Lets other threads run. */
  abstract yield(): void;

  /** Stops the thread. @param us - microseconds @throws ERR_MEM_INVALID_ARGUMENT */
  abstract sleepForUs(us: number): void;

  /** Makes a key, with this thread's value. The key is unique across threads and processes. */
  createTls<T>(value: T): ThreadLocalKey<T> {
    const key = { id: `${threadIdentity().id}.${++lastKey}` };
    this.setTls(key, value);
    return key;
  }

  /** This thread's value; undefined when it has set none. */
  getTls<T>(key: ThreadLocalKey<T>): T | undefined {
    return this.#values.get(this.placeOf(key)) as T | undefined;
  }

  /** Sets this thread's value. */
  setTls<T>(key: ThreadLocalKey<T>, value: T): void {
    this.#values.set(this.placeOf(key), value);
  }

  /** Names a value among all that this object keeps. One object serves one thread, unless a subclass tells threads apart here. */
  protected placeOf(key: ThreadLocalKey<unknown>): string {
    return key.id;
  }

  /** `MainThreadModel { main }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => [this.name]);
  }
}

/** The threads that run JavaScript. Each has values of its own, because each has its own objects. */
export abstract class HostThreadModel extends ThreadModel {
  override getTid(): number {
    return threadIdentity().id;
  }

  override yield(): void {
    yieldThread();
  }

  /** Blocks the thread. @param mostUs - the longest time @throws ERR_MEM_INVALID_ARGUMENT */
  protected block(us: number, mostUs: number, otherwise = ''): void {
    checkUs(us, mostUs, otherwise);
    Atomics.wait(idle, 0, 0, us / US_PER_MS);
  }
}

/** Node's main thread: while it sleeps nothing else in the program runs, so it sleeps only shortly. */
export class MainThreadModel extends HostThreadModel {
  /** The longest sleep that {@link sleepForUs} takes: 100 ms. */
  static readonly MAX_SLEEP_US = 100_000;
  readonly name = 'main';

  /** @throws ERR_MEM_INVALID_ARGUMENT above 100 ms, for which {@link sleepForUsAsync} is there */
  override sleepForUs(us: number): void {
    this.block(us, MainThreadModel.MAX_SLEEP_US, ' on the main thread: sleepForUsAsync lets the event loop run');
  }

  /** Waits while the event loop runs; in whole milliseconds. @throws ERR_MEM_INVALID_ARGUMENT */
  async sleepForUsAsync(us: number): Promise<void> {
    checkUs(us, MAX_SLEEP_US);
    await new Promise((resolve) => setTimeout(resolve, Math.ceil(us / US_PER_MS)));
  }
}

/** A thread of `node:worker_threads`: it may sleep as long as it likes. */
export class WorkerThreadModel extends HostThreadModel {
  readonly name = 'worker';

  override sleepForUs(us: number): void {
    this.block(us, MAX_SLEEP_US);
  }
}

function checkUs(us: number, mostUs: number, otherwise = ''): void {
  checkArgument(us >= 0 && us <= mostUs, 'us', us, `from 0 to ${mostUs}${otherwise}`);
}

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
  readonly #streams: StreamOperations;
  #current = 0;

  /**
   * @param host - the model of the calling thread, which does the waiting
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM for a device without streams
   */
  constructor(
    device: Device,
    protected readonly host: ThreadModel,
  ) {
    super();
    if (device.streams === undefined) {
      throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'a thread model of streams', platform: device.name });
    }
    this.name = device.name;
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
    return number * TIDS_OF_HOST + this.host.getTid();
  }

  /** Asks the device once for the stream's work, which makes drivers submit what is queued, and lets other threads run. */
  override yield(): void {
    const event = this.#streams.record(this.#current);
    try {
      this.#streams.query(event);
    } finally {
      this.#streams.destroy(event);
    }
    this.host.yield();
  }

  /** Stops the host thread, and so what it would have queued; work that is queued goes on. */
  override sleepForUs(us: number): void {
    this.host.sleepForUs(us);
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
registerThreadModel({ name: 'main', applies: () => isMainThread, create: () => new MainThreadModel() });
registerThreadModel({ name: 'worker', applies: () => !isMainThread, create: () => new WorkerThreadModel() });

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
