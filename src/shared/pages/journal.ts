import { MemoryError } from '../../core/errors.js';
import { GRANULE_WORDS, JOURNAL, JOURNAL_ENTRIES } from './layout.js';
import type { RegionWords } from './region-words.js';

const ENTRY_WORDS = 3;

/**
 * The undo record of the region: what words held before the operation that is under way changed them. Whoever has the
 * region's lock owns it.
 *
 * An operation changes words by {@link write} alone and ends with {@link commit}, or with {@link rollback}. When its
 * process dies between any two stores, the next owner of the lock rolls back, and the operation has not happened. That
 * holds without barriers: a process that was killed has done a prefix of its stores.
 */
export class Journal {
  readonly #words: RegionWords;

  constructor(words: RegionWords) {
    this.#words = words;
  }

  /** Whether an operation has neither been committed nor rolled back. */
  get pending(): boolean {
    return this.#words.near[JOURNAL] !== 0;
  }

  /** Changes a word. Cost: four stores. */
  write(page: number, field: number, value: number): void {
    const words = this.#words;
    const near = words.near;
    const count = near[JOURNAL]!;
    if (count >= JOURNAL_ENTRIES) throw new MemoryError('ERR_MEM_INVARIANT', { invariant: 'an operation fits the journal' });
    const entry = JOURNAL + 1 + count * ENTRY_WORDS;
    near[entry] = page;
    near[entry + 1] = field;
    near[entry + 2] = words.load(page, field);
    near[JOURNAL] = count + 1;
    words.store(page, field, value);
  }

  /** Makes the changes final. */
  commit(): void {
    this.#words.near[JOURNAL] = 0;
  }

  /**
   * Takes the changes back, the last one first. May itself be broken off and done again.
   *
   * @throws ERR_MEM_REGION_DAMAGED when the journal makes no sense; nothing has changed then
   */
  rollback(): void {
    const near = this.#words.near;
    const count = near[JOURNAL]!;
    this.#check(count);
    for (let n = count - 1; n >= 0; n--) {
      const entry = JOURNAL + 1 + n * ENTRY_WORDS;
      this.#words.store(near[entry]!, near[entry + 1]!, near[entry + 2]!);
    }
    near[JOURNAL] = 0;
  }

  #check(count: number): void {
    const near = this.#words.near;
    let sound = count >= 0 && count <= JOURNAL_ENTRIES;
    for (let n = 0; sound && n < count; n++) {
      const page = near[JOURNAL + 1 + n * ENTRY_WORDS]!;
      const field = near[JOURNAL + 2 + n * ENTRY_WORDS]!;
      const place = page * GRANULE_WORDS + field;
      sound = page >= 0 && field >= 0 && (page === 0 || field < GRANULE_WORDS) && place * 4 + 4 <= this.#words.region.bytes;
    }
    if (!sound) throw new MemoryError('ERR_MEM_REGION_DAMAGED', { offset: JOURNAL * 4, reason: 'its journal makes no sense' });
  }
}
