import { readdirSync } from 'node:fs';
import { processesMapping } from '../../adapters/os/mapped-files.js';
import { MemoryError } from '../core/errors.js';
import { memoryErrorOf } from './backends/backend-errors.js';
import type { MemoryBackend } from './backends/memory-backend.js';
import { PosixShmBackend } from './backends/named-backends.js';
import {
  inspectSegment,
  removeSegment,
  type SegmentInspection,
  SHM_FOLDER,
  SHM_PREFIX,
  sharedMemoryStore,
  withSegment,
} from './backends/segment-store.js';
import { Control, LEDGER_PAGE_BYTES, LEDGER_TYPE } from './budget/ledger-layout.js';
import { checkLedger, LedgerWords } from './budget/ledger-words.js';
import { ALLOCATOR_TYPES, isAllocatorType } from './memory-registry.js';

/** How full the region of a segment is. */
export interface SegmentUsage {
  /** Handed out, with what the allocator adds and threads keep in their caches. */
  readonly usedBytes: number;
  readonly freeBytes: number;
}

/** A shared memory object of this library. */
export interface ListedSegment {
  readonly name: string;
  /** What it is; undefined when this user may not open it. */
  readonly inspection: SegmentInspection | undefined;
  /** The processes that have mapped it, as far as this user may see. */
  readonly users: readonly number[];
  /** Whether it can be removed: its creator is gone, and no process has it mapped. */
  readonly abandoned: boolean;
  /** How full its region is, as far as its allocator tells. */
  readonly usage: SegmentUsage | undefined;
  /** Why it, or its allocator, cannot be used; empty when it can. */
  readonly reason: string;
}

/**
 * Lists the shared memory objects of this library, by name. Cost: some ms.
 *
 * @throws ERR_MEM_UNSUPPORTED_PLATFORM where the system has no list of them (all but Linux), ERR_MEM_NATIVE
 */
export function listSegments(): ListedSegment[] {
  const folder = shmFolder();
  const users = processesMapping(`${folder}/${SHM_PREFIX}`);
  const files = filesIn(folder).filter((file) => file.startsWith(SHM_PREFIX));
  return files.flatMap((file) => look(file.slice(SHM_PREFIX.length), users.get(`${folder}/${file}`) ?? []) ?? []);
}

/**
 * Unlinks a shared memory object, if it is abandoned or `force` is set. Processes that have it mapped go on.
 *
 * @returns why it was not unlinked; undefined when it was
 * @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE, ERR_MEM_UNSUPPORTED_PLATFORM
 */
export function removeListed(name: string, force: boolean): string | undefined {
  const store = sharedMemoryStore(name);
  let refusal: string | undefined = 'there is no such segment';
  removeSegment(store, (fd) => {
    const inspection = inspectSegment(fd, store.url);
    const path = `${shmFolder()}/${SHM_PREFIX}${name}`;
    const users = processesMapping(path).get(path) ?? [];
    refusal = force || isAbandoned(inspection, users) ? undefined : reasonToKeep(inspection, users);
    return refusal === undefined;
  });
  return refusal;
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    throw memoryErrorOf(error);
  }
}

function look(name: string, users: readonly number[]): ListedSegment | undefined {
  try {
    const store = sharedMemoryStore(name);
    const inspection = withSegment(store, undefined, (fd) => inspectSegment(fd, store.url));
    if (inspection === undefined) return undefined;
    const found = usageOf(store.url, inspection);
    const [usage, reason] = typeof found === 'string' ? [undefined, found] : [found, inspection.reason];
    return { name, inspection, users, abandoned: isAbandoned(inspection, users), usage, reason };
  } catch (error) {
    // A name that this library does not give, or another user's object.
    if (MemoryError.is(error)) {
      return { name, inspection: undefined, users, abandoned: false, usage: undefined, reason: error.message };
    }
    throw error;
  }
}

function isAbandoned(inspection: SegmentInspection, users: readonly number[]): boolean {
  return inspection.stale && users.length === 0;
}

function reasonToKeep(inspection: SegmentInspection, users: readonly number[]): string {
  if (users.length > 0) return `it is in use by ${users.length === 1 ? 'process' : 'processes'} ${users.join(', ')}`;
  const { creator, facts } = inspection;
  if (facts !== undefined)
    return `its creator, process ${facts.creator.id}${creator === 'alive' ? ', runs' : ' of another pid namespace, may run'}`;
  return inspection.state === 'creating' ? 'it is being created' : `it may be another program's: ${inspection.reason}`;
}

function shmFolder(): string {
  if (SHM_FOLDER !== undefined) return SHM_FOLDER;
  throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'a list of shared memory objects', platform: process.platform });
}

/**
 * Asks the allocator of a segment how much it has handed out, or a ledger how much of its limit is used. Maps the segment, and changes nothing in it.
 *
 * @returns undefined where there is no allocator, or one without a bound; a string that says why it cannot be asked
 */
function usageOf(url: string, { state, allocator }: SegmentInspection): SegmentUsage | string | undefined {
  if (state !== 'ready' || allocator === undefined) return undefined;
  const { type } = allocator;
  if (!isAllocatorType(type) && type !== LEDGER_TYPE) return `its allocator is of a type that is unknown here: ${type}`;
  try {
    using backend = PosixShmBackend.attach(url);
    if (!isAllocatorType(type)) return ledgerUsage(backend);
    const { capacityBytes, allocatedBytes } = ALLOCATOR_TYPES[type].shmDeserialize(backend.region);
    return { usedBytes: allocatedBytes, freeBytes: capacityBytes - allocatedBytes };
  } catch (error) {
    // One that keeps nothing in the region cannot be asked by others.
    if (MemoryError.is(error, 'ERR_MEM_UNSUPPORTED_PLATFORM')) return undefined;
    if (MemoryError.is(error)) return error.message;
    throw error;
  }
}

function ledgerUsage(backend: MemoryBackend): SegmentUsage {
  checkLedger(backend);
  const words = new LedgerWords(backend.region);
  const usedBytes = words.usedPages() * LEDGER_PAGE_BYTES;
  return { usedBytes, freeBytes: Math.max(0, words.count(Control.limit) * LEDGER_PAGE_BYTES - usedBytes) };
}
