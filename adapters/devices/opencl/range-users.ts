import type { HostRange } from '../host-ranges.js';

/** Something over a range of memory that must end before the memory does: a mapping, a buffer. */
export interface RangeUser {
  dispose(): void;
}

/** What is over which range. */
export class RangeUsers {
  readonly #users = new Map<HostRange, Set<RangeUser>>();

  add(range: HostRange, user: RangeUser): void {
    const users = this.#users.get(range);
    if (users === undefined) this.#users.set(range, new Set([user]));
    else users.add(user);
  }

  remove(range: HostRange, user: RangeUser): void {
    const users = this.#users.get(range);
    users?.delete(user);
    if (users?.size === 0) this.#users.delete(range);
  }

  /** Ends all that is over a range. */
  end(range: HostRange): void {
    for (const user of [...(this.#users.get(range) ?? [])]) user.dispose();
  }
}
