import { threadIdentity } from '../../../adapters/os/process-identity.js';

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
    lastKey++;
    const key = { id: `${threadIdentity().id}.${lastKey}` };
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
