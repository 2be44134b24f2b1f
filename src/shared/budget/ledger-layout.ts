/** What a ledger counts in: a word of 32 bits then reaches 16 TiB. */
export const LEDGER_PAGE_BYTES = 4096;
/** The most that a limit can be, and that one member is counted for: 8 TiB. */
export const MAX_PAGES = 2 ** 31 - 1;
/** How the header of a backend names what is in its region. */
export const LEDGER_TYPE = 'budget-ledger';
/** Changes with the layout. */
export const LEDGER_VERSION = { major: 1, minor: 0 } as const;
export const MAX_MEMBERS = 1024;
/** Shared segments that are counted at a time. */
export const SEGMENTS = 256;
/** Of a name, in UTF-8. */
export const NAME_BYTES = 31;

/** The words of a ledger's start. The first four are written once; what is written often has a cache line of its own. */
export const Control = {
  members: 0,
  segments: 1,
  boot: 2,
  namespace: 3,
  /** Two words: who changes segments, or returns what a member that has ended held. */
  lock: 4,
  limit: 16,
  /** Cells below it may be taken. It never falls. */
  usedCells: 17,
  /** The same of segments. */
  usedSegments: 18,
  /** The sum of the segments' pages. Whoever changes them writes it then: always the whole sum. */
  segmentPages: 19,
  /** Grows when somebody gave something back or wants something. */
  sequence: 32,
  /** Grows when somebody withdrew a claim. */
  withdrawals: 33,
  cells: 64,
} as const;

/** The words of a member's cell: two cache lines. Counts are of pages. */
export const Cell = {
  /** Two words: the owner; 0 in a cell that is free. All other words are 0 then. */
  owner: 0,
  held: 2,
  /** How much of `held` is not granted yet. */
  claim: 3,
  cached: 4,
  wanted: 5,
  minimum: 6,
  processId: 7,
  /** Two words: a double. */
  priority: 8,
  nameBytes: 10,
  name: 11,
  /** What is to be free for `wanted`: that, and what was free when it was asked for. */
  target: 19,
} as const;
export const NAME_WORDS = 8;
export const CELL_WORDS = 32;

/** The words of a segment's entry; as many as it takes for a bit of each member follow. Its pages stand in a column of their own. */
export const Entry = { digest: 0, bits: 4 } as const;
export const DIGEST_WORDS = 4;

/** Where the parts of a ledger for so many members lie, in words. */
export interface LedgerParts {
  readonly pages: number;
  readonly entries: number;
  readonly entryWords: number;
  /** Behind the last word. */
  readonly end: number;
}

export function ledgerParts(members: number, segments: number): LedgerParts {
  const pages = Control.cells + members * CELL_WORDS;
  const entries = pages + segments;
  const entryWords = Entry.bits + Math.ceil(members / 32);
  return { pages, entries, entryWords, end: entries + segments * entryWords };
}

/** The pages that hold so many bytes. */
export function pagesFor(bytes: number): number {
  return Math.ceil(bytes / LEDGER_PAGE_BYTES);
}
