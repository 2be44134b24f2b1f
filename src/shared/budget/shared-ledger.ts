import type { BudgetLedger, LedgerMember, LedgerMemberReading } from '../../budget/budget-ledger.js';
import { orUndo } from '../../core/attempt.js';
import { counted } from '../../core/counted.js';
import { checkArgument, checkUsable, MemoryError } from '../../core/errors.js';
import { atExit, type EndsWithProcess, forgetAtExit } from '../../core/exit-hook.js';
import { INSPECT, inspected } from '../../core/inspect.js';
import { checkBytes, formatBytes } from '../../core/units.js';
import type { MemoryBackend } from '../backends/memory-backend.js';
import { systemWatch, type ThreadWatch } from '../pages/participants.js';
import { LedgerAttachments } from './ledger-attachments.js';
import { LedgerCells } from './ledger-cells.js';
import { LedgerChanges } from './ledger-changes.js';
import { LedgerIdentities } from './ledger-identity.js';
import { Cell, Control, LEDGER_PAGE_BYTES, MAX_PAGES, pagesFor } from './ledger-layout.js';
import { LedgerLock } from './ledger-lock.js';
import {
  attachLedgerMemory,
  checkLedgerMember,
  checkNewLedger,
  createLedgerMemory,
  type LedgerMemory,
  type LedgerToken,
  type NewLedger,
  pagesOfLimit,
} from './ledger-memory.js';
import { LedgerSegments } from './ledger-segments.js';
import { checkLedger, checkLedgerSpace, formatLedger, LedgerWords } from './ledger-words.js';
import { PageTaker } from './page-taker.js';
import { wantedOfSelf } from './wanted-shares.js';

/**
 * Where workers of a process, or processes, that share one limit count what each of them holds. Each isolate opens it and is a member then.
 *
 * Taking and giving need no lock: each member counts in a cell of its own, and what is used is the sum. What a member held that was killed,
 * at whatever moment, or a worker that was terminated (on Linux), comes back by {@link returnDead}. It counts pages of 4 KiB:
 * of all that a member holds, the last page is rounded up.
 */
export class SharedLedger implements BudgetLedger {
  /** For others to {@link open}. */
  readonly token: LedgerToken;
  readonly #backend: MemoryBackend;
  readonly #ending: LedgerEnding;
  readonly #words: LedgerWords;
  readonly #cells: LedgerCells;
  readonly #cell: number;
  readonly #taker: PageTaker;
  readonly #changes: LedgerChanges;
  readonly #attachments: LedgerAttachments;
  #heldBytes = 0;
  #isDisposed = false;

  /** @internal */
  constructor({ backend, token }: LedgerMemory, member: LedgerMember, { ending, words, watch }: LedgerSurroundings) {
    this.#backend = backend;
    this.token = token;
    this.#ending = ending;
    this.#words = words ?? new LedgerWords(backend.region);
    const identities = new LedgerIdentities(watch ?? systemWatch());
    const lock = new LedgerLock(this.#words, identities);
    const segments = new LedgerSegments(this.#words);
    this.#cells = new LedgerCells(this.#words, identities, lock, segments);
    checkLedgerMember(member, this.limitBytes);
    this.#cell = this.#cells.enter(member);
    if (this.#cell < 0) throw tooMany(this.#words.members, this.usedBytes, this.limitBytes);
    this.#taker = new PageTaker(this.#words, this.#cell, () => this.#cells.returnDead());
    this.#changes = new LedgerChanges(this.#words);
    this.#attachments = new LedgerAttachments(this.#cell, segments, lock, this.#taker, this.#changes);
    ending.ledger = this;
  }

  /**
   * Creates a ledger. Its creator is a member.
   *
   * With a name, it lies in a segment of mode 0600, whose creator unlinks it, as with any other one.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE
   * @throws ERR_MEM_SEGMENT_EXISTS, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_NATIVE, ERR_MEM_UNSUPPORTED_PLATFORM for a name on Windows
   */
  static create(options: NewLedger, member: LedgerMember): SharedLedger {
    const members = checkNewLedger(options);
    const limitPages = pagesOfLimit(options.limitBytes);
    checkLedgerMember(member, options.limitBytes);
    return enter(
      () => createLedgerMemory(options, members),
      (backend) => formatLedger(backend, members, limitPages),
      member,
    );
  }

  /**
   * Becomes a member of a ledger that another one has created.
   *
   * @throws ERR_MEM_BAD_SEGMENT for a segment that is no ledger, is damaged, another user's, or made in another pid namespace
   * @throws ERR_MEM_SEGMENT_ABSENT, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE, ERR_MEM_NATIVE
   * @throws ERR_MEM_OUT_OF_MEMORY when it has as many members as it can
   */
  static open(token: LedgerToken, member: LedgerMember): SharedLedger {
    checkLedgerMember(member, Number.POSITIVE_INFINITY);
    return enter(
      () => attachLedgerMemory(token),
      (backend) => {
        checkLedger(backend);
        checkLedgerSpace(backend);
      },
      member,
    );
  }

  /** @throws ERR_MEM_DISPOSED */
  get limitBytes(): number {
    this.#check();
    return this.#words.count(Control.limit) * LEDGER_PAGE_BYTES;
  }

  /**
   * What all members hold, and shared segments, once each; also of members that have ended, until that was returned.
   *
   * @throws ERR_MEM_DISPOSED
   */
  get usedBytes(): number {
    this.#check();
    return this.#words.usedPages() * LEDGER_PAGE_BYTES;
  }

  get disposed(): boolean {
    return this.#isDisposed;
  }

  /**
   * Counts bytes for this member if all together stay within the limit. Cost: some loads for each member and segment, two stores.
   *
   * Where others take at the same moment and only one of them can, it waits for them, 10 ms at most.
   *
   * @returns false when they would not; nothing has changed then
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_DISPOSED
   */
  take(bytes: number): boolean {
    this.#check();
    checkBytes(bytes);
    const held = this.#heldBytes + bytes;
    const more = pagesFor(held) - pagesFor(this.#heldBytes);
    if (more > 0 && !this.#taker.take(more)) return false;
    this.#heldBytes = held;
    return true;
  }

  /** Counts bytes that nobody could refuse. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_DISPOSED */
  force(bytes: number): void {
    this.#check();
    checkBytes(bytes);
    const more = pagesFor(this.#heldBytes + bytes) - pagesFor(this.#heldBytes);
    if (more > 0) this.#taker.force(more);
    this.#heldBytes += bytes;
  }

  /** Gives bytes back. @throws ERR_MEM_INVALID_ARGUMENT for more than this member holds, ERR_MEM_INVALID_SIZE, ERR_MEM_DISPOSED */
  give(bytes: number): void {
    this.#check();
    checkBytes(bytes);
    if (bytes > this.#heldBytes) checkArgument(false, 'bytes', bytes, `at most the ${this.#heldBytes} that are held`);
    const less = pagesFor(this.#heldBytes) - pagesFor(this.#heldBytes - bytes);
    this.#heldBytes -= bytes;
    if (less === 0) return;
    this.#taker.give(less);
    this.#changes.announce();
  }

  /** @throws ERR_MEM_INVALID_SIZE, ERR_MEM_DISPOSED */
  publishCached(cachedBytes: number): void {
    this.#check();
    checkBytes(cachedBytes);
    this.#publish(Cell.cached, Math.floor(cachedBytes / LEDGER_PAGE_BYTES));
  }

  /**
   * Asks the others for bytes; 0 withdraws that, which is to be done also when they were got.
   *
   * @param bytes - what is missing now: what others give back from now on counts towards it, whoever takes it
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_DISPOSED
   */
  want(bytes: number): void {
    this.#check();
    checkBytes(bytes);
    const pages = pagesFor(bytes);
    const free = this.#words.count(Control.limit) - this.#words.usedPages();
    const isNews = this.#publish(Cell.target, pages === 0 ? 0 : Math.max(0, pages + free));
    if (this.#publish(Cell.wanted, pages) || isNews) this.#changes.announce();
  }

  /**
   * How many bytes this member is to give back now for others. Those of lowest priority give first, of equals the one in the lower cell; nobody
   * below its minimum, nor more than it has cached. Cost: a load for each member; some us for each when anybody wants something.
   *
   * @throws ERR_MEM_DISPOSED
   */
  wantedHere(): number {
    this.#check();
    if (!this.#cells.isWantedBeside(this.#cell)) return 0;
    return wantedOfSelf(this.#cells.readAll(this.#cell), this.limitBytes - this.usedBytes);
  }

  /**
   * Resolves when another member gave something back, wants something, or changed the limit, since the last one of these resolved; or after so
   * many milliseconds. It looks every 16 ms when nothing happens for long, and does not keep the process alive.
   *
   * @throws ERR_MEM_DISPOSED
   */
  changed(timeoutMs: number): Promise<void> {
    this.#check();
    return this.#changes.next(timeoutMs);
  }

  /**
   * Counts a shared segment, once for all members that have attached it. One that a member attaches twice is to be detached twice.
   *
   * @param bytes - where members say different ones, the most counts
   * @returns false when it does not fit
   * @throws ERR_MEM_LOCK_TIMEOUT when another member has been stopped in the middle of this for a second
   * @throws ERR_MEM_OUT_OF_MEMORY for the 257th segment, ERR_MEM_INVALID_SIZE, ERR_MEM_DISPOSED
   */
  attachSegment(url: string, bytes: number): boolean {
    this.#check();
    checkBytes(bytes);
    return this.#attachments.attach(url, pagesFor(bytes));
  }

  /** Takes {@link attachSegment} back. @throws ERR_MEM_INVALID_ARGUMENT for one that this member has not attached, ERR_MEM_LOCK_TIMEOUT, ERR_MEM_DISPOSED */
  detachSegment(url: string): void {
    this.#check();
    this.#attachments.detach(url);
  }

  /**
   * Returns what members that have ended held. Cost: a file read for each other member, about 20 us.
   *
   * @returns those bytes; 0 also when another member has been stopped in the middle of this: call it again later
   * @throws ERR_MEM_DISPOSED
   */
  returnDead(): number {
    this.#check();
    return this.#cells.returnDead() * LEDGER_PAGE_BYTES;
  }

  /** All members, those that have ended as well until they were returned. In whole pages. @throws ERR_MEM_DISPOSED */
  members(): LedgerMemberReading[] {
    this.#check();
    return this.#cells.readAll(this.#cell).map(({ reading }) => reading);
  }

  /** Changes the limit for all. What they hold above it stays theirs. @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE, ERR_MEM_DISPOSED */
  setLimit(bytes: number): void {
    this.#check();
    Atomics.store(this.#words.int32, Control.limit, pagesOfLimit(bytes));
    this.#changes.announce();
  }

  /**
   * Ends this member's part: what it holds is given back, and its segments are detached. The creator's ledger loses its name; the others go
   * on. Does nothing the second time.
   *
   * @throws ERR_MEM_LOCK_TIMEOUT, ERR_MEM_NATIVE; it can be called again then
   */
  dispose(): void {
    this.leave();
    this.#backend.dispose();
    forgetAtExit(this.#ending);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `SharedLedger { main, 16.00 MiB held, 48.00 MiB of 2.00 GiB used by 2 members }`: whoever has its token can change it. @internal */
  [INSPECT](): string {
    return inspected(this, () => {
      if (this.#isDisposed) return ['disposed'];
      const members = this.members();
      const own = members.find(({ isSelf }) => isSelf);
      const used = `${formatBytes(this.usedBytes)} of ${formatBytes(this.limitBytes)} used`;
      return [`${own?.name}`, `${formatBytes(this.#heldBytes)} held`, `${used} by ${counted(members.length, 'member')}`];
    });
  }

  /** Gives the cell back. @internal */
  leave(): void {
    if (this.#isDisposed) return;
    this.#cells.leave(this.#cell);
    this.#isDisposed = true;
    this.#changes.end();
  }

  /** Writes a word of the cell. @returns whether it was another one before */
  #publish(field: number, pages: number): boolean {
    const at = this.#words.cellAt(this.#cell) + field;
    const word = Math.min(pages, MAX_PAGES);
    if (this.#words.int32[at] === word) return false;
    Atomics.store(this.#words.int32, at, word);
    return true;
  }

  #check(): void {
    checkUsable(!this.#isDisposed, 'shared ledger');
  }
}

/** What a ledger works with; tests put other things in their place. @internal */
export interface LedgerSurroundings {
  readonly ending: LedgerEnding;
  readonly words?: LedgerWords;
  readonly watch?: ThreadWatch;
}

/** Gives the cell back when the worker or process ends. Made before the memory, so that it ends first. @internal */
export class LedgerEnding implements EndsWithProcess {
  ledger: SharedLedger | undefined;

  endWithProcess(): void {
    this.ledger?.leave();
  }
}

function enter(open: () => LedgerMemory, prepare: (backend: MemoryBackend) => void, member: LedgerMember): SharedLedger {
  const ending = new LedgerEnding();
  atExit(ending);
  const work = () => {
    const memory = open();
    return orUndo(
      () => {
        prepare(memory.backend);
        return new SharedLedger(memory, member, { ending });
      },
      () => memory.backend.dispose(),
    );
  };
  return orUndo(work, () => forgetAtExit(ending));
}

function tooMany(members: number, usedBytes: number, limitBytes: number): MemoryError {
  return new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
    requestedBytes: 0,
    allocatedBytes: usedBytes,
    reservedBytes: usedBytes,
    capacityBytes: limitBytes,
    device: 0,
    quota: `${members} members of one ledger`,
  });
}
