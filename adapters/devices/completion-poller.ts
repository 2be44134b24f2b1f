// Work is often done within microseconds: so many turns of the event loop before the first pause.
const EAGER_POLLS = 64;
const PAUSE_MS = 1;

interface Waiting {
  readonly isDone: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Asks again and again whether work is done, and keeps the process alive meanwhile. A promise resolves in the turn of the
 * event loop that sees it done: at once after short work, within about 1 ms after long work.
 *
 * A driver can call back instead, but from a thread of its own, and waits for that callback: a synchronous call of the
 * driver in between would never return.
 */
export class CompletionPoller {
  #waiting: Waiting[] = [];
  #polls = 0;
  #isScheduled = false;

  /** @param isDone - asked until it says true; what it throws rejects the promise */
  wait(isDone: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ isDone, resolve, reject });
      this.#polls = 0;
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    if (this.#polls++ < EAGER_POLLS) setImmediate(() => this.#poll());
    else setTimeout(() => this.#poll(), PAUSE_MS);
  }

  #poll(): void {
    this.#isScheduled = false;
    this.#waiting = this.#waiting.filter((each) => !settle(each));
    if (this.#waiting.length > 0) this.#schedule();
  }
}

/** @returns whether it is done, or has failed */
function settle({ isDone, resolve, reject }: Waiting): boolean {
  try {
    if (!isDone()) return false;
    resolve();
  } catch (error) {
    reject(error);
  }
  return true;
}
