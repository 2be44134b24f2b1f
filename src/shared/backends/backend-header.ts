import {
  isProcessAlive,
  type ProcessIdentity,
  type ProcessSpace,
  threadIdentity,
} from '../../../adapters/os/process-identity.js';
import { checkArgument } from '../../core/errors.js';
import { INSPECT, inspected } from '../../core/inspect.js';
import { type AllocatorId, allocatorKey } from '../allocators/shared-allocator.js';
import { loadWide, storeWide } from '../shared-region.js';
import { checkSegment } from './backend-errors.js';

/** All kinds of memory that a region can lie in. A header holds a type's number in this list, from 1: add new ones at the end. */
export const BACKEND_TYPES = ['array', 'malloc', 'posix-mmap', 'posix-shm', 'file', 'cuda-shm', 'hip-shm'] as const;

/** A kind of memory that a region can lie in. */
export type BackendType = (typeof BACKEND_TYPES)[number];

/** The header's size in bytes: the region follows it, so that it starts at a multiple of that in the memory. */
export const HEADER_BYTES = 4096;

/** What the creator of a backend writes down, and never changes. */
export interface BackendFacts {
  readonly type: BackendType;
  readonly id: number;
  /** The whole memory, header included. */
  readonly mappedBytes: number;
  readonly creator: ProcessIdentity;
  readonly space: ProcessSpace;
}

/** What was found where a header should be. */
export type HeaderFinding =
  | { readonly kind: 'ready'; readonly facts: BackendFacts }
  /** Not complete: its creator is at work, or ended too early. The facts are missing where they were not written yet. */
  | { readonly kind: 'creating'; readonly facts?: BackendFacts }
  | { readonly kind: 'damaged'; readonly reason: string };

/** Whether a creator runs; `unknown` for one of another pid namespace. */
export type Liveness = 'alive' | 'dead' | 'unknown';

// "STOWSHM1", little-endian.
const MAGIC_LOW = 0x574f5453;
const MAGIC_HIGH = 0x314d4853;
const VERSION = 1;
const READY = 1;

/** The words of the header. All before the checksum are written once, and covered by it. */
const Word = {
  magic: 0,
  versionWord: 2,
  headerSize: 3,
  mappedBytes: 4,
  type: 6,
  id: 7,
  creator: 8,
  creatorStart: 9,
  boot: 11,
  namespace: 12,
  checksum: 13,
  state: 14,
} as const;

/** Writes the header of a new backend, which {@link markReady} completes. */
export function writeHeader(words: Int32Array, facts: BackendFacts): void {
  const values: readonly (readonly [number, number])[] = [
    [Word.magic, MAGIC_LOW],
    [Word.magic + 1, MAGIC_HIGH],
    [Word.versionWord, VERSION],
    [Word.headerSize, HEADER_BYTES],
    [Word.type, BACKEND_TYPES.indexOf(facts.type) + 1],
    [Word.id, facts.id],
    [Word.creator, facts.creator.id],
    [Word.boot, facts.space.boot],
    [Word.namespace, facts.space.namespace],
  ];
  words.fill(0);
  for (const [word, value] of values) words[word] = value;
  storeWide(words, Word.mappedBytes, facts.mappedBytes);
  storeWide(words, Word.creatorStart, facts.creator.startTime);
  Atomics.store(words, Word.checksum, checksumOf(words));
}

/** Lets others attach. */
export function markReady(words: Int32Array): void {
  Atomics.store(words, Word.state, READY);
}

/**
 * Checks a header, which may be any bytes at all.
 *
 * @param words - at least {@link HEADER_BYTES} of them: a copy, where another process could change them meanwhile
 * @param actualBytes - the size of the memory that it heads
 */
export function readHeader(words: Int32Array, actualBytes: number): HeaderFinding {
  if (words[Word.magic] === 0 && words[Word.magic + 1] === 0 && words[Word.checksum] === 0) return { kind: 'creating' };
  if (words[Word.magic] !== MAGIC_LOW || words[Word.magic + 1] !== MAGIC_HIGH) return damaged('it is no segment of this library');
  if (words[Word.versionWord] !== VERSION) return damaged(`it has layout version ${words[Word.versionWord]}, not ${VERSION}`);
  if (Atomics.load(words, Word.checksum) !== checksumOf(words)) {
    return words[Word.checksum] === 0 ? { kind: 'creating' } : damaged('its header is damaged: the checksum differs');
  }
  const type = BACKEND_TYPES[(words[Word.type] as number) - 1];
  if (type === undefined || words[Word.headerSize] !== HEADER_BYTES) return damaged('its header has values that do not exist');
  const mappedBytes = loadWide(words, Word.mappedBytes);
  if (mappedBytes !== actualBytes) return damaged(`it has ${actualBytes} bytes, but its header says ${mappedBytes}`);
  const facts = {
    type,
    id: words[Word.id] as number,
    mappedBytes,
    creator: { id: words[Word.creator] as number, startTime: loadWide(words, Word.creatorStart) },
    space: { boot: words[Word.boot] as number, namespace: (words[Word.namespace] as number) >>> 0 },
  };
  return { kind: Atomics.load(words, Word.state) === READY ? 'ready' : 'creating', facts };
}

/** Tells whether the creator runs, as far as that can be seen from `here`. */
export function creatorLiveness(facts: BackendFacts, here: ProcessSpace): Liveness {
  if (facts.space.boot !== here.boot) return 'dead';
  if (facts.space.namespace !== here.namespace) return 'unknown';
  return isProcessAlive(facts.creator.id, facts.creator.startTime) ? 'alive' : 'dead';
}

/** FNV-1a over the words before the checksum; never 0, which stands for "not written". */
function checksumOf(words: Int32Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < Word.checksum; i++) hash = Math.imul(hash ^ (words[i] as number), 0x01000193);
  return hash === 0 ? 1 : hash;
}

function damaged(reason: string): HeaderFinding {
  return { kind: 'damaged', reason };
}

/** Which allocator manages a backend's region. */
export interface AllocatorFacts extends AllocatorId {
  /** Its name in the table of allocator types. */
  readonly type: string;
}

// What RecordWord.claim holds: no allocator, the thread that is creating one (a positive number), or one that can be used.
const UNCLAIMED = 0;
const CREATED = -1;

/** The words of the allocator's record, behind those of the header. */
const RecordWord = { claim: 16, claimStart: 17, major: 19, minor: 20, nameLength: 21, name: 22 } as const;
const MAX_NAME_BYTES = 64;
const NAME_PATTERN = /^[a-z][a-z0-9-]*$/;

/** The place in a backend's header that says which allocator manages its region. Threads and processes race for it. */
export class AllocatorRecord {
  /** @param words - of the header, or of a copy, which can only be read */
  constructor(
    protected readonly words: Int32Array,
    protected readonly url: string,
  ) {}

  /**
   * Takes the right to create the allocator. One thread gets it; another may take it when that thread ends before
   * {@link complete}.
   *
   * @throws ERR_MEM_BAD_SEGMENT when there is one, or another thread is creating one
   */
  claim(facts: AllocatorFacts): void {
    const isName = facts.type.length <= MAX_NAME_BYTES && NAME_PATTERN.test(facts.type);
    checkArgument(isName, 'the allocator type', JSON.stringify(facts.type), `at most ${MAX_NAME_BYTES} of a-z, 0-9 and -`);
    const { words } = this;
    const { id, startTime } = threadIdentity();
    const found = Atomics.load(words, RecordWord.claim);
    const isLost = found !== UNCLAIMED && found !== CREATED && !isProcessAlive(found, loadWide(words, RecordWord.claimStart));
    // The start time of the lost thread must not be taken for the next one's, who would look dead.
    if (isLost) storeWide(words, RecordWord.claimStart, 0);
    const isOurs = (found === UNCLAIMED || isLost) && Atomics.compareExchange(words, RecordWord.claim, found, id) === found;
    const isReady = Atomics.load(words, RecordWord.claim) === CREATED;
    checkSegment(isOurs, this.url, isReady ? 'it has an allocator already' : 'another thread is creating its allocator');
    storeWide(words, RecordWord.claimStart, startTime);
    words[RecordWord.major] = facts.major;
    words[RecordWord.minor] = facts.minor;
    words[RecordWord.nameLength] = facts.type.length;
    new Uint8Array(words.buffer, words.byteOffset + RecordWord.name * 4, MAX_NAME_BYTES).set(Buffer.from(facts.type, 'latin1'));
  }

  /** Lets others use the allocator. */
  complete(): void {
    Atomics.store(this.words, RecordWord.claim, CREATED);
  }

  /** Gives the right back: the allocator could not be created, or is gone. */
  clear(): void {
    storeWide(this.words, RecordWord.claimStart, 0);
    Atomics.store(this.words, RecordWord.claim, UNCLAIMED);
  }

  /** The allocator; undefined when there is none yet. @throws ERR_MEM_BAD_SEGMENT for a record that is not valid */
  read(): AllocatorFacts | undefined {
    const { words } = this;
    if (Atomics.load(words, RecordWord.claim) !== CREATED) return undefined;
    const length = words[RecordWord.nameLength] as number;
    const valid = length > 0 && length <= MAX_NAME_BYTES;
    const type = valid ? Buffer.from(words.buffer, words.byteOffset + RecordWord.name * 4, length).toString('latin1') : '';
    checkSegment(NAME_PATTERN.test(type), this.url, 'its header names no type of allocator');
    return { type, major: words[RecordWord.major] as number, minor: words[RecordWord.minor] as number };
  }

  /** `AllocatorRecord { thread-local 1.0 }`, `AllocatorRecord { none yet }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => {
      const facts = this.read();
      return [facts === undefined ? 'none yet' : `${facts.type} ${allocatorKey(facts)}`];
    });
  }
}
