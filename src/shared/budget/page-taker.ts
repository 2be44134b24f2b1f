import { CELL_WORDS, Cell, Control, MAX_PAGES } from './ledger-layout.js';
import type { LedgerWords } from './ledger-words.js';

// A member that was put off its processor between claim and held comes back within some milliseconds; one that is stopped does not.
const CONTENTION_MS = 10;
const DEAD_AFTER_MS = 0.5;
const SPINS = 50;
const SPINNING_ROUNDS = 20;
const SLEEP_MS = 0.05;
const MOST_SUMS = 100;
const idle = new Int32Array(new SharedArrayBuffer(4));

/**
 * Takes pages for one cell, and gives them back.
 *
 * Who takes pages counts them first, in its own cell, and sums up all cells then. Whoever does so later sees them. So of all that was
 * granted and is held at any moment, the last one to count had all of it in its sum, and that was within the limit.
 *
 * Two that do so at once may both see too much where one would fit. The claim of a cell tells what of it is not granted yet: where
 * others' claims are in the way, the lowest cell keeps its own and sums up again, and those above withdraw until it is done.
 */
export class PageTaker {
  readonly #words: LedgerWords;
  readonly #int32: Int32Array;
  readonly #cell: number;
  readonly #heldAt: number;
  readonly #claimAt: number;
  readonly #returnDead: () => number;
  #pages = 0;

  /** @param returnDead - returns what members that have ended held; called when the claim of another is in the way */
  constructor(words: LedgerWords, cell: number, returnDead: () => number) {
    this.#words = words;
    this.#int32 = words.int32;
    this.#cell = cell;
    this.#heldAt = words.cellAt(cell) + Cell.held;
    this.#claimAt = words.cellAt(cell) + Cell.claim;
    this.#returnDead = returnDead;
  }

  /** Takes pages, if all together stay within the limit. Blocks the thread for some milliseconds at most. @returns whether it has */
  take(pages: number): boolean {
    if (this.#pages + pages > this.#limit) return false;
    this.#claim(pages);
    if (this.#words.countedPages() > this.#limit && !this.#takeInTurn(pages)) return false;
    this.#pages += pages;
    Atomics.store(this.#int32, this.#claimAt, 0);
    return true;
  }

  /** Adds pages that nobody could refuse. */
  force(pages: number): void {
    this.#pages += pages;
    this.#count(this.#pages);
  }

  give(pages: number): void {
    this.#pages -= pages;
    this.#count(this.#pages);
  }

  get #limit(): number {
    return this.#words.count(Control.limit);
  }

  #count(pages: number): void {
    Atomics.store(this.#int32, this.#heldAt, Math.min(pages, MAX_PAGES));
  }

  #claim(pages: number): void {
    Atomics.store(this.#int32, this.#claimAt, pages);
    this.#count(this.#pages + pages);
  }

  #withdraw(): void {
    this.#count(this.#pages);
    // In between: who has seen these pages held, and no claim, must not take them for granted ones.
    Atomics.add(this.#int32, Control.withdrawals, 1);
    Atomics.store(this.#int32, this.#claimAt, 0);
  }

  /** Waits until claimed pages fit, or are known not to: withdraws them then. */
  #takeInTurn(pages: number): boolean {
    let fits = false;
    try {
      fits = this.#waitForOthers(pages);
    } finally {
      if (!fits) this.#withdraw();
    }
    return fits;
  }

  #waitForOthers(pages: number): boolean {
    const start = performance.now();
    let lookedForDead = false;
    for (let round = 0; ; round++) {
      const sequence = Atomics.load(this.#int32, Control.sequence);
      const withdrawals = Atomics.load(this.#int32, Control.withdrawals);
      if (this.#words.countedPages() <= this.#limit) return true;
      if (this.#words.usedPages() + pages > this.#limit) {
        // What was given back by one and taken by another meanwhile may be in the sum twice.
        const isExact =
          Atomics.load(this.#int32, Control.sequence) === sequence &&
          Atomics.load(this.#int32, Control.withdrawals) === withdrawals;
        if (isExact || round >= MOST_SUMS) return false;
        continue;
      }
      const waitedMs = performance.now() - start;
      if (waitedMs > DEAD_AFTER_MS && !lookedForDead) {
        lookedForDead = true;
        this.#returnDead();
        continue;
      }
      // Not by the time alone: it may be this thread that was put off its processor.
      if (waitedMs > CONTENTION_MS && round > SPINNING_ROUNDS) return false;
      this.#letOthers(pages, round);
    }
  }

  /** Withdraws for those in lower cells, and waits a moment. */
  #letOthers(pages: number, round: number): void {
    const gives = this.#isLowerClaimed();
    if (gives) this.#withdraw();
    if (round >= SPINNING_ROUNDS) Atomics.wait(idle, 0, 0, SLEEP_MS);
    else for (let spin = 0; spin < SPINS && this.#isLowerClaimed() === gives; spin++);
    if (gives) this.#claim(pages);
  }

  #isLowerClaimed(): boolean {
    const end = this.#words.cellAt(this.#cell);
    for (let at = Control.cells + Cell.claim; at < end; at += CELL_WORDS) if (Atomics.load(this.#int32, at) !== 0) return true;
    return false;
  }
}
