/**
 * Where things lie in a region that a page allocator manages. All of it is 32-bit words.
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

// The words of a page's header.
/** `kind << 28 | holder`: what the page is, and whose. */
export const STATE = 0;
/** The page's granules, header included. */
export const GRANULES = 1;
/** The granules of the page in front; 0 for the first page. */
export const PREVIOUS_GRANULES = 2;
/** The next page in the list that the page is in; 0 ends it. */
export const NEXT = 3;
/** Of a free page the page before it in its list; of a page in use the number of times its payload was handed out. */
export const PREVIOUS = 4;
export const EPISODE = 4;
/** What tokens for it carry; 0 while it was never shared. */
export const GENERATION = 5;
/** The references that are counted on it. */
export const REFERENCES = 6;
/** A digest of the page's place and granules. */
export const CHECK = 7;

// The payload of a page that counts a reference: fields behind its header.
/** The page that is referred to, and its generation. */
export const TARGET = GRANULE_WORDS;
export const TARGET_GENERATION = GRANULE_WORDS + 1;

/** Kinds of pages. 0 is none: memory that was never a page. */
export const FREE = 1;
/** Handed out; the holder allocated it. */
export const LIVE = 2;
/** Free, in the holder's own cache. */
export const CACHED = 3;
/** Freed by another thread than the holder, and in the holder's list of those, or on the way there. */
export const REMOTE = 4;
/** Counts the holder's reference to another page. */
export const REFERENCE = 5;
export const KIND_SHIFT = 28;
export const HOLDER_MASK = 2 ** 28 - 1;

// The control words.
export const MAGIC = 0;
export const VERSION = 1;
export const TYPE = 2;
export const END_PAGE = 3;
export const FIRST_PAGE = 4;
export const PARTICIPANTS = 5;
export const SALT = 6;
export const CACHE_GRANULES = 7;
export const ID_MAJOR = 8;
export const ID_MINOR = 9;
/** Granules of all pages that are not free. */
export const USED_GRANULES = 10;
/** The generation that was given out last. */
export const LAST_GENERATION = 11;
/** The episode that was given out last. */
export const LAST_EPISODE = 12;
/** Slots that were ever taken: those from here on were never touched. */
export const SLOTS_USED = 14;
/** Rises when an allocation failed: every thread gives its cache back. */
export const PRESSURE = 13;
/** Of its own cache line. */
export const LOCK = 32;
export const JOURNAL = 48;
export const JOURNAL_ENTRIES = 40;
/** A bit for each bin that is not empty. */
export const BIN_BITS = 176;
export const BIN_HEADS = 184;
export const RECORDS = 336;

// The words of a participant's record. The first two change as one 64-bit word.
/** The thread's number in the system. */
export const THREAD_ID = 0;
/** The lower half of the thread's start time. */
export const THREAD_START = 1;
export const THREAD_START_HIGH = 2;
export const PROCESS_ID = 3;
/** Counts the threads that ever had this record. */
export const RECORD_GENERATION = 4;
/** The holder that the record stood for while its pages are being given back; 0 otherwise. */
export const CLOSING = 5;
/** The page of another holder that this thread is freeing. */
export const FREEING = 6;
/** 1 while this thread empties its list of remote pages. */
export const DRAINING = 7;
/** The head of the list of pages that others freed. */
export const REMOTE_HEAD = 8;
export const CACHED_GRANULES = 9;
/** The {@link PRESSURE} that this thread has answered. */
export const SEEN_PRESSURE = 10;
/** The heads of the cache's lists. */
export const CACHE_HEADS = 16;
export const RECORD_WORDS = 88;

/** "STWP". */
export const MAGIC_VALUE = 0x50575453;
export const LAYOUT_VERSION = 1;
