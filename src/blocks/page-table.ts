import type { AddressIndex } from './address-index.js';
import { widened } from './block-table.js';

// A chunk has 2^12 entries, a directory 2^14 chunks, a region therefore 2^26 = 67108864 granules. On the paths that every
// call takes these are written out: V8 inlines short functions only, and a named constant is six bytes of bytecode.
const CHUNK_ENTRIES = 4096;
const DIRECTORY_ENTRIES = 16384;
const REGION_GRANULES = CHUNK_ENTRIES * DIRECTORY_ENTRIES;

/**
 * An address index for blocks that lie densely in large segments: a radix tree over the address in units of a granule.
 * Two blocks never begin in one granule. Lookup: O(1), three array reads.
 *
 * Memory: 4 bytes a granule of the address space in use, by chunks of 4096 granules; empty chunks are used again.
 */
export class PageTable implements AddressIndex {
  // A field that begins as undefined would be read with checks of its type: these two begin as doubles.
  #granulesPerByte = 0.5;
  #regionStart = Number.NaN;
  #directory: Int32Array = new Int32Array(0);
  readonly #regionBytes: number;
  readonly #regions = new Map<number, Int32Array>();
  // Chunk 0 stays empty: directories begin as zeros and so point to it. Entries hold block + 1, 0 is none.
  #entries = new Int32Array(CHUNK_ENTRIES * 2);
  #inUse = new Int32Array(2);
  #chunks = 1;
  #spareChunks: number[] = [];

  /** @param granuleBytes - a power of two, at most the smallest distance of two blocks */
  constructor(granuleBytes: number) {
    this.#granulesPerByte = 1 / granuleBytes;
    this.#regionBytes = granuleBytes * REGION_GRANULES;
  }

  get metadataBytes(): number {
    return this.#entries.byteLength + this.#inUse.byteLength + this.#regions.size * DIRECTORY_ENTRIES * 4;
  }

  get(address: number): number {
    const offset = (address - this.#regionStart) * this.#granulesPerByte;
    if (!(offset >= 0 && offset < 67108864)) return this.#enterRegion(address) ? this.get(address) : -1;
    const chunk = this.#directory[offset >> 12]!;
    return this.#entries[(chunk << 12) | (offset & 4095)]! - 1;
  }

  set(address: number, block: number): void {
    const offset = (address - this.#regionStart) * this.#granulesPerByte;
    if (offset >= 0 && offset < 67108864) {
      const chunk = this.#directory[offset >> 12]!;
      if (chunk !== 0) {
        this.#entries[(chunk << 12) | (offset & 4095)] = block + 1;
        this.#inUse[chunk]!++;
        return;
      }
    }
    this.#addChunk(address);
    this.set(address, block);
  }

  delete(address: number): void {
    const offset = (address - this.#regionStart) * this.#granulesPerByte;
    if (offset >= 0 && offset < 67108864) {
      const chunk = this.#directory[offset >> 12]!;
      this.#entries[(chunk << 12) | (offset & 4095)] = 0;
      if (--this.#inUse[chunk]! === 0) this.#giveChunk(offset >> 12);
    } else if (this.#enterRegion(address)) {
      this.delete(address);
    }
  }

  /** Makes the region of an address the one that the next look-ups begin in. */
  #enterRegion(address: number): boolean {
    const region = Math.floor(address / this.#regionBytes);
    const directory = this.#regions.get(region);
    if (directory === undefined) return false;
    this.#regionStart = region * this.#regionBytes;
    this.#directory = directory;
    return true;
  }

  /** Makes the chunk of an address, if that is what it lacks, and enters its region. */
  #addChunk(address: number): void {
    const region = Math.floor(address / this.#regionBytes);
    if (!this.#regions.has(region)) this.#regions.set(region, new Int32Array(DIRECTORY_ENTRIES));
    this.#enterRegion(address);
    const at = ((address - this.#regionStart) * this.#granulesPerByte) >> 12;
    if (this.#directory[at] === 0) this.#directory[at] = this.#takeChunk();
  }

  #giveChunk(at: number): void {
    this.#spareChunks.push(this.#directory[at]!);
    this.#directory[at] = 0;
  }

  #takeChunk(): number {
    const spare = this.#spareChunks.pop();
    if (spare !== undefined) return spare;
    if (this.#chunks === this.#inUse.length) {
      this.#entries = widened(this.#entries, new Int32Array(this.#entries.length * 2));
      this.#inUse = widened(this.#inUse, new Int32Array(this.#inUse.length * 2));
    }
    return this.#chunks++;
  }
}
