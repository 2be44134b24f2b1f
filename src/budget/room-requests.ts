import type { BudgetLedger } from './budget-ledger.js';

/** How long a request waits for others, and others are asked on behalf of one that did not wait. */
const PATIENCE_MS = 250;

/** What this isolate asks of others who share its limit. They answer when their event loops turn. */
export class RoomRequests {
  readonly #ledger: BudgetLedger;
  readonly #missingBytes: (bytes: number) => number;
  /** What is to fit; 0 when nothing is asked for. */
  #wantedBytes = 0;
  #askedMs = 0;

  /** @param missingBytes - by how much bytes would go past the limit */
  constructor(ledger: BudgetLedger, missingBytes: (bytes: number) => number) {
    this.#ledger = ledger;
    this.#missingBytes = missingBytes;
  }

  /** Asks for what is missing so that bytes fit. @returns what members that have ended held of it */
  ask(bytes: number): number {
    const returned = this.#ledger.returnDead();
    this.#ledger.want(Math.max(0, this.#missingBytes(bytes)));
    this.#wantedBytes = bytes;
    this.#askedMs = performance.now();
    return returned;
  }

  /** Waits until there is room for what was asked for, 250 ms at most, and asks for it no longer. */
  async settled(): Promise<void> {
    const bytes = this.#wantedBytes;
    if (bytes === 0) return;
    const endMs = performance.now() + PATIENCE_MS;
    // A process that has nothing else to do must not end in the middle: others are about to answer it. Not once: the wait may end a little later.
    const awake = setInterval(() => undefined, PATIENCE_MS);
    try {
      for (let leftMs = PATIENCE_MS; leftMs > 0 && this.#missingBytes(bytes) > 0; leftMs = endMs - performance.now()) {
        await this.#ledger.changed(leftMs);
      }
    } finally {
      clearInterval(awake);
    }
    if (this.#wantedBytes === bytes) this.#withdraw();
  }

  /** Ends what was asked for when as much was granted. */
  granted(bytes: number): void {
    if (bytes >= this.#wantedBytes) this.#withdraw();
  }

  /** Ends what was asked for so long ago that nobody waits for it any more. */
  expire(): void {
    if (this.#wantedBytes > 0 && performance.now() - this.#askedMs > PATIENCE_MS) this.#withdraw();
  }

  #withdraw(): void {
    if (this.#wantedBytes === 0) return;
    this.#wantedBytes = 0;
    this.#ledger.want(0);
  }
}
