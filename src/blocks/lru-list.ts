import { ABSENT } from './address-hash.js';
import { ensure } from './ensure.js';
import { widened } from './widened.js';

const INITIAL_CAPACITY = 64;
const UNLISTED = -2;

/**
 * Small integers in the order of their last use. Every operation is O(1), amortised where the columns grow.
 *
 * `newerThan(olderThan(entry)) == entry`; an entry is listed once or not at all.
 */
export class LruList {
  // The entry used just before it; UNLISTED for one that is not in the list.
  #older = new Int32Array(INITIAL_CAPACITY).fill(UNLISTED);
  #newer = new Int32Array(INITIAL_CAPACITY).fill(ABSENT);
  #oldest = ABSENT;
  #newest = ABSENT;
  #count = 0;

  /** Entries in the list. */
  get count(): number {
    return this.#count;
  }

  /** The least recently used entry, or ABSENT. */
  get oldest(): number {
    return this.#oldest;
  }

  /** The most recently used entry, or ABSENT. */
  get newest(): number {
    return this.#newest;
  }

  has(entry: number): boolean {
    return entry >= 0 && entry < this.#older.length && this.#older[entry] !== UNLISTED;
  }

  /** The listed entry that was used next after this one, or ABSENT. */
  newerThan(entry: number): number {
    return this.#newer[entry]!;
  }

  /** Makes an entry the most recently used one; lists it if it is not listed. */
  touch(entry: number): void {
    if (entry === this.#newest) return;
    this.remove(entry);
    if (entry >= this.#older.length) this.#grow(entry);
    const newest = this.#newest;
    this.#older[entry] = newest;
    this.#newer[entry] = ABSENT;
    if (newest === ABSENT) this.#oldest = entry;
    else this.#newer[newest] = entry;
    this.#newest = entry;
    this.#count++;
  }

  /** Takes an entry out of the list; does nothing for one that is not listed. */
  remove(entry: number): void {
    if (!this.has(entry)) return;
    const older = this.#older[entry]!;
    const newer = this.#newer[entry]!;
    if (older === ABSENT) this.#oldest = newer;
    else this.#newer[older] = newer;
    if (newer === ABSENT) this.#newest = older;
    else this.#older[newer] = older;
    this.#older[entry] = UNLISTED;
    this.#count--;
  }

  /** The entries, least recently used first. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let entry = this.#oldest; entry !== ABSENT; entry = this.#newer[entry]!) yield entry;
  }

  /** Checks the links, in O(capacity). @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    let count = 0;
    let older = ABSENT;
    for (const entry of this) {
      ensure(++count <= this.#count, 'the list has no cycle');
      ensure(this.#older[entry] === older, () => `newerThan(olderThan(${entry})) == ${entry}`);
      older = entry;
    }
    ensure(older === this.#newest, 'the list ends with its newest entry');
    ensure(count === this.#count, () => `${count} listed entries are counted as ${this.#count}`);
    const listed = this.#older.reduce((sum, link) => sum + (link === UNLISTED ? 0 : 1), 0);
    ensure(listed === count, 'every entry that has a link is reached');
  }

  #grow(entry: number): void {
    const before = this.#older.length;
    const capacity = Math.max(2 * before, entry + 1);
    this.#older = widened(this.#older, new Int32Array(capacity).fill(UNLISTED, before));
    this.#newer = widened(this.#newer, new Int32Array(capacity).fill(ABSENT, before));
  }
}
