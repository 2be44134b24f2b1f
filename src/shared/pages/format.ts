import { checkArgument, MemoryError } from '../../core/errors.js';
import type { AllocatorId, SharedAllocatorOptions } from '../allocators/shared-allocator.js';
import type { SharedRegion } from '../shared-region.js';
import {
  Control,
  GRANULE_BYTES,
  GRANULE_WORDS,
  LAYOUT_VERSION,
  MAGIC_VALUE,
  MAX_GRANULES,
  MIN_PAGE_GRANULES,
  RECORD_WORDS,
} from './layout.js';
import { PageHeap } from './page-heap.js';
import { MAX_PARTICIPANTS, type ThreadWatch } from './participants.js';
import { PageHeaders } from './region-words.js';

const MIN_REGION_BYTES = 16 * 1024;
const MIN_PARTICIPANTS = 8;
const BYTES_PER_PARTICIPANT = 16 * 1024;
const CACHE_SHARE = 64;
const MAX_CACHE_BYTES = 2 ** 20;

/** What a page allocator is opened with. */
export interface PageAllocatorOptions extends SharedAllocatorOptions {
  /** Who this thread is and who else runs. @defaultValue the system tells */
  readonly watch?: ThreadWatch;
}

/** How a page allocator is made in an empty region. */
export interface PageAllocatorInit extends PageAllocatorOptions {
  readonly id: AllocatorId;
  /** What each thread's cache keeps at most; every process follows it. @defaultValue 1/64 of the region, up to 1 MiB */
  readonly cacheBytes?: number;
}

/**
 * Writes an empty page allocator to a region: one free page. Touches only the memory that holds its words.
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
  const isSize = region.bytes >= MIN_REGION_BYTES && region.bytes <= MAX_GRANULES * GRANULE_BYTES;
  checkArgument(isSize, 'the region', `${region.bytes} bytes`, 'from 16 KiB to 64 GiB');
  checkArgument(cacheBytes >= 0 && cacheBytes <= region.bytes, 'cacheBytes', cacheBytes, 'from 0 to the region’s size');
  for (const part of [id.major, id.minor]) checkArgument((part | 0) === part, 'the allocator id', part, 'two 32-bit integers');
  const near = region.int32;
  const participants = Math.min(MAX_PARTICIPANTS, Math.max(MIN_PARTICIPANTS, Math.floor(region.bytes / BYTES_PER_PARTICIPANT)));
  clear(near);
  const values: readonly (readonly [number, number])[] = [
    [Control.participants, participants],
    [Control.firstPage, firstPageOf(participants)],
    [Control.endPage, Math.floor(region.bytes / GRANULE_BYTES)],
    // Makes headers that an earlier allocator left in the pages invalid.
    [Control.salt, Math.floor(Math.random() * 2 ** 32)],
    [Control.cacheGranules, Math.floor(cacheBytes / GRANULE_BYTES)],
    [Control.idMajor, id.major],
    [Control.idMinor, id.minor],
    [Control.type, typeCode],
    [Control.version, LAYOUT_VERSION],
  ];
  for (const [word, value] of values) near[word] = value;
  const headers = new PageHeaders(region);
  new PageHeap(headers).format();
  headers.commit();
  Atomics.store(near, Control.magic, MAGIC_VALUE);
}

/** Checks that a region holds an allocator of that type. @throws ERR_MEM_REGION_DAMAGED */
export function attachRegion(region: SharedRegion, typeCode: number): void {
  region.checkOpen();
  const near = region.int32;
  const isFormatted = region.bytes >= MIN_REGION_BYTES && Atomics.load(near, Control.magic) === MAGIC_VALUE;
  checkRegion(isFormatted, 'it holds no allocator of pages');
  const [version, type] = [near[Control.version], near[Control.type]];
  checkRegion(version === LAYOUT_VERSION, `its layout is version ${version}, not ${LAYOUT_VERSION}`);
  checkRegion(type === typeCode, `its allocator is of type ${type}, not ${typeCode}`);
  const count = near[Control.participants]!;
  const end = near[Control.endPage]!;
  const isSound =
    count >= MIN_PARTICIPANTS &&
    count <= MAX_PARTICIPANTS &&
    near[Control.firstPage] === firstPageOf(count) &&
    end >= firstPageOf(count) + MIN_PAGE_GRANULES &&
    end * GRANULE_BYTES <= region.bytes;
  checkRegion(isSound, 'its sizes are not valid');
}

function checkRegion(ok: boolean, reason: string): void {
  if (!ok) throw new MemoryError('ERR_MEM_REGION_DAMAGED', { offset: 0, reason });
}

function firstPageOf(participants: number): number {
  return Math.ceil((Control.records + participants * RECORD_WORDS) / GRANULE_WORDS);
}

/** Empties the control words and the records that were used; those that never were need no touching. */
function clear(near: Int32Array): void {
  Atomics.store(near, Control.magic, 0);
  const used = near[Control.slotsUsed]!;
  const records = used > 0 && used <= MAX_PARTICIPANTS ? used : 0;
  near.fill(0, 0, Math.min(near.length, Control.records + records * RECORD_WORDS));
}
