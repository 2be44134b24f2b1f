import { isProcessAlive, threadIdentity } from '../../../adapters/os/process-identity.js';
import { checkArgument } from '../../core/errors.js';
import { loadWide, storeWide } from '../shared-region.js';
import { checkSegment } from './backend-errors.js';
import { ALLOCATOR_RECORD } from './backend-header.js';

/** Which allocator manages a backend's region. */
export interface AllocatorFacts {
  /** Its name in the table of allocator types. */
  readonly type: string;
  readonly major: number;
  readonly minor: number;
}

// What Word.claim holds: no allocator, the thread that is creating one (a positive number), or one that can be used.
const NONE = 0;
const READY = -1;

/** The words of the record. */
const Word = {
  claim: ALLOCATOR_RECORD,
  claimStart: ALLOCATOR_RECORD + 1,
  major: ALLOCATOR_RECORD + 3,
  minor: ALLOCATOR_RECORD + 4,
  nameLength: ALLOCATOR_RECORD + 5,
  name: ALLOCATOR_RECORD + 6,
} as const;
const MAX_NAME_BYTES = 64;
const NAME_PATTERN = /^[a-z][a-z0-9-]*$/;

/** The place in a backend's header that says which allocator manages its region. Threads and processes race for it. */
export class AllocatorRecord {
  readonly #words: Int32Array;
  readonly #url: string;

  /** @param words - of the header, or of a copy, which can only be read */
  constructor(words: Int32Array, url: string) {
    this.#words = words;
    this.#url = url;
  }

  /**
   * Takes the right to create the allocator. One thread gets it; it goes over when that thread ends before
   * {@link complete}.
   *
   * @throws ERR_MEM_BAD_SEGMENT when there is one, or another thread is creating one
   */
  claim(facts: AllocatorFacts): void {
    const isName = facts.type.length <= MAX_NAME_BYTES && NAME_PATTERN.test(facts.type);
    checkArgument(isName, 'the allocator type', JSON.stringify(facts.type), `at most ${MAX_NAME_BYTES} of a-z, 0-9 and -`);
    const words = this.#words;
    const { id, startTime } = threadIdentity();
    const found = Atomics.load(words, Word.claim);
    const isLost = found !== NONE && found !== READY && !isProcessAlive(found, loadWide(words, Word.claimStart));
    // The start time of the lost thread must not be taken for the next one's, who would look dead.
    if (isLost) storeWide(words, Word.claimStart, 0);
    const isOurs = (found === NONE || isLost) && Atomics.compareExchange(words, Word.claim, found, id) === found;
    const isReady = Atomics.load(words, Word.claim) === READY;
    checkSegment(isOurs, this.#url, isReady ? 'it has an allocator already' : 'another thread is creating its allocator');
    storeWide(words, Word.claimStart, startTime);
    words[Word.major] = facts.major;
    words[Word.minor] = facts.minor;
    words[Word.nameLength] = facts.type.length;
    new Uint8Array(words.buffer, words.byteOffset + Word.name * 4, MAX_NAME_BYTES).set(Buffer.from(facts.type, 'latin1'));
  }

  /** Lets others use the allocator. */
  complete(): void {
    Atomics.store(this.#words, Word.claim, READY);
  }

  /** Gives the right back: the allocator could not be created, or is gone. */
  clear(): void {
    storeWide(this.#words, Word.claimStart, 0);
    Atomics.store(this.#words, Word.claim, NONE);
  }

  /** The allocator; undefined when there is none yet. @throws ERR_MEM_BAD_SEGMENT for a record that makes no sense */
  read(): AllocatorFacts | undefined {
    const words = this.#words;
    if (Atomics.load(words, Word.claim) !== READY) return undefined;
    const length = words[Word.nameLength] as number;
    const valid = length > 0 && length <= MAX_NAME_BYTES;
    const type = valid ? Buffer.from(words.buffer, words.byteOffset + Word.name * 4, length).toString('latin1') : '';
    checkSegment(NAME_PATTERN.test(type), this.#url, 'its header names no type of allocator');
    return { type, major: words[Word.major] as number, minor: words[Word.minor] as number };
  }
}
