import { checkRange, MemoryError } from '../../src/core/errors.js';
import { alignUp, type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import type { DeviceCapacity } from './device-capacity.js';

const FREED = -1;
const FIRST_RECORDS = 16;
/** From so many records on, those of freed segments are dropped before there are more. */
const SLACK = 1024;

/**
 * A part of a simulated address space. Segments lie one after the other and no address is used twice,
 * so that the columns are in order of address by themselves.
 */
export class SimulatedSpace {
  #next: number;
  #bases = new Float64Array(FIRST_RECORDS);
  // The bytes of a segment, or FREED.
  #sizes = new Float64Array(FIRST_RECORDS);
  #count = 0;
  /** How many segments are live. */
  live = 0;

  /** @param end - the first address behind this part */
  constructor(
    readonly start: number,
    readonly end: number,
    readonly capacity: DeviceCapacity,
  ) {
    this.#next = start;
  }

  /** Tells whether an address is in this part. */
  has(address: number): boolean {
    return address >= this.start && address < this.end;
  }

  /** Takes the next addresses. Cost: O(1) amortised. @returns 0 when the part is used up, or above the capacity */
  take(bytes: number, alignment: number): DevicePtr {
    const base = alignment > 1 ? alignUp(this.#next, alignment) : this.#next;
    if (bytes > this.end - base || !this.capacity.admits(bytes)) return NULL_PTR;
    if (this.#count === this.#bases.length) this.#makeRoom();
    this.#bases[this.#count] = base;
    this.#sizes[this.#count] = bytes;
    this.#count++;
    this.live++;
    this.capacity.take(bytes);
    this.#next = base + bytes;
    return base as DevicePtr;
  }

  /**
   * The bytes of the live segment that `ptr` heads. Cost: O(log n).
   *
   * @throws ERR_MEM_DOUBLE_FREE when what was there is free, ERR_MEM_UNKNOWN_POINTER when nothing began there
   */
  sizeOf(ptr: number): number {
    return this.#sizes[this.#headed(ptr)] as number;
  }

  /** Frees the segment that `ptr` heads. Cost: O(log n). @throws as {@link sizeOf} */
  free(ptr: number): void {
    const index = this.#headed(ptr);
    this.capacity.give(this.#sizes[index] as number);
    this.#sizes[index] = FREED;
    this.live--;
  }

  /**
   * The base of the live segment that holds these bytes. Cost: O(log n).
   *
   * @throws ERR_MEM_UNKNOWN_POINTER when `ptr` is in none, ERR_MEM_OUT_OF_RANGE when the bytes leave it
   */
  locate(ptr: number, bytes: number): number {
    const index = this.#find(ptr);
    if (!this.#isInside(index, ptr)) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    const base = this.#bases[index] as number;
    checkRange(ptr - base, bytes, this.#sizes[index] as number);
    return base;
  }

  #headed(ptr: number): number {
    const index = this.#find(ptr);
    if (index >= 0 && this.#bases[index] === ptr && this.#sizes[index] !== FREED) return index;
    // Records of freed segments are dropped in time: of an address that was handed out and is in no live segment, this
    // is all that is known.
    const code =
      ptr >= this.start && ptr < this.#next && !this.#isInside(index, ptr) ? 'ERR_MEM_DOUBLE_FREE' : 'ERR_MEM_UNKNOWN_POINTER';
    throw new MemoryError(code, { pointer: ptr });
  }

  /** The last record whose base is not above `address`, or -1. */
  #find(address: number): number {
    const bases = this.#bases;
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((bases[middle] as number) <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #isInside(index: number, ptr: number): boolean {
    return index >= 0 && ptr < (this.#bases[index] as number) + (this.#sizes[index] as number);
  }

  /** Drops the records of freed segments where there are many, and doubles the columns unless that has emptied half of them. */
  #makeRoom(): void {
    const drops = this.#count >= SLACK;
    const length = !drops || this.live * 2 > this.#count ? this.#bases.length * 2 : this.#bases.length;
    const bases = new Float64Array(length);
    const sizes = new Float64Array(length);
    let kept = 0;
    for (let i = 0; i < this.#count; i++) {
      const bytes = this.#sizes[i] as number;
      if (drops && bytes === FREED) continue;
      bases[kept] = this.#bases[i] as number;
      sizes[kept] = bytes;
      kept++;
    }
    this.#bases = bases;
    this.#sizes = sizes;
    this.#count = kept;
  }
}
