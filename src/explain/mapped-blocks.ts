import type { OwnPages } from '../../adapters/os/own-pages.js';
import type { ProcessMapping } from '../../adapters/os/process-mappings.js';
import { KiB } from '../core/units.js';

/** A block of glibc's heap with a mapping of its own. */
export interface MappedBlock {
  readonly start: number;
  readonly end: number;
  /** Where the block begins for who has it. */
  readonly pointer: number;
}

/** The words of a block's head, and the bit of the second that tells a block with a mapping of its own. @see Source: glibc's malloc.c */
const HEAD_BYTES = 16;
const IS_MAPPED = 2;
const FLAGS = 8;
/** M_MMAP_THRESHOLD is this at first, and never less unless a program sets it. */
const LEAST_BYTES = 64 * KiB;
const MOST_BLOCKS = 1 << 18;

/**
 * Finds blocks of glibc's heap in an anonymous mapping. Neighbours are one mapping for the kernel, so it looks at the head of each
 * block, and behind what is none of them at each resident page.
 */
export function mappedBlocks({ start, end }: ProcessMapping, pages: OwnPages): MappedBlock[] {
  const blocks: MappedBlock[] = [];
  const { pageBytes } = pages;
  let done = start;
  pages.forResident(start, end, (from, to) => {
    for (let at = Math.max(from, done); at < to && blocks.length < MOST_BLOCKS; ) {
      const block = blockAt(at, end, pages);
      if (block !== undefined) blocks.push(block);
      at = block?.end ?? at + pageBytes;
      done = at;
    }
  });
  return blocks;
}

function blockAt(page: number, end: number, pages: OwnPages): MappedBlock | undefined {
  const [before = 0, sizeAndFlags = 0] = pages.wordsAt(page, 2);
  // A block that was asked for at an alignment begins behind bytes that its head counts.
  if (before !== 0 || sizeAndFlags % FLAGS !== IS_MAPPED) return undefined;
  const bytes = sizeAndFlags - IS_MAPPED;
  if (bytes < LEAST_BYTES || bytes % pages.pageBytes !== 0 || page + bytes > end) return undefined;
  return { start: page, end: page + bytes, pointer: page + HEAD_BYTES };
}
