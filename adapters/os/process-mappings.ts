import { readFileSync } from 'node:fs';
import { MemoryError } from '../../src/core/errors.js';
import { KiB } from '../../src/core/units.js';

/** A range of addresses that a process has mapped, as the kernel accounts for it. */
export interface ProcessMapping {
  readonly start: number;
  readonly end: number;
  /** `rwxp` or a part of it: `s` in the place of `p` for a mapping that is shared. */
  readonly rights: string;
  /** The file's path, or a name in brackets that the kernel gave; empty for anonymous memory. Control characters as they are. */
  readonly name: string;
  readonly residentBytes: number;
  /** Resident pages that only this process has, and that differ from the file, or have none. */
  readonly privateDirtyBytes: number;
  /** Resident pages that must be written before they can go: private or shared ones. */
  readonly dirtyBytes: number;
  /** Resident pages that belong to no file. */
  readonly anonymousBytes: number;
  /** Its part of pages that several processes have. */
  readonly proportionalBytes: number;
}

// "7f00-7f80 rw-p 00000000 fe:00 260689   /path": the name may hold anything but a line's end, which the kernel writes as \012.
const HEAD = /^([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][ps]) [0-9a-f]+ \S+ \d+ *(.*)$/;
const ACCOUNT = /^(\w+): +(\d{1,15}) kB$/;
const MOST_MAPPINGS = 1 << 20;
/** Above it a number is no address of a program; the kernel's own page for system calls lies there. */
const MOST_ADDRESS = 2 ** 52;

/**
 * Reads what a process has mapped, in the order of addresses. Cost: the kernel walks all its pages, some ms a GiB.
 *
 * @param pid - a process of the same user
 * @throws ERR_MEM_UNSUPPORTED_PLATFORM outside of Linux; ERR_MEM_INVALID_ARGUMENT when there is no such process, or it is another user's
 */
export function processMappings(pid: number | 'self'): ProcessMapping[] {
  if (process.platform !== 'linux') {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'the list of mappings', platform: process.platform });
  }
  return parseMappings(accountsText(pid));
}

function accountsText(pid: number | 'self'): string {
  let reason: string | undefined;
  try {
    const text = readFileSync(`/proc/${pid}/smaps`, 'latin1');
    // A process of the kernel, or one that has ended and was not yet reaped, has none.
    if (text !== '') return Buffer.from(text, 'latin1').toString('utf8');
    reason = 'it has no memory: it has ended, or belongs to the kernel';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') reason = "it is another user's, or protected";
    else if (code === 'ENOENT' || code === 'ESRCH') reason = 'there is none of that number';
    else throw error;
  }
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
    name: 'pid',
    value: String(pid),
    expected: `a process whose memory may be read: ${reason}`,
  });
}

/** Reads the text of `/proc/<pid>/smaps`. Lines that make no sense are left out. */
export function parseMappings(text: string): ProcessMapping[] {
  const mappings: ProcessMapping[] = [];
  let head: Pick<ProcessMapping, 'start' | 'end' | 'rights' | 'name'> | undefined;
  let accounts: Record<string, number> = {};
  const finish = () => {
    if (head === undefined || mappings.length === MOST_MAPPINGS) return;
    const of = (name: string) => accounts[name] ?? 0;
    mappings.push({
      ...head,
      residentBytes: Math.min(of('Rss'), head.end - head.start),
      privateDirtyBytes: of('Private_Dirty'),
      dirtyBytes: of('Private_Dirty') + of('Shared_Dirty'),
      anonymousBytes: of('Anonymous'),
      proportionalBytes: of('Pss'),
    });
  };
  for (const line of text.split('\n')) {
    const [, name = '', kibibytes = ''] = ACCOUNT.exec(line) ?? [];
    if (name !== '') {
      accounts[name] = Number(kibibytes) * KiB;
      continue;
    }
    const match = HEAD.exec(line);
    if (match === null) continue;
    finish();
    const start = Number.parseInt(match[1] as string, 16);
    const end = Number.parseInt(match[2] as string, 16);
    head = start < end && end <= MOST_ADDRESS ? { start, end, rights: match[3] as string, name: match[4] as string } : undefined;
    accounts = {};
  }
  finish();
  return mappings;
}
