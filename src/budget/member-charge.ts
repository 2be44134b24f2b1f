import type { NativeCharge } from '../core/native-charge.js';
import type { BudgetAccount } from './budget-account.js';
import type { BudgetMember } from './budget-member.js';

/** Whom a {@link MemberCharge} charges. */
interface Charged {
  readonly account: BudgetAccount;
  readonly member: BudgetMember;
  readonly settled: () => Promise<void>;
  readonly closed: () => void;
}

/** Charges native memory of one slot, or what a budget holds, to a member of a budget. Once it has ended it charges nobody. */
export class MemberCharge implements NativeCharge {
  #heldBytes = 0;
  /** Undefined once it has ended: native memory that is out still refers to this, and is not to keep the budget. */
  #charged: Charged | undefined;

  /**
   * @param settled - waits for those who make room in their own time
   * @param closed - called when the slot is closed
   */
  constructor(account: BudgetAccount, member: BudgetMember, settled: () => Promise<void>, closed: () => void = () => undefined) {
    this.#charged = { account, member, settled, closed };
  }

  get mostBytes(): number {
    const charged = this.#charged;
    return charged === undefined ? Number.POSITIVE_INFINITY : charged.account.mostBytesOf(charged.member);
  }

  take(bytes: number): void {
    const charged = this.#charged;
    if (charged === undefined) return;
    charged.account.take(charged.member, bytes);
    // Whoever made room may have let the member leave.
    if (this.#charged === undefined) charged.account.give(charged.member, bytes);
    else this.#heldBytes += bytes;
  }

  force(bytes: number): void {
    const charged = this.#charged;
    if (charged === undefined) return;
    this.#heldBytes += bytes;
    charged.account.force(charged.member, bytes);
  }

  give(bytes: number): void {
    const charged = this.#charged;
    if (charged === undefined) return;
    this.#heldBytes -= bytes;
    charged.account.give(charged.member, bytes);
  }

  settled(): Promise<void> {
    return this.#charged?.settled() ?? Promise.resolve();
  }

  closed(): void {
    this.#charged?.closed();
  }

  /** Takes back all that it has charged. */
  end(): void {
    this.give(this.#heldBytes);
    this.#charged = undefined;
  }
}
