import { isMainThread } from 'node:worker_threads';
import { threadIdentity } from '../../../adapters/os/process-identity.js';
import { yieldThread } from '../../../adapters/os/scheduling.js';
import { checkUs, type ThreadLocalKey, ThreadModel } from './thread-model.js';

// No timer of Node is longer.
const MAX_SLEEP_US = (2 ** 31 - 1) * 1000;
const US_PER_MS = 1000;

const idle = new Int32Array(new SharedArrayBuffer(4));
let lastKey = 0;

/** The threads that run JavaScript. Each has values of its own, because each has its own objects. */
export abstract class HostThreadModel extends ThreadModel {
  readonly #values = new Map<string, unknown>();

  override getTid(): number {
    return threadIdentity().id;
  }

  override yield(): void {
    yieldThread();
  }

  override createTls<T>(value: T): ThreadLocalKey<T> {
    const key = newThreadLocalKey<T>();
    this.setTls(key, value);
    return key;
  }

  override getTls<T>(key: ThreadLocalKey<T>): T | undefined {
    return this.#values.get(key.id) as T | undefined;
  }

  override setTls<T>(key: ThreadLocalKey<T>, value: T): void {
    this.#values.set(key.id, value);
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
    checkUs(us, MainThreadModel.MAX_SLEEP_US, ' on the main thread: sleepForUsAsync lets the event loop run');
    blockForUs(us);
  }

  /** Waits while the event loop runs; in whole milliseconds. @throws ERR_MEM_INVALID_ARGUMENT */
  async sleepForUsAsync(us: number): Promise<void> {
    checkUs(us, MAX_SLEEP_US, '');
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
    checkUs(us, MAX_SLEEP_US, '');
    blockForUs(us);
  }
}

/** Makes a key that no other thread makes. */
export function newThreadLocalKey<T>(): ThreadLocalKey<T> {
  lastKey++;
  return { id: `${threadIdentity().id}.${lastKey}` };
}

function blockForUs(us: number): void {
  Atomics.wait(idle, 0, 0, us / US_PER_MS);
}
