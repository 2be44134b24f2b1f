import { MemoryError } from '../../core/errors.js';
import type { LedgerIdentities } from './ledger-identity.js';
import { Control } from './ledger-layout.js';
import type { LedgerWords } from './ledger-words.js';

const LOCK = Control.lock / 2;
const FREE = 0n;
const SPINS = 200;
const SLEEP_MS = 0.25;
// Others hold it for some microseconds, unless they are stopped in the middle.
const LOCK_TIMEOUT_MS = 1000;
const idle = new Int32Array(new SharedArrayBuffer(4));

/**
 * The lock of a ledger: for its segments, and for returning what members held that have ended. Nobody needs it to take and to
 * give. It names its owner, and passes to the next one when that has ended; there is nothing to take back then.
 */
export class LedgerLock {
  constructor(
    readonly words: LedgerWords,
    readonly identities: LedgerIdentities,
  ) {}

  /** Does `work` under the lock. Blocks the thread for a second at most. @throws ERR_MEM_LOCK_TIMEOUT, and what `work` throws */
  with<T>(work: () => T): T {
    const start = performance.now();
    if (!this.#acquire(LOCK_TIMEOUT_MS)) {
      const ownerPid = this.identities.idOf(Atomics.load(this.words.int64, LOCK));
      throw new MemoryError('ERR_MEM_LOCK_TIMEOUT', { ownerPid, waitedMs: Math.round(performance.now() - start) });
    }
    return this.#do(work);
  }

  /** As {@link with}, for a time. @returns `busy` when another one has had the lock for so long */
  within<T>(timeoutMs: number, busy: T, work: () => T): T {
    return this.#acquire(timeoutMs) ? this.#do(work) : busy;
  }

  #do<T>(work: () => T): T {
    try {
      return work();
    } finally {
      Atomics.store(this.words.int64, LOCK, FREE);
    }
  }

  #acquire(timeoutMs: number): boolean {
    for (let spin = 0; spin < SPINS; spin++) if (this.#pass(FREE)) return true;
    const start = performance.now();
    do {
      const owner = Atomics.load(this.words.int64, LOCK);
      if ((owner === FREE || !this.identities.isAlive(owner)) && this.#pass(owner)) return true;
      Atomics.wait(idle, 0, 0, SLEEP_MS);
    } while (performance.now() - start < timeoutMs);
    return false;
  }

  /** Takes it from an owner, or from none. */
  #pass(from: bigint): boolean {
    const { int64 } = this.words;
    return Atomics.load(int64, LOCK) === from && Atomics.compareExchange(int64, LOCK, from, this.identities.self) === from;
  }
}
