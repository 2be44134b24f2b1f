import { Control } from './ledger-layout.js';
import type { LedgerWords } from './ledger-words.js';

const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 16;

/**
 * Tells a member that others have changed something, by a number that everybody raises.
 *
 * It looks by a timer. A sleep in the system would take one of the four threads that files need, and would keep the process alive.
 */
export class LedgerChanges {
  readonly #words: LedgerWords;
  /** How often this member has announced something. */
  #own = 0;
  #seen: number;
  #isEnded = false;

  constructor(words: LedgerWords) {
    this.#words = words;
    this.#seen = this.#others;
  }

  /** Makes the others look. What this member did itself is nothing new to it. */
  announce(): void {
    this.#words.announce();
    this.#own++;
  }

  /** Resolves when another one has announced something since the last one of these resolved, at the end, or after so long. */
  next(timeoutMs: number): Promise<void> {
    const since = this.#seen;
    const endMs = performance.now() + timeoutMs;
    return new Promise((resolve) => {
      const look = (pauseMs: number): void => {
        const leftMs = endMs - performance.now();
        if (!this.#isEnded && this.#others === since && leftMs > 0) {
          setTimeout(look, Math.min(pauseMs, Math.ceil(leftMs)), Math.min(2 * pauseMs, LONGEST_LOOK_MS)).unref();
          return;
        }
        if (!this.#isEnded) this.#seen = this.#others;
        resolve();
      };
      look(FIRST_LOOK_MS);
    });
  }

  /** Ends all waiting. */
  end(): void {
    this.#isEnded = true;
  }

  /** What others have announced, modulo 2^32. */
  get #others(): number {
    return (Atomics.load(this.#words.int32, Control.sequence) - this.#own) | 0;
  }
}
