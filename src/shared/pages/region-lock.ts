import { futexWait, futexWaitAsync, futexWake } from '../../../adapters/os/futex.js';
import { orUndo } from '../../core/attempt.js';
import { MemoryError } from '../../core/errors.js';
import { Control, HOLDER_MASK } from './layout.js';
import type { Participants } from './participants.js';
import type { RegionWords } from './region-words.js';

// Set while somebody may be asleep on the word.
const WAITERS = 2 ** 30;
const SPINS = 200;
const FIRST_SLEEP_MS = 0.25;
const LONGEST_SLEEP_MS = 20;

/**
 * The lock of a region, between threads and processes; a thread that has died does not keep it.
 *
 * The word holds 0 or the owner's holder. Waiting spins, then sleeps, and looks every time it wakes whether the owner still
 * runs: when it does not, the lock passes to the waiter. A new owner rolls back the operation that the journal
 * holds, so that the region is sound whenever the lock is held.
 */
export class RegionLock {
  readonly #near: Int32Array;
  readonly #address: number;

  constructor(
    readonly words: RegionWords,
    readonly participants: Participants,
    /** The longest time that a call waits for the lock. */
    readonly timeoutMs: number,
  ) {
    this.#near = words.near;
    this.#address = words.region.base + Control.lock * 4;
  }

  /**
   * Takes the lock, and blocks the thread for `timeoutMs` at most.
   *
   * @param holder - the holder that takes it
   * @throws ERR_MEM_LOCK_TIMEOUT, ERR_MEM_REGION_DAMAGED
   */
  acquire(holder: number): void {
    if (Atomics.compareExchange(this.#near, Control.lock, 0, holder) !== 0) this.#wait(holder);
    if (this.words.pending) this.#repair();
  }

  /**
   * Does `work` with the lock held, and lets the event loop run until the lock is free. `work` gives the lock back. Nothing
   * else of this thread can run in between, where it would wait for itself.
   *
   * @throws as {@link acquire}, and what `work` throws
   */
  async acquireAsync<T>(holder: number, work: () => T): Promise<T> {
    for (const [word, ms] of this.#waits(holder)) await futexWaitAsync(this.#address, word, ms);
    if (this.words.pending) this.#repair();
    return work();
  }

  /** Takes back what was not committed, and gives the lock back. @throws ERR_MEM_REGION_DAMAGED */
  release(): void {
    try {
      if (this.words.pending) this.words.rollback();
    } finally {
      if ((Atomics.exchange(this.#near, Control.lock, 0) & WAITERS) !== 0) futexWake(this.#address, 1);
    }
  }

  #wait(holder: number): void {
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.load(this.#near, Control.lock) === 0 && Atomics.compareExchange(this.#near, Control.lock, 0, holder) === 0)
        return;
    }
    for (const [word, ms] of this.#waits(holder)) futexWait(this.#address, word, ms);
  }

  /** Tries to take the lock, and gives what to sleep on and how long until it has it. @throws ERR_MEM_LOCK_TIMEOUT */
  *#waits(holder: number): Generator<readonly [word: number, ms: number]> {
    const start = performance.now();
    for (let sleepMs = FIRST_SLEEP_MS; !this.#try(holder, sleepMs); sleepMs = Math.min(2 * sleepMs, LONGEST_SLEEP_MS)) {
      const word = this.#announce(holder);
      if (word === 0) return;
      yield [word, Math.min(sleepMs, this.#timeLeft(start, word))];
    }
  }

  /** Takes the lock when it is free, or from an owner that has died; does not look for that before the second sleep. */
  #try(holder: number, sleepMs: number): boolean {
    const word = Atomics.load(this.#near, Control.lock);
    // Others may sleep: a thread that has waited wakes the next one.
    if (word !== 0 && (sleepMs === FIRST_SLEEP_MS || this.participants.isAlive(word & HOLDER_MASK))) return false;
    return Atomics.compareExchange(this.#near, Control.lock, word, holder | WAITERS) === word;
  }

  /** Makes the owner wake a sleeper. @returns the word to sleep on, or 0 when the lock was free and is taken now */
  #announce(holder: number): number {
    for (;;) {
      const word = Atomics.load(this.#near, Control.lock);
      if ((word & WAITERS) !== 0) return word;
      const next = word === 0 ? holder | WAITERS : word | WAITERS;
      if (Atomics.compareExchange(this.#near, Control.lock, word, next) === word) return word === 0 ? 0 : next;
    }
  }

  #timeLeft(start: number, word: number): number {
    const waitedMs = performance.now() - start;
    if (waitedMs < this.timeoutMs) return this.timeoutMs - waitedMs;
    const holder = word & HOLDER_MASK;
    // 0 for an owner that is not known any more.
    const ownerPid = this.participants.isCurrent(holder) ? this.participants.pidOf(this.participants.slotOf(holder)) : 0;
    throw new MemoryError('ERR_MEM_LOCK_TIMEOUT', { ownerPid, waitedMs: Math.round(waitedMs) });
  }

  /** Takes back what the former owner left undone. */
  #repair(): void {
    orUndo(
      () => this.words.rollback(),
      () => this.release(),
    );
  }
}
