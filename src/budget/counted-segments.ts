import { type Releasable, releasable } from '../core/disposable.js';
import { checkArgument } from '../core/errors.js';
import { checkBytes } from '../core/units.js';
import type { BudgetAccount } from './budget-account.js';
import { BudgetMember, NO_CACHE } from './budget-member.js';

interface Entry {
  readonly member: BudgetMember;
  attachments: number;
}

/** Shared segments of a budget: each counts once, however many attach it. */
export class CountedSegments {
  readonly #account: BudgetAccount;
  readonly #byUrl = new Map<string, Entry>();

  constructor(account: BudgetAccount) {
    this.#account = account;
  }

  /**
   * @returns what counts one attachment less
   * @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_ARGUMENT for other bytes than before; nothing has changed then
   */
  add(url: string, bytes: number): Releasable {
    checkBytes(bytes);
    const attached = this.#byUrl.get(url) ?? this.#attach(url, bytes);
    const { heldBytes } = attached.member;
    checkArgument(bytes === heldBytes, `the bytes of ${url}`, bytes, `${heldBytes}, as when it was attached first`);
    attached.attachments++;
    return releasable(() => {
      if (--attached.attachments === 0) this.#detach(url, attached);
    });
  }

  /** Counts none any more. */
  close(): void {
    for (const [url, entry] of [...this.#byUrl]) this.#detach(url, entry);
  }

  #detach(url: string, entry: Entry): void {
    const account = this.#account;
    if (this.#byUrl.get(url) !== entry) return;
    this.#byUrl.delete(url);
    account.give(entry.member, entry.member.heldBytes);
    account.members.delete(entry.member);
  }

  #attach(url: string, bytes: number): Entry {
    const { members } = this.#account;
    const member = new BudgetMember('segment', url, NO_CACHE);
    this.#account.take(member, bytes);
    // Whoever made room may have attached it, too.
    const known = this.#byUrl.get(url);
    if (known !== undefined) {
      this.#account.give(member, bytes);
      return known;
    }
    const entry = { member, attachments: 0 };
    members.add(member);
    this.#byUrl.set(url, entry);
    return entry;
  }
}
