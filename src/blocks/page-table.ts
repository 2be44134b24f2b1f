import type { AddressIndex } from './address-index.js';
import { widened } from './block-table.js';

const CHUNK_BITS = 12;
const CHUNK_ENTRIES = 1 << CHUNK_BITS;
const DIRECTORY_BITS = 14;
const DIRECTORY_ENTRIES = 1 << DIRECTORY_BITS;

/**
 * An address index for blocks that lie densely in large segments: a radix tree over the address in units of a granule.
 * Two blocks never begin in one granule. Lookup: O(1), three array reads.
 *
 * Memory: 4 bytes a granule of the address space in use, by chunks of 4096 granules; empty chunks are used again.
 */
export class PageTable implements AddressIndex {
  readonly #granuleBytes: number;
  readonly #regionBytes: number;
  readonly #regions = new Map<number, Int32Array>();
  #region = -1;
  #directory: Int32Array = new Int32Array(0);
  // Chunk 0 stays empty: directories begin as zeros and so point to it. Entries hold block + 1, 0 is none.
  #entries = new Int32Array(CHUNK_ENTRIES * 2);
  #inUse = new Int32Array(2);
  #chunks = 1;
  #spareChunks: number[] = [];

  /** @param granuleBytes - a power of two, at most the smallest distance of two blocks */
  constructor(granuleBytes: number) {
    this.#granuleBytes = granuleBytes;
    this.#regionBytes = granuleBytes * CHUNK_ENTRIES * DIRECTORY_ENTRIES;
  }

  get metadataBytes(): number {
    return this.#entries.byteLength + this.#inUse.byteLength + this.#regions.size * DIRECTORY_ENTRIES * 4;
  }

  get(address: number): number {
    const region = Math.floor(address / this.#regionBytes);
    if (region !== this.#region && !this.#enterRegion(region)) return -1;
    const granule = ((address - region * this.#regionBytes) / this.#granuleBytes) | 0;
    const chunk = this.#directory[granule >> CHUNK_BITS]!;
    return this.#entries[(chunk << CHUNK_BITS) | (granule & (CHUNK_ENTRIES - 1))]! - 1;
  }

  set(address: number, block: number): void {
    const region = Math.floor(address / this.#regionBytes);
    if (region !== this.#region && !this.#enterRegion(region)) this.#addRegion(region);
    const granule = ((address - region * this.#regionBytes) / this.#granuleBytes) | 0;
    let chunk = this.#directory[granule >> CHUNK_BITS]!;
    if (chunk === 0) {
      chunk = this.#takeChunk();
      this.#directory[granule >> CHUNK_BITS] = chunk;
    }
    this.#entries[(chunk << CHUNK_BITS) | (granule & (CHUNK_ENTRIES - 1))] = block + 1;
    this.#inUse[chunk]!++;
  }

  delete(address: number): void {
    const region = Math.floor(address / this.#regionBytes);
    if (region !== this.#region && !this.#enterRegion(region)) return;
    const granule = ((address - region * this.#regionBytes) / this.#granuleBytes) | 0;
    const chunk = this.#directory[granule >> CHUNK_BITS]!;
    this.#entries[(chunk << CHUNK_BITS) | (granule & (CHUNK_ENTRIES - 1))] = 0;
    if (--this.#inUse[chunk]! === 0) {
      this.#directory[granule >> CHUNK_BITS] = 0;
      this.#spareChunks.push(chunk);
    }
  }

  #enterRegion(region: number): boolean {
    const directory = this.#regions.get(region);
    if (directory === undefined) return false;
    this.#region = region;
    this.#directory = directory;
    return true;
  }

  #addRegion(region: number): void {
    this.#region = region;
    this.#directory = new Int32Array(DIRECTORY_ENTRIES);
    this.#regions.set(region, this.#directory);
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
