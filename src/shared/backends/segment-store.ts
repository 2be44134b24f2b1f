import { closeSync, constants, fstatSync, openSync, readSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { withFileLock } from '../../../adapters/os/file-lock.js';
import { processSpace } from '../../../adapters/os/process-identity.js';
import {
  closeSharedMemoryObject,
  createSharedMemoryObject,
  openSharedMemoryObject,
  unlinkSharedMemoryObject,
} from '../../../adapters/os/shared-memory-object.js';
import { badArgument, checkArgument, MemoryError } from '../../core/errors.js';
import { memoryErrorOf } from './backend-errors.js';
import {
  type AllocatorFacts,
  AllocatorRecord,
  type BackendFacts,
  creatorLiveness,
  HEADER_BYTES,
  type Liveness,
  readHeader,
} from './backend-header.js';

/** A place where segments have names. */
export interface SegmentStore {
  /** The segment's url, for other processes and for messages. */
  readonly url: string;
  /** Its file system, where that has a path. */
  readonly folder: string | undefined;
  /** @returns a descriptor, undefined when the name is taken. @throws ERR_MEM_NATIVE */
  create(): number | undefined;
  /** @returns a descriptor, undefined when there is no such segment. @throws ERR_MEM_NATIVE, ERR_MEM_BAD_SEGMENT */
  open(): number | undefined;
  close(fd: number): void;
  unlink(): void;
}

/** Where Linux keeps shared memory objects. */
export const SHM_FOLDER = process.platform === 'linux' ? '/dev/shm' : undefined;
/** What the names of this library's objects begin with: they are recognised by it also when their content is damaged. */
export const SHM_PREFIX = 'stowage.';

/** What the url of a file begins with; any other url is a shared memory object's. */
export const FILE_SCHEME = 'file:';

const SHM_SCHEME = 'shm:';
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/;
const OWNER_ONLY = 0o600;

/**
 * A POSIX shared memory object.
 *
 * @param url - `shm:name` or the name: letters, digits and `._-`, at most 200
 * @throws ERR_MEM_INVALID_ARGUMENT for any other name
 */
export function sharedMemoryStore(url: string): SegmentStore {
  const name = url.startsWith(SHM_SCHEME) ? url.slice(SHM_SCHEME.length) : url;
  const expected = 'shm: and a name of at most 200 letters, digits and ._- that begins with no dot or dash';
  checkArgument(NAME.test(name), 'the url of a shared segment', JSON.stringify(url), expected);
  const object = `/${SHM_PREFIX}${name}`;
  return {
    url: SHM_SCHEME + name,
    folder: SHM_FOLDER,
    create: () => unless('EEXIST', () => createSharedMemoryObject(object)),
    open: () => unless('ENOENT', () => openSharedMemoryObject(object)),
    close: closeSharedMemoryObject,
    unlink: () => unlinkSharedMemoryObject(object),
  };
}

/** A file. @param url - a `file:` url, or a path @throws ERR_MEM_INVALID_ARGUMENT for a url that is no path here */
export function fileStore(url: string): SegmentStore {
  const path = url.startsWith(FILE_SCHEME) ? pathOf(url) : url;
  checkArgument(path !== '' && !path.includes('\0'), 'the path of a shared file', JSON.stringify(url), 'a path');
  // Non-blocking: opening a named pipe would wait for ever. No links: a link in a shared folder may lead anywhere.
  const open = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  return {
    url: pathToFileURL(path).href,
    folder: dirname(path),
    create: () => unless('EEXIST', () => openSync(path, open | constants.O_CREAT | constants.O_EXCL, OWNER_ONLY)),
    open: () => unless('ENOENT', () => openSync(path, open)),
    close: closeSync,
    unlink: () => unlinkSync(path),
  };
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw badArgument('the url of a shared file', JSON.stringify(url), 'a file: url of a file here', error);
  }
}

/** Runs a call of the system; undefined for the one failure that is an answer. */
function unless<T>(answer: string, call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    const status = MemoryError.is(error, 'ERR_MEM_NATIVE') ? error.facts.statusName : (error as NodeJS.ErrnoException).code;
    if (status === answer) return undefined;
    throw memoryErrorOf(error);
  }
}

/**
 * What a named segment is. `ready` can be attached; `creating` will be, or its creator ended too early; `damaged` is
 * truncated or overwritten, or no segment of this library.
 */
export interface SegmentInspection {
  readonly state: 'ready' | 'creating' | 'damaged';
  /** Why it cannot be attached; empty when it can. */
  readonly reason: string;
  readonly facts: BackendFacts | undefined;
  readonly creator: Liveness;
  readonly allocator: AllocatorFacts | undefined;
  readonly bytes: number;
  /** What it takes of memory or disk now. */
  readonly residentBytes: number;
  /** Whether no process will unlink it: its creator is gone, or never completed it. */
  readonly stale: boolean;
}

const CREATING = 'it is still being created, or its creator ended too early';
const STAT_BLOCK_BYTES = 512;
// Creating takes milliseconds: a segment that is not complete after this time never will be.
const CREATING_MS = 10_000;
// A remover looks at the segment and unlinks it: that takes less than a millisecond.
const LOCK_TIMEOUT_MS = 2000;
const ONLY_OWNER = 0o077;

/** Looks at an open segment, of which anything may be wrong. Reads a copy of its header, and maps nothing. */
export function inspectSegment(fd: number, url: string): SegmentInspection {
  const stat = fstatSync(fd);
  const { size } = stat;
  const common = { bytes: size, residentBytes: stat.blocks * STAT_BLOCK_BYTES };
  const bad = (state: 'creating' | 'damaged', reason: string): SegmentInspection => ({
    ...common,
    facts: undefined,
    creator: 'unknown',
    allocator: undefined,
    state,
    reason,
    stale: state === 'creating' && Date.now() - stat.mtimeMs > CREATING_MS,
  });
  if (!stat.isFile()) return bad('damaged', 'it is no file');
  if (size === 0) return bad('creating', CREATING);
  if (size <= HEADER_BYTES) return bad('damaged', `it is truncated: ${size} bytes`);
  const words = new Int32Array(HEADER_BYTES / 4);
  if (readSync(fd, words, 0, HEADER_BYTES, 0) !== HEADER_BYTES) return bad('damaged', 'its header cannot be read');
  const found = readHeader(words, size);
  if (found.kind === 'damaged') return bad('damaged', found.reason);
  const { facts } = found;
  if (facts === undefined) return bad('creating', CREATING);
  const creator = creatorLiveness(facts, processSpace());
  const known = { ...common, facts, creator, stale: creator === 'dead' };
  if (found.kind === 'creating') return { ...known, state: 'creating', reason: CREATING, allocator: undefined };
  try {
    return { ...known, state: 'ready', reason: '', allocator: new AllocatorRecord(words, url).read() };
  } catch (error) {
    if (!MemoryError.is(error, 'ERR_MEM_BAD_SEGMENT')) throw error;
    return { ...known, state: 'damaged', reason: error.facts.reason, allocator: undefined };
  }
}

/**
 * Tells why an open segment cannot be trusted: another user can change it, or truncate it, which would end this process
 * (SIGBUS). Undefined for a segment of this user that no other user may open.
 */
export function foreignReason(fd: number): string | undefined {
  const { uid, mode } = fstatSync(fd);
  const own = process.geteuid?.() ?? uid;
  if (uid === own && (mode & ONLY_OWNER) === 0) return undefined;
  const rights = (mode & 0o777).toString(8).padStart(4, '0');
  return `user ${uid} owns it, with mode ${rights}, and this is user ${own}: { foreign: true } attaches to what others may change`;
}

/** The number that tells a segment from a later one of the same name: it is not used again while the file is open. */
export function segmentNumber(fd: number): number {
  return fstatSync(fd).ino;
}

/**
 * Unlinks a segment, if it is still the one that is meant. Removers of one segment wait for each other, and look again
 * when it is their turn, so that none unlinks a segment that was created under the name in between.
 *
 * @param isMeant - given a descriptor of what the name leads to
 * @returns whether it was unlinked
 * @throws ERR_MEM_NATIVE, ERR_MEM_LOCK_TIMEOUT when another one has had the segment's lock for 2 s
 */
export function removeSegment(store: SegmentStore, isMeant: (fd: number) => boolean): boolean {
  return withSegment(store, false, (fd) =>
    withFileLock(fd, LOCK_TIMEOUT_MS, () => {
      const isCurrent = withSegment(store, false, (now) => segmentNumber(now) === segmentNumber(fd));
      const isToGo = isCurrent && isMeant(fd);
      if (isToGo) store.unlink();
      return isToGo;
    }),
  );
}

/** Opens a segment for the time of `work`. @returns `absent` when there is none @throws ERR_MEM_NATIVE */
export function withSegment<T>(store: SegmentStore, absent: T, work: (fd: number) => T): T {
  const fd = store.open();
  if (fd === undefined) return absent;
  try {
    return work(fd);
  } catch (error) {
    throw memoryErrorOf(error);
  } finally {
    store.close(fd);
  }
}
