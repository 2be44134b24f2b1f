import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  closeSharedMemoryObject,
  createSharedMemoryObject,
  openSharedMemoryObject,
  unlinkSharedMemoryObject,
} from '../../../adapters/os/shared-memory-object.js';
import { badArgument, checkArgument, MemoryError } from '../../core/errors.js';
import { memoryErrorOf } from './backend-errors.js';

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
