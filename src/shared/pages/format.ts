import { MemoryError } from '../../core/errors.js';
import type { AllocatorId } from '../offset-pointer.js';
import type { SharedRegion } from '../shared-region.js';
import { Journal } from './journal.js';
import {
  CACHE_GRANULES,
  END_PAGE,
  FIRST_PAGE,
  GRANULE_BYTES,
  GRANULE_WORDS,
  ID_MAJOR,
  ID_MINOR,
  LAYOUT_VERSION,
  MAGIC,
  MAGIC_VALUE,
  MAX_GRANULES,
  MIN_PAGE_GRANULES,
  PARTICIPANTS,
  RECORD_WORDS,
  RECORDS,
  SALT,
  SLOTS_USED,
  TYPE,
  VERSION,
} from './layout.js';
import { PageHeaders } from './page-headers.js';
import { PageHeap } from './page-heap.js';
import { MAX_PARTICIPANTS } from './participants.js';
import { RegionWords } from './region-words.js';

const MIN_REGION_BYTES = 16 * 1024;
const MIN_PARTICIPANTS = 8;
const BYTES_PER_PARTICIPANT = 16 * 1024;
const CACHE_SHARE = 64;
const MAX_CACHE_BYTES = 2 ** 20;

/** What a new allocator of pages is. */
export interface FormatOptions {
  readonly id: AllocatorId;
  /** Tells the types of page allocators apart. */
  readonly typeCode: number;
  readonly cacheBytes?: number | undefined;
}

/**
 * Writes an empty allocator of pages to a region: one free page. Only the pages of memory that hold its words are touched.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT when the region is below 16 KiB or above 64 GiB, or an option cannot be
 */
export function formatRegion(region: SharedRegion, options: FormatOptions): void {
  region.checkOpen();
  if (region.bytes < MIN_REGION_BYTES || region.bytes > MAX_GRANULES * GRANULE_BYTES) {
    throw invalid('the region', `${region.bytes} bytes`, 'from 16 KiB to 64 GiB');
  }
  const { id, typeCode, cacheBytes = Math.min(region.bytes / CACHE_SHARE, MAX_CACHE_BYTES) } = options;
  if (!(cacheBytes >= 0 && cacheBytes <= region.bytes))
    throw invalid('cacheBytes', `${cacheBytes}`, 'from 0 to the region’s size');
  for (const part of [id.major, id.minor]) {
    if (!Number.isInteger(part) || (part | 0) !== part) throw invalid('the allocator id', `${part}`, 'two 32-bit integers');
  }
  const words = new RegionWords(region);
  const near = words.near;
  const participants = Math.min(MAX_PARTICIPANTS, Math.max(MIN_PARTICIPANTS, Math.floor(region.bytes / BYTES_PER_PARTICIPANT)));
  clear(near);
  near[PARTICIPANTS] = participants;
  near[FIRST_PAGE] = Math.ceil((RECORDS + participants * RECORD_WORDS) / GRANULE_WORDS);
  near[END_PAGE] = Math.floor(region.bytes / GRANULE_BYTES);
  // Headers that an earlier allocator left in the pages are none of this one's.
  near[SALT] = Math.floor(Math.random() * 2 ** 32) | 0;
  near[CACHE_GRANULES] = Math.floor(cacheBytes / GRANULE_BYTES);
  near[ID_MAJOR] = id.major;
  near[ID_MINOR] = id.minor;
  near[TYPE] = typeCode;
  near[VERSION] = LAYOUT_VERSION;
  const journal = new Journal(words);
  new PageHeap(words, new PageHeaders(words), journal).format();
  journal.commit();
  Atomics.store(near, MAGIC, MAGIC_VALUE);
}

/** Checks that a region holds an allocator of that type. @throws ERR_MEM_REGION_DAMAGED */
export function attachRegion(region: SharedRegion, typeCode: number): void {
  region.checkOpen();
  const reason = faultOf(region, typeCode);
  if (reason !== undefined) throw new MemoryError('ERR_MEM_REGION_DAMAGED', { offset: 0, reason });
}

function faultOf(region: SharedRegion, typeCode: number): string | undefined {
  const near = region.int32;
  if (region.bytes < MIN_REGION_BYTES || Atomics.load(near, MAGIC) !== MAGIC_VALUE) return 'it holds no allocator of pages';
  if (near[VERSION] !== LAYOUT_VERSION) return `its layout is version ${near[VERSION]}, not ${LAYOUT_VERSION}`;
  if (near[TYPE] !== typeCode) return `its allocator is of type ${near[TYPE]}, not ${typeCode}`;
  const count = near[PARTICIPANTS]!;
  const first = near[FIRST_PAGE]!;
  const end = near[END_PAGE]!;
  const soundCount = count >= MIN_PARTICIPANTS && count <= MAX_PARTICIPANTS;
  const soundFirst = soundCount && first === Math.ceil((RECORDS + count * RECORD_WORDS) / GRANULE_WORDS);
  if (!soundFirst || end < first + MIN_PAGE_GRANULES || end * GRANULE_BYTES > region.bytes) return 'its sizes make no sense';
  return undefined;
}

/** Empties the control words and the records that were used; those that never were need no touching. */
function clear(near: Int32Array): void {
  Atomics.store(near, MAGIC, 0);
  const used = near[SLOTS_USED]!;
  const records = used > 0 && used <= MAX_PARTICIPANTS ? used : 0;
  near.fill(0, 0, Math.min(near.length, RECORDS + records * RECORD_WORDS));
}

function invalid(name: string, value: string, expected: string): MemoryError {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value, expected });
}
