/** Events that are gathered before they go into the ring. */
export const CHUNK_EVENTS = 512;
/** Of an event: its pointer, negative for a free, and its bytes, negative when they are not known. */
const EVENT_WORDS = 2;
const CHUNK_WORDS = CHUNK_EVENTS * EVENT_WORDS;
const CHUNK_BYTES = CHUNK_WORDS * Float64Array.BYTES_PER_ELEMENT;
/** Where the last event of a chunk is. */
const LAST = CHUNK_WORDS - EVENT_WORDS;
const MOST_LEFT = 2 ** 30;
const FILTER_BITS = 12;
/** The golden ratio as a fraction of 2^32: it scatters what differs in few bits. @see Source: Knuth, TAOCP 6.4 */
const SCATTER = 0x9e3779b1;

/** Who hears of a ring. Calls come from the middle of an allocation or a free: they call no manager and do not throw. */
export interface RingListener {
  /** The allocation `event` used up the bytes to the next sample. @returns the bytes to the next one */
  sample(ptr: number, bytes: number, event: number): number;
  /** `event` freed a pointer that is looked for, or one of the same hash. Told late, when a chunk is full. */
  freed(ptr: number, event: number): void;
  /** A chunk is full. @param left - bytes to the next sample @returns the same, or others */
  turned(nowMs: number, left: number): number;
}

/**
 * The last allocations and frees of a slot, as plain numbers. An event makes no object and takes some nanoseconds: it is written into
 * a chunk that stays in the processor's first cache, and chunks are copied into the ring as a whole. Written into the ring at
 * once, an event waited for its cache line, which took three times as long.
 */
export class EventRing {
  /** How many events it holds at least. */
  readonly capacity: number;
  readonly #ring: Float64Array;
  /** When each chunk was full. */
  readonly #times: Float64Array;
  readonly #chunk = new Float64Array(CHUNK_WORDS);
  /** The same memory as halves of numbers, the low one first: to look at them takes a third of the time. */
  readonly #halves = new Int32Array(this.#chunk.buffer);
  readonly #listener: RingListener;
  /** How many pointers are looked for of each hash. */
  readonly #filter = new Int32Array(2 ** FILTER_BITS);
  #lookedFor = 0;
  readonly #startMs: number;
  /** Words of the chunk that have events. */
  #used = 0;
  /** Up to where the frees of the chunk were looked through. */
  #seen = 0;
  #chunks = 0;
  /** Bytes to the next sample: those of {@link #later} come after these. */
  #left = 0;
  #later: number;

  /**
   * @param bytes - of the ring, rounded down to chunks
   * @param left - bytes to the first sample
   */
  constructor(bytes: number, left: number, listener: RingListener) {
    const chunks = Math.max(2, Math.floor(bytes / CHUNK_BYTES));
    this.capacity = chunks * CHUNK_EVENTS;
    this.#ring = new Float64Array(chunks * CHUNK_WORDS);
    this.#times = new Float64Array(chunks);
    this.#startMs = performance.now();
    this.#listener = listener;
    this.#later = left;
    this.#divide();
  }

  /** The number of the next event, from 0. */
  get next(): number {
    return this.#chunks * CHUNK_EVENTS + this.#used / EVENT_WORDS;
  }

  /** The number of the oldest event that it still has. */
  get first(): number {
    return Math.max(0, this.#chunks * CHUNK_EVENTS - this.capacity);
  }

  /** Adds an allocation. */
  alloc(ptr: number, bytes: number): void {
    const at = this.#used;
    const chunk = this.#chunk;
    chunk[at] = ptr;
    chunk[at + 1] = bytes;
    this.#used = at + EVENT_WORDS;
    const left = this.#left - bytes;
    this.#left = left;
    // One call for all that is rare: V8 inlines so much bytecode, and no more.
    if (left < 0 || at === LAST) this.#afterAlloc(ptr, bytes);
  }

  /** Adds a free. @param ptr - not negated: V8 would make an object of that @param bytes - negative when they are not known */
  free(ptr: number, bytes: number): void {
    const at = this.#used;
    const chunk = this.#chunk;
    chunk[at] = -ptr;
    chunk[at + 1] = bytes;
    this.#used = at + EVENT_WORDS;
    if (at === LAST) this.#turn();
  }

  /** The pointer of an event that it still has, negative for a free. */
  pointerOf(event: number): number {
    return this.#wordOf(event, 0);
  }

  /** The bytes of an event that it still has, negative when they are not known. */
  bytesOf(event: number): number {
    return this.#wordOf(event, 1);
  }

  /** A time before an event that it still has, about when its chunk began, as `performance.now` counts. */
  timeOf(event: number): number {
    const chunk = Math.floor(event / CHUNK_EVENTS);
    if (chunk === 0) return this.#startMs;
    // That of the chunk before the oldest one was overwritten.
    const known = Math.max(chunk - 1, this.#chunks - this.#times.length);
    return this.#times[known % this.#times.length]!;
  }

  /** Has the listener told of the free of a pointer. */
  lookFor(ptr: number): void {
    this.#filter[hashOf(ptr)]!++;
    this.#lookedFor++;
  }

  /** Takes back {@link lookFor}. */
  forget(ptr: number): void {
    this.#filter[hashOf(ptr)]!--;
    this.#lookedFor--;
  }

  /** Tells the listener of all frees so far. */
  lookThrough(): void {
    const halves = this.#halves;
    const filter = this.#filter;
    for (let at = this.#lookedFor === 0 ? this.#used : this.#seen; at < this.#used; at += EVENT_WORDS) {
      const isFree = halves[2 * at + 1]! < 0;
      if (isFree && filter[scattered(halves[2 * at]!)] !== 0) {
        this.#listener.freed(-this.#chunk[at]!, this.#chunks * CHUNK_EVENTS + at / EVENT_WORDS);
      }
    }
    this.#seen = this.#used;
  }

  #wordOf(event: number, word: number): number {
    const at = (event % CHUNK_EVENTS) * EVENT_WORDS + word;
    const chunk = Math.floor(event / CHUNK_EVENTS);
    return chunk === this.#chunks ? this.#chunk[at]! : this.#ring[this.#placeOf(chunk) + at]!;
  }

  /** After an allocation that is the last event of its chunk, or that uses up the bytes to the next sample. */
  #afterAlloc(ptr: number, bytes: number): void {
    if (this.#used === CHUNK_WORDS) this.#turn();
    if (this.#left < 0) this.#reach(ptr, bytes);
  }

  /** The bytes to the next sample are used up, or a part of them that is a small integer. */
  #reach(ptr: number, bytes: number): void {
    this.#later += this.#left;
    if (this.#later < 0) this.#later = this.#listener.sample(ptr, bytes, this.next - 1);
    this.#divide();
  }

  /** Takes a part of the bytes to the next sample that V8 keeps without an object of its own. */
  #divide(): void {
    const left = Math.min(MOST_LEFT, Math.floor(this.#later));
    this.#later -= left;
    this.#left = left;
  }

  #turn(): void {
    const now = performance.now();
    this.lookThrough();
    this.#ring.set(this.#chunk, this.#placeOf(this.#chunks));
    this.#times[this.#chunks % this.#times.length] = now;
    this.#chunks++;
    this.#used = 0;
    this.#seen = 0;
    this.#later = this.#listener.turned(now, this.#later + this.#left);
    this.#divide();
  }

  /** Where the ring has a chunk. */
  #placeOf(chunk: number): number {
    return (chunk % this.#times.length) * CHUNK_WORDS;
  }
}

const one = new Float64Array(1);
const halvesOfOne = new Int32Array(one.buffer);

function hashOf(ptr: number): number {
  one[0] = ptr;
  return scattered(halvesOfOne[0]!);
}

function scattered(half: number): number {
  return Math.imul(half, SCATTER) >>> (32 - FILTER_BITS);
}
