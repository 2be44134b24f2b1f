import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { KiB, MiB } from '../../src/core/units.js';

/** Pages of pagemap that are read at a time. */
const STEP_ENTRIES = (512 * KiB) / 8;
/** The highest bit of an entry: the page is in memory. @see Source: Documentation/admin-guide/mm/pagemap.rst */
const PRESENT = 2 ** 31;
const MOST_AT_ONCE = 4 * MiB;

/**
 * Looks at this process's own pages through the kernel: which are in memory, and what they hold. An address that another thread
 * has unmapped meanwhile reads as nothing, where a read by pointer would end the process.
 *
 * Linux alone has the files.
 */
export class OwnPages implements Disposable {
  readonly pageBytes = pageBytesOfSystem();
  readonly #memory = openSync('/proc/self/mem', 'r');
  readonly #pages: number;
  readonly #entries = new Uint32Array(2 * STEP_ENTRIES);
  readonly #words = new BigUint64Array(16);

  /** @throws a system error where the files are not to be had */
  constructor() {
    try {
      this.#pages = openSync('/proc/self/pagemap', 'r');
    } catch (error) {
      closeSync(this.#memory);
      throw error;
    }
  }

  /** Counts bytes of a range that lie in pages that are in memory. Cost: some ns a page. */
  residentBytes(start: number, end: number): number {
    let bytes = 0;
    this.forResident(start, end, (from, to) => {
      bytes += to - from;
    });
    return bytes;
  }

  /** Calls for each run of pages that are in memory, cut to the range. */
  forResident(start: number, end: number, run: (from: number, to: number) => void): void {
    const { pageBytes } = this;
    let from = -1;
    const stop = Math.ceil(end / pageBytes);
    for (let page = Math.floor(start / pageBytes); page < stop; ) {
      const wanted = Math.min(STEP_ENTRIES, stop - page);
      const got = Math.floor(readAt(this.#pages, this.#entries, 8 * wanted, 8 * page) / 8);
      for (let i = 0; i < got; i++, page++) {
        const isThere = (this.#entries[2 * i + 1] as number) >= PRESENT;
        if (isThere && from < 0) from = Math.max(start, page * pageBytes);
        if (isThere || from < 0) continue;
        run(from, page * pageBytes);
        from = -1;
      }
      if (got === 0) break;
    }
    if (from >= 0) run(from, end);
  }

  /** Reads words of eight bytes, at most 16. @returns as many as could be read; each beyond 2^53 loses its low bits */
  wordsAt(address: number, count: number): number[] {
    const got = Math.floor(readAt(this.#memory, this.#words, 8 * count, address) / 8);
    return Array.from({ length: got }, (_, i) => Number(this.#words[i]));
  }

  /** Reads memory into an array, at most 4 MiB. @returns how many bytes could be read */
  read(address: number, target: Uint32Array, bytes: number): number {
    return readAt(this.#memory, target, Math.min(bytes, MOST_AT_ONCE, target.byteLength), address);
  }

  [Symbol.dispose](): void {
    closeSync(this.#memory);
    closeSync(this.#pages);
  }
}

function readAt(file: number, target: NodeJS.ArrayBufferView, bytes: number, position: number): number {
  try {
    return readSync(file, target, 0, bytes, position);
  } catch {
    // EIO: nothing is mapped there any more.
    return 0;
  }
}

/** The key of the size of a page among what the kernel hands to a program. @see Source: elf.h */
const AT_PAGESZ = 6n;
const USUAL_PAGE_BYTES = 4096;

function pageBytesOfSystem(): number {
  const facts = readFileSync('/proc/self/auxv');
  for (let at = 0; at + 16 <= facts.length; at += 16) {
    if (facts.readBigUInt64LE(at) === AT_PAGESZ) return Number(facts.readBigUInt64LE(at + 8));
  }
  return USUAL_PAGE_BYTES;
}
