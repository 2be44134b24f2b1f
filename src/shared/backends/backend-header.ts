import { isProcessAlive, type ProcessIdentity, type ProcessSpace } from '../../../adapters/os/process-identity.js';
import { loadWide, storeWide } from '../shared-region.js';

/** All kinds of memory that a region can lie in. A header holds a type as its place here, counted from 1: add new ones at the end. */
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

// The words of the header. All before CHECKSUM are written once, and covered by it.
const MAGIC = 0;
const VERSION_WORD = 2;
const HEADER_SIZE = 3;
const MAPPED_BYTES = 4;
const TYPE = 6;
const ID = 7;
const CREATOR = 8;
const CREATOR_START = 9;
const BOOT = 11;
const NAMESPACE = 12;
const CHECKSUM = 13;
const STATE = 14;
/** The first word of the allocator's record. */
export const ALLOCATOR_RECORD = 16;

/** Writes the header of a new backend, which {@link markReady} completes. */
export function writeHeader(words: Int32Array, facts: BackendFacts): void {
  const values: readonly (readonly [number, number])[] = [
    [MAGIC, MAGIC_LOW],
    [MAGIC + 1, MAGIC_HIGH],
    [VERSION_WORD, VERSION],
    [HEADER_SIZE, HEADER_BYTES],
    [TYPE, BACKEND_TYPES.indexOf(facts.type) + 1],
    [ID, facts.id],
    [CREATOR, facts.creator.id],
    [BOOT, facts.space.boot],
    [NAMESPACE, facts.space.namespace],
  ];
  words.fill(0);
  for (const [word, value] of values) words[word] = value;
  storeWide(words, MAPPED_BYTES, facts.mappedBytes);
  storeWide(words, CREATOR_START, facts.creator.startTime);
  Atomics.store(words, CHECKSUM, checksumOf(words));
}

/** Lets others attach. */
export function markReady(words: Int32Array): void {
  Atomics.store(words, STATE, READY);
}

/**
 * Checks a header, which may be any bytes at all.
 *
 * @param words - at least {@link HEADER_BYTES} of them: a copy, where another process could change them meanwhile
 * @param actualBytes - the size of the memory that it heads
 */
export function readHeader(words: Int32Array, actualBytes: number): HeaderFinding {
  if (words[MAGIC] === 0 && words[MAGIC + 1] === 0 && words[CHECKSUM] === 0) return { kind: 'creating' };
  if (words[MAGIC] !== MAGIC_LOW || words[MAGIC + 1] !== MAGIC_HIGH) return damaged('it is no segment of this library');
  if (words[VERSION_WORD] !== VERSION) return damaged(`it has layout version ${words[VERSION_WORD]}, not ${VERSION}`);
  if (Atomics.load(words, CHECKSUM) !== checksumOf(words)) {
    return words[CHECKSUM] === 0 ? { kind: 'creating' } : damaged('its header is damaged: the checksum differs');
  }
  const type = BACKEND_TYPES[(words[TYPE] as number) - 1];
  if (type === undefined || words[HEADER_SIZE] !== HEADER_BYTES) return damaged('its header has values that do not exist');
  const mappedBytes = loadWide(words, MAPPED_BYTES);
  if (mappedBytes !== actualBytes) return damaged(`it has ${actualBytes} bytes, but its header says ${mappedBytes}`);
  const facts = {
    type,
    id: words[ID] as number,
    mappedBytes,
    creator: { id: words[CREATOR] as number, startTime: loadWide(words, CREATOR_START) },
    space: { boot: words[BOOT] as number, namespace: (words[NAMESPACE] as number) >>> 0 },
  };
  return { kind: Atomics.load(words, STATE) === READY ? 'ready' : 'creating', facts };
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
  for (let i = 0; i < CHECKSUM; i++) hash = Math.imul(hash ^ (words[i] as number), 0x01000193);
  return hash === 0 ? 1 : hash;
}

function damaged(reason: string): HeaderFinding {
  return { kind: 'damaged', reason };
}
