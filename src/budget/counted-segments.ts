import { type Releasable, releasable } from '../core/disposable.js';
import { checkBytes } from '../core/units.js';
import type { AccountOwner, BudgetAccount } from './budget-account.js';
import { BudgetMember, NO_CACHE } from './budget-member.js';

/** Shared segments of a budget: each counts once, however many attach it. */
export class CountedSegments {
  readonly #account: BudgetAccount;
  readonly #owner: AccountOwner;
  readonly #byUrl = new Map<string, { readonly member: BudgetMember; attachments: number }>();

  constructor(account: BudgetAccount, owner: AccountOwner) {
    this.#account = account;
    this.#owner = owner;
  }

  /** @returns what counts one attachment less @throws ERR_MEM_OUT_OF_MEMORY; nothing has changed then */
  add(url: string, bytes: number): Releasable {
    checkBytes(bytes);
    let entry = this.#byUrl.get(url);
    if (entry === undefined) {
      entry = { member: this.#attach(url, bytes), attachments: 0 };
      this.#byUrl.set(url, entry);
    }
    const attached = entry;
    attached.attachments++;
    return releasable(() => {
      if (--attached.attachments > 0) return;
      this.#byUrl.delete(url);
      this.#account.ledger?.detachSegment(url);
      this.#account.give(attached.member, attached.member.heldBytes);
      this.#account.members.delete(attached.member);
    });
  }

  #attach(url: string, bytes: number): BudgetMember {
    const { ledger, members } = this.#account;
    const member = new BudgetMember('segment', url, NO_CACHE);
    this.#account.take(member, bytes);
    if (ledger !== undefined && !ledger.attachSegment(url, bytes)) {
      this.#account.give(member, bytes);
      throw this.#owner.refusal(member, bytes);
    }
    members.add(member);
    return member;
  }
}
