import { AsyncLocalStorage } from 'node:async_hooks';
import type { AbortSignalLike } from '../core/abort-signal.js';
import { MemoryError } from '../core/errors.js';
import type { OptionNames } from '../core/option-names.js';
import type { BudgetReservation } from './reservation.js';

/** How long to wait for memory. */
export interface ReserveOptions {
  /** Gives up: the promise rejects with its reason. The process does not end before. @defaultValue never */
  readonly signal?: AbortSignalLike;
}

/** Their names. */
export const RESERVE_OPTIONS: OptionNames<ReserveOptions> = { signal: true };

/** Somebody who waits for memory. */
interface Waiting {
  readonly bytes: number;
  /** Whether it may give up. */
  readonly hasSignal: boolean;
  readonly resolve: (reservation: BudgetReservation) => void;
  readonly reject: (error: unknown) => void;
  /** Does work as part of the job that waits: whoever gives bytes back is at another one, whose reservation is not to be drawn from. */
  readonly inJob: <T>(work: () => T) => T;
  /** Whether everybody was asked to make room for it. */
  wasTried: boolean;
}

/** Those who wait for memory of a budget: who came first is served first, also before smaller requests that would fit. */
export class ReservationLine {
  readonly #waiting: Waiting[] = [];
  readonly #reserve: (bytes: number) => BudgetReservation;
  readonly #fits: (bytes: number) => boolean;
  #isServing = false;

  /**
   * @param reserve - takes memory at once, having others make room; throws ERR_MEM_OUT_OF_MEMORY when there is not enough
   * @param fits - tells whether there is room as things are
   */
  constructor(reserve: (bytes: number) => BudgetReservation, fits: (bytes: number) => boolean) {
    this.#reserve = reserve;
    this.#fits = fits;
  }

  /** Whether anybody waits. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Whether anybody waits who may give up. */
  get mayBeLeft(): boolean {
    return this.#waiting.some(({ hasSignal }) => hasSignal);
  }

  /** Waits for bytes. @throws the signal's reason when it gives up, as a rejection */
  wait(bytes: number, signal: AbortSignalLike | undefined): Promise<BudgetReservation> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const giveUp = () => {
        this.#leave(waiting);
        reject(signal?.reason);
        // Those behind may have waited for nothing but their turn.
        this.serve();
      };
      const done = () => signal?.removeEventListener('abort', giveUp);
      const waiting: Waiting = {
        bytes,
        hasSignal: signal !== undefined,
        inJob: AsyncLocalStorage.snapshot(),
        wasTried: false,
        resolve: (reservation) => {
          done();
          resolve(reservation);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      signal?.addEventListener('abort', giveUp, { once: true });
      this.#waiting.push(waiting);
      this.serve();
    });
  }

  /** Serves whom it can, later in this turn: bytes come back in the middle of other calls. @param asksAgain - has others make room once more */
  serve(asksAgain = false): void {
    if (asksAgain) for (const waiting of this.#waiting) waiting.wasTried = false;
    if (this.#isServing || this.isEmpty) return;
    this.#isServing = true;
    queueMicrotask(() => {
      this.#isServing = false;
      this.#serveNow();
    });
  }

  /** Turns everybody away. */
  close(error: unknown): void {
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }

  #serveNow(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (first.wasTried && !this.#fits(first.bytes)) return;
      first.wasTried = true;
      try {
        const { bytes } = first;
        const reservation = first.inJob(() => this.#reserve(bytes));
        // Whoever made room may have given up for it, or ended the budget.
        if (!this.#leave(first)) reservation.dispose();
        first.resolve(reservation);
      } catch (error) {
        // What is more than the limit, once that has fallen, would hold up everybody.
        if (MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') && first.bytes <= error.facts.capacityBytes) return;
        this.#leave(first);
        first.reject(error);
      }
    }
  }

  /** @returns whether it was in the line */
  #leave(waiting: Waiting): boolean {
    const place = this.#waiting.indexOf(waiting);
    if (place !== -1) this.#waiting.splice(place, 1);
    return place !== -1;
  }
}
