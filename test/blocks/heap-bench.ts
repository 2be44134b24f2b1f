import { DeviceHeap } from '../../src/blocks/device-heap.js';
import type { FreeBlocks, FreeBlocksOptions } from '../../src/blocks/free-blocks.js';
import { MemoryStats } from '../../src/core/stats.js';
import { memoryError } from '../core/fakes.js';

/** The heap of a device, and its statistics. */
export class HeapBench {
  readonly heap = new DeviceHeap(0);
  readonly stats = new MemoryStats(this.heap.counters);
  #address = 2 ** 32;

  /** Makes a place for free blocks. */
  free(options: FreeBlocksOptions = {}): FreeBlocks {
    return this.heap.createFreeBlocks(options);
  }

  /** Makes a block that is a segment, at an address where none was, and leaves it out of all bins. */
  segment(bytes: number, home: FreeBlocks): number {
    const block = this.heap.create(this.#address, bytes, home);
    this.#address += bytes + 64;
    this.stats.reserved(bytes);
    return block;
  }

  /** Puts a block that is a segment into free blocks. */
  fill(bytes: number, free: FreeBlocks): number {
    const block = this.segment(bytes, free);
    free.putIn(block);
    return block;
  }

  /** Cuts a segment into blocks of these sizes, in order of address, which are in no bins. */
  cut(sizes: readonly number[], home: FreeBlocks): number[] {
    let rest = this.segment(
      sizes.reduce((sum, bytes) => sum + bytes, 0),
      home,
    );
    return sizes.map((bytes, i) => {
      const block = rest;
      if (i + 1 < sizes.length) rest = this.heap.split(block, bytes);
      return block;
    });
  }

  /** The sizes of blocks. */
  sizes(blocks: readonly number[]): number[] {
    return blocks.map((block) => this.heap.bytesOf(block));
  }
}

/** A heap of device 0, and bins of it. */
export function small() {
  const bench = new HeapBench();
  return { bench, heap: bench.heap, home: bench.free() };
}

/** The error of an invariant that does not hold. */
export function broken(invariant: unknown): Error {
  return memoryError('ERR_MEM_INVARIANT', { invariant });
}
