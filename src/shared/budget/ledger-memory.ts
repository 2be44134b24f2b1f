import type { LedgerMember } from '../../budget/budget-ledger.js';
import { checkArgument } from '../../core/errors.js';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import { checkBytes, formatBytes } from '../../core/units.js';
import { checkSegment } from '../backends/backend-errors.js';
import { attachBackendAt, createBackendOf } from '../backends/backend-factory.js';
import { HEADER_BYTES } from '../backends/backend-header.js';
import type { MemoryBackend } from '../backends/memory-backend.js';
import { ArrayBackend } from '../backends/nameless-backends.js';
import { FILE_SCHEME } from '../backends/segment-store.js';
import { LEDGER_PAGE_BYTES, MAX_MEMBERS, MAX_PAGES } from './ledger-layout.js';
import { ledgerBytes } from './ledger-words.js';

const DEFAULT_MEMBERS = 64;

/** How a ledger is made. */
export interface NewLedger {
  /** What all members together may hold: 4 KiB to 8 TiB. What is over a multiple of 4 KiB does not count. */
  readonly limitBytes: number;
  /** The url or name of a segment for several processes. Without it the ledger is for the workers of this process. */
  readonly name?: string;
  /** How many members there can be at a time, from 1 to 1024. @defaultValue 64 */
  readonly members?: number;
  /** Replaces a segment of that name whose creator is gone; see `SegmentOptions`. @defaultValue false */
  readonly replaceStale?: boolean;
}

const OPTIONS: OptionNames<NewLedger> = { limitBytes: true, name: true, members: true, replaceStale: true };
const MEMBER: OptionNames<LedgerMember> = { name: true, priority: true, minimumBytes: true };

/** Leads another worker or process to a ledger: `workerData` and `postMessage` take it, and `child.send` an url. */
export type LedgerToken = SharedArrayBuffer | string;

/** A backend that is for a ledger, and what leads others to it. */
export interface LedgerMemory {
  readonly backend: MemoryBackend;
  readonly token: LedgerToken;
}

/** Checks what a ledger is made by. @returns the members it is for @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE */
export function checkNewLedger(options: NewLedger): number {
  checkOptionNames('SharedLedger.create', options, OPTIONS);
  const { limitBytes, members = DEFAULT_MEMBERS } = options;
  pagesOfLimit(limitBytes);
  const isCount = Number.isInteger(members) && members >= 1 && members <= MAX_MEMBERS;
  checkArgument(isCount, 'members', members, `an integer from 1 to ${MAX_MEMBERS}`);
  return members;
}

/** @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE */
export function checkLedgerMember(member: LedgerMember, limitBytes: number): void {
  checkOptionNames('a member of a ledger', member, MEMBER);
  const { name, priority, minimumBytes } = member;
  checkArgument(typeof name === 'string', 'the name of a member', typeof name, 'a string');
  checkArgument(Number.isFinite(priority), 'priority', priority, 'a number');
  checkBytes(minimumBytes);
  checkArgument(minimumBytes <= limitBytes, 'minimumBytes', minimumBytes, `at most the limit, ${formatBytes(limitBytes)}`);
}

/** The whole pages of a limit. @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE */
export function pagesOfLimit(bytes: number): number {
  checkBytes(bytes);
  const pages = Math.floor(bytes / LEDGER_PAGE_BYTES);
  checkArgument(pages >= 1 && pages <= MAX_PAGES, 'the limit', `${bytes} bytes`, 'from 4 KiB to 8 TiB');
  return pages;
}

/** Makes the memory of a ledger, which reads as zeros. @throws as the backends' `create` */
export function createLedgerMemory({ name, replaceStale = false }: NewLedger, members: number): LedgerMemory {
  const bytes = ledgerBytes(members);
  if (name === undefined) {
    const memory = new SharedArrayBuffer(HEADER_BYTES + bytes);
    return { backend: ArrayBackend.create(0, memory), token: memory };
  }
  const type = name.startsWith(FILE_SCHEME) ? 'file' : 'posix-shm';
  // All of it at once: a page that there is no memory for when it is touched would end the process.
  const backend = createBackendOf(type, { id: 0, bytes, url: name }, { reserve: true, replaceStale });
  return { backend, token: backend.url };
}

/** Attaches to the memory that a token leads to. @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_BAD_SEGMENT, ERR_MEM_SEGMENT_ABSENT, ERR_MEM_NATIVE */
export function attachLedgerMemory(token: LedgerToken): LedgerMemory {
  const isToken = typeof token === 'string' || token instanceof SharedArrayBuffer;
  checkArgument(isToken, 'the token', typeof token, 'what SharedLedger.token gave: a SharedArrayBuffer or an url');
  if (typeof token === 'string') return { backend: attachBackendAt(token), token };
  checkSegment(token.byteLength > HEADER_BYTES, 'array:', `it is truncated: ${token.byteLength} bytes`);
  return { backend: ArrayBackend.attach(token), token };
}
