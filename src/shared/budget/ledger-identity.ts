import { uptime } from 'node:os';
import type { ThreadWatch } from '../pages/participants.js';

const WORD = 2 ** 32;
const LOW = 0xffff_ffffn;
// What the start times of processes count in, on Linux. @see Source: proc(5), USER_HZ
const TICKS_PER_S = 100;

/**
 * Threads as words of 64 bits: the number below, the low half of the start time above. No other thread gets the same word,
 * and none gets 0.
 */
export class LedgerIdentities {
  readonly self: bigint;

  constructor(readonly watch: ThreadWatch) {
    const { id, startTime } = watch.self;
    this.self = BigInt.asIntN(64, (BigInt(startTime % WORD) << 32n) | BigInt(id >>> 0));
  }

  /** Tells whether a thread still runs. Takes any word. Cost: a file read for another thread's. */
  isAlive(identity: bigint): boolean {
    if (identity === this.self) return true;
    const id = this.idOf(identity);
    if (id === 0) return false;
    const latest = Math.max(this.watch.self.startTime, uptime() * TICKS_PER_S);
    // The high half of the start time is not kept: it is 0 for the first 497 days after the boot.
    for (let start = Number((identity >> 32n) & LOW); ; start += WORD) {
      if (this.watch.isAlive(id, start)) return true;
      if (start + WORD > latest) return false;
    }
  }

  /** The number of a thread. */
  idOf(identity: bigint): number {
    return Number(identity & LOW);
  }
}
