import { isProcessAlive, type ProcessIdentity, threadIdentity } from '../../../adapters/os/process-identity.js';
import { checkArgument } from '../../core/errors.js';
import { Control, Participant, RECORD_WORDS } from './layout.js';
import type { RegionWords } from './region-words.js';

const SLOT_BITS = 10;
const SLOT_MASK = 2 ** SLOT_BITS - 1;
const GENERATION_MASK = 2 ** 18 - 1;
const WORD = 2 ** 32;
const NO_THREAD = 0n;

/** Who this thread is, and who else still runs. */
export interface ThreadWatch {
  readonly self: ProcessIdentity;
  readonly pid: number;
  isAlive(id: number, startTime: number): boolean;
}

/** Asks the system. */
export function systemWatch(): ThreadWatch {
  return { self: threadIdentity(), pid: process.pid, isAlive: isProcessAlive };
}

/** No more fit into a holder. */
export const MAX_PARTICIPANTS = SLOT_MASK;

/**
 * The threads, of all processes, that use a region. Each has a record in it, in a slot that another thread gets later.
 *
 * A holder names a slot and its generation in 28 bits: it stands in the lock and in the header of every page that is in
 * use, and never stands for two threads. A record names its thread by number and start time, which no other thread ever
 * has again.
 */
export class Participants {
  /** How many there can be. */
  readonly count: number;
  readonly #near: Int32Array;
  readonly #identities: BigInt64Array;

  constructor(
    words: RegionWords,
    readonly watch: ThreadWatch,
  ) {
    this.#near = words.near;
    this.#identities = new BigInt64Array(words.near.buffer, words.near.byteOffset, Math.floor(words.near.length / 2));
    this.count = words.near[Control.participants]!;
  }

  /** The index of a slot's first word. */
  recordOf(slot: number): number {
    return Control.records + slot * RECORD_WORDS;
  }

  /** The slot that a holder names. The holder may be any number of 28 bits; the slot may then be none. */
  slotOf(holder: number): number {
    return (holder & SLOT_MASK) - 1;
  }

  /** The holder that a slot's present generation is; it may have no thread. */
  holderOf(slot: number): number {
    return ((this.#word(slot, Participant.generation) & GENERATION_MASK) << SLOT_BITS) | (slot + 1);
  }

  /** Takes an empty slot for this thread. @returns its holder, or 0 when there is none */
  enter(): number {
    for (let slot = 0; slot < this.count - 1; slot++) {
      if (!this.isTaken(slot) && this.#claim(slot, NO_THREAD)) return this.holderOf(slot);
    }
    return 0;
  }

  /**
   * Takes the last slot, which is kept for a thread that finds no other and gives those of ended threads back. It holds the lock,
   * and never a page.
   *
   * @returns its holder, or 0 when another thread has it
   */
  enterRescue(): number {
    const slot = this.count - 1;
    const found = Atomics.load(this.#identities, this.recordOf(slot) / 2);
    if ((found !== NO_THREAD && this.isSlotAlive(slot)) || !this.#claim(slot, found)) return 0;
    // Its former thread may have died with the lock: the new holder must be another number.
    Atomics.add(this.#near, this.recordOf(slot) + Participant.generation, 1);
    return this.holderOf(slot);
  }

  #claim(slot: number, from: bigint): boolean {
    const { self, pid } = this.watch;
    const identity = BigInt.asIntN(64, (BigInt(Math.floor(self.startTime) % WORD) << 32n) | BigInt(self.id >>> 0));
    const record = this.recordOf(slot);
    if (Atomics.compareExchange(this.#identities, record / 2, from, identity) !== from) return false;
    for (let used = this.used; used <= slot; used = this.used)
      Atomics.compareExchange(this.#near, Control.slotsUsed, used, slot + 1);
    this.#near[record + Participant.threadStartHigh] = Math.floor(self.startTime / WORD);
    this.#near[record + Participant.seenPressure] = this.#near[Control.pressure]!;
    this.#near[record + Participant.processId] = pid;
    return true;
  }

  /** Slots below it may be taken. */
  get used(): number {
    return Math.min(Atomics.load(this.#near, Control.slotsUsed), this.count);
  }

  /** Empties a slot; it can be taken from then on. */
  leave(slot: number): void {
    const record = this.recordOf(slot);
    this.#near[record + Participant.processId] = 0;
    this.#near[record + Participant.freeing] = 0;
    this.#near[record + Participant.closing] = 0;
    Atomics.store(this.#identities, record / 2, NO_THREAD);
  }

  /** Begins the end of a slot's holder: from now on it names no thread. Its record stays taken until {@link leave}. */
  close(slot: number): number {
    const record = this.recordOf(slot);
    const closing = this.#near[record + Participant.closing]!;
    // Broken off between the two stores, the holder is still current: it is closed again.
    if (closing !== 0 && closing !== this.holderOf(slot)) return closing;
    const holder = this.holderOf(slot);
    this.#near[record + Participant.closing] = holder;
    Atomics.add(this.#near, record + Participant.generation, 1);
    return holder;
  }

  isTaken(slot: number): boolean {
    return this.#word(slot, Participant.threadId) !== 0;
  }

  /** The slots that are taken. */
  taken(): number[] {
    return Array.from({ length: this.used }, (_, slot) => slot).filter((slot) => this.isTaken(slot));
  }

  /** Tells whether a holder is that of a slot which is taken. */
  isCurrent(holder: number): boolean {
    const slot = this.slotOf(holder);
    if (slot < 0 || slot >= this.count) return false;
    const generation = Atomics.load(this.#near, this.recordOf(slot) + Participant.generation) & GENERATION_MASK;
    return generation === holder >>> SLOT_BITS && this.isTaken(slot);
  }

  /** Tells whether the thread of a holder still runs, also while its slot is closing. Cost: a file read for another thread's. */
  isAlive(holder: number): boolean {
    const slot = this.slotOf(holder);
    const isClosing = slot >= 0 && slot < this.count && this.#word(slot, Participant.closing) === holder;
    return (this.isCurrent(holder) || isClosing) && this.isSlotAlive(slot);
  }

  /** Tells whether the thread that has taken a slot still runs. Cost: a file read for another thread's. */
  isSlotAlive(slot: number): boolean {
    const id = this.#word(slot, Participant.threadId) >>> 0;
    if (id === 0) return false;
    const start = (this.#word(slot, Participant.threadStart) >>> 0) + this.#word(slot, Participant.threadStartHigh) * WORD;
    const { self } = this.watch;
    return (id === self.id && start === self.startTime) || this.watch.isAlive(id, start);
  }

  /** The process of a slot's thread; the thread itself where it has not said yet; 0 for an empty slot. */
  pidOf(slot: number): number {
    return this.#word(slot, Participant.processId) || this.#word(slot, Participant.threadId);
  }

  /** Throws unless this thread has taken the slot that `tid` names. @throws ERR_MEM_INVALID_ARGUMENT */
  checkOwn(tid: number): void {
    const slot = this.slotOf(tid);
    const { self, pid } = this.watch;
    const isOwn =
      Number.isInteger(tid) &&
      tid > 0 &&
      this.isCurrent(tid) &&
      this.#word(slot, Participant.threadId) >>> 0 === self.id &&
      this.#word(slot, Participant.processId) === pid;
    checkArgument(isOwn, 'the context’s thread id', tid, 'one that createTls gave to this thread');
  }

  #word(slot: number, field: number): number {
    return this.#near[this.recordOf(slot) + field]!;
  }
}
