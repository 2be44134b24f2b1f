import { badArgument, MemoryError } from '../../core/errors.js';
import type { PageAllocatorInit } from '../allocators/page-allocator.js';
import type { SharedRegion } from '../shared-region.js';
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

const MIN_REGION_BYTES = 16 * 1024;
const MIN_PARTICIPANTS = 8;
const BYTES_PER_PARTICIPANT = 16 * 1024;
const CACHE_SHARE = 64;
const MAX_CACHE_BYTES = 2 ** 20;

/**
 * Writes an empty allocator of pages to a region: one free page. Only the pages of memory that hold its words are touched.
 *
 * @param typeCode - tells the types of page allocators apart
 * @throws ERR_MEM_INVALID_ARGUMENT when the region is below 16 KiB or above 64 GiB, or an option cannot be
 */
export function formatRegion(
  region: SharedRegion,
  typeCode: number,
  { id, cacheBytes = Math.min(region.bytes / CACHE_SHARE, MAX_CACHE_BYTES) }: PageAllocatorInit,
): void {
  region.checkOpen();
  if (region.bytes < MIN_REGION_BYTES || region.bytes > MAX_GRANULES * GRANULE_BYTES) {
    throw badArgument('the region', `${region.bytes} bytes`, 'from 16 KiB to 64 GiB');
  }
  if (!(cacheBytes >= 0 && cacheBytes <= region.bytes))
    throw badArgument('cacheBytes', cacheBytes, 'from 0 to the region’s size');
  for (const part of [id.major, id.minor]) {
    if (!Number.isInteger(part) || (part | 0) !== part) throw badArgument('the allocator id', part, 'two 32-bit integers');
  }
  const near = region.int32;
  const participants = Math.min(MAX_PARTICIPANTS, Math.max(MIN_PARTICIPANTS, Math.floor(region.bytes / BYTES_PER_PARTICIPANT)));
  clear(near);
  const values: readonly (readonly [number, number])[] = [
    [PARTICIPANTS, participants],
    [FIRST_PAGE, firstPageOf(participants)],
    [END_PAGE, Math.floor(region.bytes / GRANULE_BYTES)],
    // Headers that an earlier allocator left in the pages are none of this one's.
    [SALT, Math.floor(Math.random() * 2 ** 32)],
    [CACHE_GRANULES, Math.floor(cacheBytes / GRANULE_BYTES)],
    [ID_MAJOR, id.major],
    [ID_MINOR, id.minor],
    [TYPE, typeCode],
    [VERSION, LAYOUT_VERSION],
  ];
  for (const [word, value] of values) near[word] = value;
  const headers = new PageHeaders(region);
  new PageHeap(headers).format();
  headers.commit();
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
  const end = near[END_PAGE]!;
  const isSound =
    count >= MIN_PARTICIPANTS &&
    count <= MAX_PARTICIPANTS &&
    near[FIRST_PAGE] === firstPageOf(count) &&
    end >= firstPageOf(count) + MIN_PAGE_GRANULES &&
    end * GRANULE_BYTES <= region.bytes;
  return isSound ? undefined : 'its sizes make no sense';
}

function firstPageOf(participants: number): number {
  return Math.ceil((RECORDS + participants * RECORD_WORDS) / GRANULE_WORDS);
}

/** Empties the control words and the records that were used; those that never were need no touching. */
function clear(near: Int32Array): void {
  Atomics.store(near, MAGIC, 0);
  const used = near[SLOTS_USED]!;
  const records = used > 0 && used <= MAX_PARTICIPANTS ? used : 0;
  near.fill(0, 0, Math.min(near.length, RECORDS + records * RECORD_WORDS));
}
