import type { NativeCharge } from '../core/native-charge.js';
import type { BudgetAccount } from './budget-account.js';
import type { BudgetMember } from './budget-member.js';

/** Charges native memory of one slot, or what a budget holds, to a member of a budget. Once it has ended it charges nobody. */
export class MemberCharge implements NativeCharge {
  #heldBytes = 0;
  #hasEnded = false;
  readonly #account: BudgetAccount;
  readonly #member: BudgetMember;
  readonly #settled: () => Promise<void>;
  readonly #closed: () => void;

  /**
   * @param settled - waits for those who make room in their own time
   * @param closed - called when the slot is closed
   */
  constructor(account: BudgetAccount, member: BudgetMember, settled: () => Promise<void>, closed: () => void = () => undefined) {
    this.#account = account;
    this.#member = member;
    this.#settled = settled;
    this.#closed = closed;
  }

  take(bytes: number): void {
    if (this.#hasEnded) return;
    this.#account.take(this.#member, bytes);
    this.#heldBytes += bytes;
  }

  force(bytes: number): void {
    if (this.#hasEnded) return;
    this.#heldBytes += bytes;
    this.#account.force(this.#member, bytes);
  }

  give(bytes: number): void {
    if (this.#hasEnded) return;
    this.#heldBytes -= bytes;
    this.#account.give(this.#member, bytes);
  }

  settled(): Promise<void> {
    return this.#settled();
  }

  closed(): void {
    this.#closed();
  }

  /** Takes back all that it has charged. */
  end(): void {
    if (this.#hasEnded) return;
    this.give(this.#heldBytes);
    this.#hasEnded = true;
  }
}
