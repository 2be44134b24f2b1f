import { isMainThread } from 'node:worker_threads';
import { threadIdentity } from '../../../adapters/os/process-identity.js';
import { yieldThread } from '../../../adapters/os/scheduling.js';
import { checkArgument } from '../../core/errors.js';

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

  /** Whether the calling thread is of this kind. */
  static applies(): boolean {
    return isMainThread;
  }

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

  /** Whether the calling thread is of this kind. */
  static applies(): boolean {
    return !isMainThread;
  }

  override sleepForUs(us: number): void {
    this.block(us, MAX_SLEEP_US);
  }
}

function checkUs(us: number, mostUs: number, otherwise = ''): void {
  checkArgument(us >= 0 && us <= mostUs, 'us', us, `from 0 to ${mostUs}${otherwise}`);
}
