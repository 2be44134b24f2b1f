import { MemoryError } from '../../core/errors.js';

/** Names a thread-local value. It can be sent to other threads: there it names their own value. */
export interface ThreadLocalKey<T> {
  readonly id: string;
  /** Only for the type. */
  readonly value?: T;
}

/** How the threads of one kind wait, and what they keep for themselves. */
export abstract class ThreadModel {
  abstract readonly name: string;

  /** The number of the thread that calls: no other thread of any process has it as long as this one runs. */
  abstract getTid(): number;

  /** Lets other threads run. */
  abstract yield(): void;

  /** Stops the thread. @param us - microseconds @throws ERR_MEM_INVALID_ARGUMENT */
  abstract sleepForUs(us: number): void;

  /** Makes a key, with this thread's value. The key is unique across threads and processes. */
  abstract createTls<T>(value: T): ThreadLocalKey<T>;

  /** This thread's value; undefined when it has set none. */
  abstract getTls<T>(key: ThreadLocalKey<T>): T | undefined;

  /** Sets this thread's value. */
  abstract setTls<T>(key: ThreadLocalKey<T>, value: T): void;
}

/** Throws unless it is a time. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkUs(us: number, mostUs: number, otherwise: string): void {
  if (us >= 0 && us <= mostUs) return;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'us', value: `${us}`, expected: `from 0 to ${mostUs}${otherwise}` });
}
