import { type ProcessSpace, processSpace } from '../../../adapters/os/process-identity.js';
import { checkSegment } from '../backends/backend-errors.js';
import type { MemoryBackend } from '../backends/memory-backend.js';
import type { SharedRegion } from '../shared-region.js';
import {
  CELL_WORDS,
  Cell,
  Control,
  LEDGER_TYPE,
  LEDGER_VERSION,
  type LedgerParts,
  ledgerParts,
  MAX_MEMBERS,
  SEGMENTS,
} from './ledger-layout.js';

/**
 * The words of a ledger.
 *
 * There is no total that is added to: what is used is the sum over the cells, and over the segments, so that no death leaves a wrong one
 * behind. A word has one writer. Those of a cell are written by its owner, and once that has ended by the owner of the lock. Those of segments
 * are written by the owner of the lock. The lock passes only from an owner that has ended, and owners are never named
 * twice, so that all of this holds without a second look.
 *
 * Why a ledger is right after a death between any two stores (a process that was killed has done a prefix of its stores):
 *
 * - Entering: the bound of used cells is raised, then the cell is taken, then described. Before the second store nothing has happened;
 *   after it the cell is one of a member that has ended, and is returned.
 * - Taking: `claim = n`; then `held += n`; then, if all fits, `claim = 0`, and otherwise `held -= n` and `claim = 0`. What is held and
 *   claimed counts in what others check. Whichever store was the last, claim and held are in the dead one's cell, and go with it.
 * - Giving, forcing, wanting, telling, a new limit: one store each. The sequence, which is raised behind it, only makes others look sooner.
 * - Attaching a segment that is counted: one bit. It goes with the cell.
 * - Attaching one that is not: its pages are taken as above; then the digest is written; then the bit; then the entry's pages; then the sum of
 *   the segments; then `held` falls by them. Up to the bit the entry is free, and the pages are in the cell. After it, the entry has a
 *   bit that goes with the cell, and its pages with the bit. After the sum, they count twice until the cell is returned: never too few.
 * - A segment that grows: the same, on an entry that has bits already. It stays grown for the others.
 * - Detaching: by the last one `pages = 0`, then its bit, then the sum; by another one its bit. In between, a segment of no pages has a bit that
 *   goes with the cell. The sum is too large until it is made again: the cell cannot be freed without that.
 * - Leaving, and returning what a dead one held: its segments are detached, each as above; then the rest of the cell is zeroed; the
 *   owner last. While the owner stands there, whoever has the lock does all of it again: each step does nothing the second time.
 * - The lock: its owner has ended, and the next one takes it over. By the above it finds nothing that has to be taken back.
 *
 * @see SharedLedger for why no two who take pass the limit together
 */
export class LedgerWords {
  readonly int32: Int32Array;
  /** The same words in pairs. */
  readonly int64: BigInt64Array;
  readonly members: number;
  readonly segments: number;
  readonly parts: LedgerParts;

  /** @param region - one that {@link formatLedger} wrote */
  constructor(region: SharedRegion) {
    this.int32 = region.int32;
    this.int64 = new BigInt64Array(this.int32.buffer, this.int32.byteOffset, Math.floor(this.int32.length / 2));
    this.members = this.int32[Control.members]!;
    this.segments = this.int32[Control.segments]!;
    this.parts = ledgerParts(this.members, this.segments);
  }

  /** The index of a cell's first word. */
  cellAt(cell: number): number {
    return Control.cells + cell * CELL_WORDS;
  }

  /** The owner of a cell; 0 when it is free. */
  ownerOf(cell: number): bigint {
    return Atomics.load(this.int64, this.cellAt(cell) / 2);
  }

  /** A count of pages, which may be any word. */
  count(index: number): number {
    return Atomics.load(this.int32, index) >>> 0;
  }

  /** Cells below it may be taken. */
  get usedCells(): number {
    return Math.min(Atomics.load(this.int32, Control.usedCells), this.members);
  }

  get usedSegments(): number {
    return Math.min(Atomics.load(this.int32, Control.usedSegments), this.segments);
  }

  /** Raises a bound: {@link Control.usedCells} or {@link Control.usedSegments}. */
  raise(bound: number, least: number): void {
    for (let used = Atomics.load(this.int32, bound); used < least; used = Atomics.load(this.int32, bound)) {
      Atomics.compareExchange(this.int32, bound, used, least);
    }
  }

  /** The pages that members hold or claim, and those of segments. Cost: a load for each member. */
  countedPages(): number {
    const { int32 } = this;
    const end = this.cellAt(this.usedCells) + Cell.held;
    let pages = 0;
    for (let at = Control.cells + Cell.held; at < end; at += CELL_WORDS) pages += Atomics.load(int32, at) >>> 0;
    // Behind the cells: pages go from a cell to a segment.
    return pages + this.count(Control.segmentPages);
  }

  /** The pages that members hold, and those of segments. */
  usedPages(): number {
    let pages = 0;
    for (let cell = 0; cell < this.usedCells; cell++) pages += this.heldPagesOf(cell);
    return pages + this.count(Control.segmentPages);
  }

  /** What a member holds, without what it claims. */
  heldPagesOf(cell: number): number {
    const at = this.cellAt(cell);
    // In this order: while it claims, this may be too little, but not too much.
    const counted = this.count(at + Cell.held);
    return Math.max(0, counted - this.count(at + Cell.claim));
  }

  /** Makes others look: something was given back, or is wanted. */
  announce(): void {
    Atomics.add(this.int32, Control.sequence, 1);
  }
}

/** Writes an empty ledger. @param region - of zeros, of the bytes that {@link ledgerBytes} says */
export function formatLedger(backend: MemoryBackend, members: number, limitPages: number): void {
  const { int32 } = backend.region;
  backend.allocator.claim({ type: LEDGER_TYPE, ...LEDGER_VERSION });
  const { boot, namespace } = processSpace();
  int32[Control.members] = members;
  int32[Control.segments] = SEGMENTS;
  int32[Control.boot] = boot;
  int32[Control.namespace] = namespace;
  int32[Control.limit] = limitPages;
  backend.allocator.complete();
}

/** The bytes of a ledger for so many members. */
export function ledgerBytes(members: number): number {
  return ledgerParts(members, SEGMENTS).end * Int32Array.BYTES_PER_ELEMENT;
}

/** Checks that a ledger is in a backend. @throws ERR_MEM_BAD_SEGMENT */
export function checkLedger({ region, allocator, url }: MemoryBackend): void {
  const facts = allocator.read();
  checkSegment(facts !== undefined, url, 'no ledger is in it, or its creator is still at work');
  checkSegment(facts.type === LEDGER_TYPE, url, `it has an allocator (${facts.type}), and no ledger`);
  const { major } = LEDGER_VERSION;
  checkSegment(facts.major === major, url, `its ledger has layout version ${facts.major}, not ${major}`);
  const { int32 } = region;
  const isHeader = int32.length >= Control.cells;
  const members = isHeader ? int32[Control.members]! : 0;
  const segments = isHeader ? int32[Control.segments]! : 0;
  const isTable = members >= 1 && members <= MAX_MEMBERS && segments === SEGMENTS;
  checkSegment(isTable && ledgerParts(members, segments).end <= int32.length, url, 'its ledger has a size that does not fit it');
}

/** Checks that whoever is a member of the ledger in a backend can be seen from here. @throws ERR_MEM_BAD_SEGMENT */
export function checkLedgerSpace({ region: { int32 }, url }: MemoryBackend, here: ProcessSpace = processSpace()): void {
  const isHere = int32[Control.boot] === here.boot && int32[Control.namespace]! >>> 0 === here.namespace >>> 0;
  checkSegment(isHere, url, 'its members are of another boot or pid namespace: whether they live cannot be seen from here');
}
