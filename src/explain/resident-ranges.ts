import type { OwnPages } from '../../adapters/os/own-pages.js';
import type { ProcessMapping } from '../../adapters/os/process-mappings.js';

/** What is left of the resident bytes of one mapping. */
interface Rest {
  readonly mapping: ProcessMapping;
  leftBytes: number;
  /** Ranges that have an owner: start and end, one after the other, in the order of addresses. */
  readonly taken: number[];
}

/** Divides resident memory among owners: no byte has two. */
export class ResidentRanges {
  readonly #rests: Rest[];
  readonly #pages: OwnPages;

  /** @param mappings - in the order of addresses */
  constructor(mappings: readonly ProcessMapping[], pages: OwnPages) {
    this.#rests = mappings.map((mapping) => ({ mapping, leftBytes: mapping.residentBytes, taken: [] }));
    this.#pages = pages;
  }

  /** Bytes of a mapping that have no owner yet. */
  leftOf(index: number): number {
    return this.#rests[index]?.leftBytes ?? 0;
  }

  /** Takes what is left of a mapping. */
  takeRest(index: number): number {
    const rest = this.#rests[index] as Rest;
    const bytes = rest.leftBytes;
    rest.leftBytes = 0;
    return bytes;
  }

  /** Takes what is left of a mapping and still there: a collection may have ended some of it since the kernel was asked. */
  takePresent(index: number): number {
    const { mapping, taken } = this.#rests[index] as Rest;
    let present = this.#pages.residentBytes(mapping.start, mapping.end);
    for (let i = 0; i < taken.length; i += 2) present -= this.#pages.residentBytes(taken[i] as number, taken[i + 1] as number);
    return Math.min(this.takeRest(index), Math.max(0, present));
  }

  /** Takes a range of addresses. @returns its resident bytes that had no owner. Cost: O(log n) and a look at each page */
  take(start: number, end: number): number {
    let bytes = 0;
    for (let index = this.#firstBehind(start); ; index++) {
      const rest = this.#rests[index];
      if (rest === undefined || rest.mapping.start >= end) return bytes;
      bytes += this.#takeFrom(rest, Math.max(start, rest.mapping.start), Math.min(end, rest.mapping.end));
    }
  }

  /** The first mapping that ends behind an address. */
  #firstBehind(address: number): number {
    let low = 0;
    let high = this.#rests.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#rests[middle] as Rest).mapping.end <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #takeFrom(rest: Rest, start: number, end: number): number {
    if (rest.leftBytes === 0) return 0;
    const { taken } = rest;
    let bytes = 0;
    let from = start;
    const first = firstEndBehind(taken, start);
    let i = first;
    for (; i < taken.length && (taken[i] as number) < end; i += 2) {
      if ((taken[i] as number) > from) bytes += this.#pages.residentBytes(from, taken[i] as number);
      from = Math.max(from, taken[i + 1] as number);
    }
    if (from < end) bytes += this.#pages.residentBytes(from, end);
    const low = i > first ? Math.min(start, taken[first] as number) : start;
    const high = i > first ? Math.max(end, taken[i - 1] as number) : end;
    taken.splice(first, i - first, low, high);
    const got = Math.min(bytes, rest.leftBytes);
    rest.leftBytes -= got;
    return got;
  }
}

/** The index of the first range that ends behind an address. */
function firstEndBehind(taken: readonly number[], address: number): number {
  let low = 0;
  let high = taken.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((taken[2 * middle + 1] as number) <= address) low = middle + 1;
    else high = middle;
  }
  return 2 * low;
}
