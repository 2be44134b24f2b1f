/**
 * The layout of a region that a page allocator manages. All of it is 32-bit words.
 *
 * The region begins with the control words, the participants' records follow, and then the pages, which tile the rest.
 * A page is a number of granules: a header of one granule, and the payload. A page is named by its first granule.
 */

/** Pages begin and end at multiples of it. */
export const GRANULE_BYTES = 32;
export const GRANULE_WORDS = 8;
/** A header, and a payload of 64 bytes. */
export const MIN_PAGE_GRANULES = 3;
/** Above 64 GiB a granule's number would not fit a word. */
export const MAX_GRANULES = 2 ** 31 - 1;

/** The words of a page's header, and of the payload behind it where that counts a reference. */
export const Header = {
  /** `kind << 28 | holder`: what the page is, and whose. */
  state: 0,
  /** The page's granules, header included. */
  granules: 1,
  /** The granules of the page in front; 0 for the first page. */
  previousGranules: 2,
  /** The next page in the list that the page is in; 0 ends it. */
  next: 3,
  /** Of a free page the page before it in its list; of a page in use the number of times its payload was handed out. */
  previous: 4,
  episode: 4,
  /** What tokens for it carry; 0 while it was never shared. */
  generation: 5,
  /** The references that are counted on it. */
  references: 6,
  /** A digest of the page's place and granules. */
  check: 7,
  /** The page that is referred to, and its generation. */
  target: GRANULE_WORDS,
  targetGeneration: GRANULE_WORDS + 1,
} as const;

/** Kinds of pages. 0 stands for memory that was never a page. */
export const Kind = {
  free: 1,
  /** Handed out; the holder allocated it. */
  live: 2,
  /** Free, in the holder's own cache. */
  cached: 3,
  /** Freed by another thread than the holder, and in the holder's list of those, or on the way there. */
  remote: 4,
  /** Counts the holder's reference to another page. */
  reference: 5,
} as const;
export const KIND_SHIFT = 28;
export const HOLDER_MASK = 2 ** 28 - 1;

/** The control words. */
export const Control = {
  magic: 0,
  version: 1,
  type: 2,
  endPage: 3,
  firstPage: 4,
  participants: 5,
  salt: 6,
  cacheGranules: 7,
  idMajor: 8,
  idMinor: 9,
  /** Granules of all pages that are not free. */
  usedGranules: 10,
  /** The generation that was given out last. */
  lastGeneration: 11,
  /** The episode that was given out last. */
  lastEpisode: 12,
  /** Slots that were ever taken: those from here on were never touched. */
  slotsUsed: 14,
  /** Rises when an allocation failed: every thread gives its cache back. */
  pressure: 13,
  /** Of its own cache line. */
  lock: 32,
  journal: 48,
  /** A bit for each bin that is not empty. */
  binBits: 176,
  binHeads: 184,
  records: 336,
} as const;
export const JOURNAL_ENTRIES = 40;

/** The words of a participant's record. The first two change as one 64-bit word. */
export const Participant = {
  /** The thread's number in the system. */
  threadId: 0,
  /** The lower half of the thread's start time. */
  threadStart: 1,
  threadStartHigh: 2,
  processId: 3,
  /** Counts the threads that ever had this record. */
  generation: 4,
  /** The holder that the record stood for while its pages are being given back; 0 otherwise. */
  closing: 5,
  /** The page of another holder that this thread is freeing. */
  freeing: 6,
  /** 1 while this thread empties its list of remote pages. */
  draining: 7,
  /** The head of the list of pages that others freed. */
  remoteHead: 8,
  cachedGranules: 9,
  /** The {@link Control.pressure} that this thread has answered. */
  seenPressure: 10,
  /** The heads of the cache's lists. */
  cacheHeads: 16,
} as const;
export const RECORD_WORDS = 88;

/** "STWP". */
export const MAGIC_VALUE = 0x50575453;
export const LAYOUT_VERSION = 1;

// Payloads in granules. Each power of two has eight classes; below eight granules each size is one.
const SMALLEST = 2;
const CLASSES = 8;
const LOW_LEVEL = 3;
const LARGEST_LEVEL = 19;
const LARGEST_CLASS = 2 ** LARGEST_LEVEL;

/** The bin of pages whose payload is above 16 MiB: they are of any size. */
export const LARGE_BIN = CLASSES * (LARGEST_LEVEL - LOW_LEVEL + 1) + 1;
export const BIN_COUNT = LARGE_BIN + 1;

/**
 * The smallest class that holds a payload: at most an eighth larger. Powers of two are classes, from 64 bytes to 16 MiB;
 * above that every size is its own.
 *
 * @param granules - above 0
 * @see Source: hermes-shm, whose classes are 2^6 to 2^24 bytes; in eighths as in TLSF (Masmano and others, 2004)
 */
export function classOf(granules: number): number {
  if (granules < CLASSES) return granules < SMALLEST ? SMALLEST : granules;
  if (granules > LARGEST_CLASS) return granules;
  const step = 1 << (31 - Math.clz32(granules) - LOW_LEVEL);
  return (granules + step - 1) & -step;
}

/** The bin of a payload; all payloads in a bin are at least as large as the class that begins it. */
export function binOf(granules: number): number {
  if (granules < CLASSES) return granules;
  if (granules > LARGEST_CLASS) return LARGE_BIN;
  const level = 31 - Math.clz32(granules);
  return CLASSES * (level - LOW_LEVEL + 1) + ((granules >>> (level - LOW_LEVEL)) & (CLASSES - 1));
}
