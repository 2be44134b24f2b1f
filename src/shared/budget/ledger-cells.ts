import type { LedgerMember, LedgerMemberReading } from '../../budget/budget-ledger.js';
import type { LedgerIdentities } from './ledger-identity.js';
import { CELL_WORDS, Cell, Control, LEDGER_PAGE_BYTES, NAME_BYTES, NAME_WORDS, pagesFor } from './ledger-layout.js';
import type { LedgerLock } from './ledger-lock.js';
import type { LedgerSegments } from './ledger-segments.js';
import type { LedgerWords } from './ledger-words.js';
import type { WantingMember } from './wanted-shares.js';

const FREE = 0n;
const OWNER_WORDS = 2;
// A member that is stopped while it has the lock keeps others from returning: they do it later.
const RETURN_TIMEOUT_MS = 10;

/** The members of a ledger: who has which cell, and what is left in the cells of those that have ended. */
export class LedgerCells {
  readonly #int32: Int32Array;

  constructor(
    readonly words: LedgerWords,
    readonly identities: LedgerIdentities,
    readonly lock: LedgerLock,
    readonly segments: LedgerSegments,
  ) {
    this.#int32 = words.int32;
  }

  /** Takes a free cell for this thread; returns those of members that have ended when there is none. @returns the cell, or -1 */
  enter(member: LedgerMember): number {
    let cell = this.#claim();
    if (cell < 0 && this.returnDead() >= 0) cell = this.#claim();
    if (cell >= 0) this.#describe(cell, member);
    return cell;
  }

  /** Gives a cell of this thread back, with all that it holds. @throws ERR_MEM_LOCK_TIMEOUT where it has attached segments */
  leave(cell: number): void {
    if (this.segments.hasAny(cell)) this.lock.with(() => this.segments.leaveAll(cell));
    this.#clear(cell);
    this.words.announce();
  }

  /**
   * Frees the cells of members that have ended. Cost: a file read for each other member.
   *
   * @returns the pages that they held; fewer than all when another one has been returning them for some milliseconds
   */
  returnDead(): number {
    if (!this.#hasDead()) return 0;
    const pages = this.lock.within(RETURN_TIMEOUT_MS, 0, () => {
      let returned = 0;
      for (let cell = 0; cell < this.words.usedCells; cell++) {
        // Looked at again: another one may have returned it, and a new member may have it.
        if (!this.#isDead(cell)) continue;
        returned += this.segments.leaveAll(cell) + this.words.heldPagesOf(cell);
        this.#clear(cell);
      }
      return returned;
    });
    this.words.announce();
    return pages;
  }

  /** Tells whether a member in another cell than this one wants something. */
  isWantedBeside(own: number): boolean {
    for (let cell = 0; cell < this.words.usedCells; cell++) {
      if (cell !== own && this.words.count(this.words.cellAt(cell) + Cell.wanted) > 0) return true;
    }
    return false;
  }

  /** What can be read of all members. @param own - this member's cell */
  readAll(own: number): WantingMember[] {
    const members: WantingMember[] = [];
    for (let cell = 0; cell < this.words.usedCells; cell++) {
      const owner = this.words.ownerOf(cell);
      if (owner === FREE) continue;
      const targetBytes = this.words.count(this.words.cellAt(cell) + Cell.target) * LEDGER_PAGE_BYTES;
      members.push({ reading: this.#read(cell, owner, own), targetBytes });
    }
    return members;
  }

  #read(cell: number, owner: bigint, own: number): LedgerMemberReading {
    const at = this.words.cellAt(cell);
    const bytes = (field: number) => this.words.count(at + field) * LEDGER_PAGE_BYTES;
    return {
      name: this.#nameOf(at),
      priority: new Float64Array(this.#int32.slice(at + Cell.priority, at + Cell.priority + 2).buffer)[0]!,
      minimumBytes: bytes(Cell.minimum),
      // Between taking its cell and describing it, a member has only its thread's number.
      pid: this.words.count(at + Cell.processId) || this.identities.idOf(owner),
      isSelf: cell === own,
      heldBytes: this.words.heldPagesOf(cell) * LEDGER_PAGE_BYTES,
      cachedBytes: bytes(Cell.cached),
      wantedBytes: bytes(Cell.wanted),
    };
  }

  #claim(): number {
    const { int64, members } = this.words;
    for (let cell = 0; cell < members; cell++) {
      if (this.words.ownerOf(cell) !== FREE) continue;
      // First: whoever looks for members looks below it.
      this.words.raise(Control.usedCells, cell + 1);
      if (Atomics.compareExchange(int64, this.words.cellAt(cell) / 2, FREE, this.identities.self) === FREE) return cell;
    }
    return -1;
  }

  #describe(cell: number, { name, priority, minimumBytes }: LedgerMember): void {
    const at = this.words.cellAt(cell);
    const bytes = new Uint8Array(NAME_WORDS * Int32Array.BYTES_PER_ELEMENT);
    // Writes whole characters only.
    const { written } = new TextEncoder().encodeInto(name, bytes.subarray(0, NAME_BYTES));
    this.#storeAll(at + Cell.name, new Int32Array(bytes.buffer));
    this.#store(at + Cell.nameBytes, written);
    this.#storeAll(at + Cell.priority, new Int32Array(Float64Array.of(priority).buffer));
    this.#store(at + Cell.minimum, pagesFor(minimumBytes));
    this.#store(at + Cell.processId, this.identities.watch.pid);
  }

  #nameOf(at: number): string {
    const words = this.#int32.slice(at + Cell.name, at + Cell.name + NAME_WORDS);
    const length = Math.min(this.words.count(at + Cell.nameBytes), NAME_BYTES);
    // Others wrote it, and it goes into messages and logs: no line breaks, nothing that a terminal obeys.
    return new TextDecoder().decode(new Uint8Array(words.buffer, 0, length)).replace(/\p{Cc}/gu, '\uFFFD');
  }

  #hasDead(): boolean {
    for (let cell = 0; cell < this.words.usedCells; cell++) if (this.#isDead(cell)) return true;
    return false;
  }

  #isDead(cell: number): boolean {
    const owner = this.words.ownerOf(cell);
    return owner !== FREE && !this.identities.isAlive(owner);
  }

  /** Empties a cell, and frees it last. */
  #clear(cell: number): void {
    const at = this.words.cellAt(cell);
    for (let word = OWNER_WORDS; word < CELL_WORDS; word++) if (this.#int32[at + word] !== 0) this.#store(at + word, 0);
    Atomics.store(this.words.int64, at / 2, FREE);
  }

  #storeAll(index: number, values: Int32Array): void {
    for (const [i, value] of values.entries()) this.#store(index + i, value);
  }

  #store(index: number, value: number): void {
    Atomics.store(this.#int32, index, value);
  }
}
