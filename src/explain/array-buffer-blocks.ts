import type { OwnPages } from '../../adapters/os/own-pages.js';
import { GiB, MiB } from '../core/units.js';
import type { MappedBlock } from './mapped-blocks.js';

const WORD = 2 ** 32;
const STEP_BYTES = 4 * MiB;
/** More of V8's heap is not searched: it takes about 4 ms a MiB at worst. */
const MOST_BYTES = GiB;

/**
 * Finds which large blocks of the C library hold the bytes of ArrayBuffers: those to which V8's heap has a pointer with the length in
 * one of the two words before it, as its objects for buffers and arrays have. Cost: reads V8's heap, some ms a MiB.
 *
 * @param heap - where V8's objects lie: start and end of each range
 * @returns the lengths of the buffers, by block
 */
export function arrayBufferBlocks(
  blocks: readonly MappedBlock[],
  heap: readonly (readonly [start: number, end: number])[],
  pages: OwnPages,
): Map<MappedBlock, number> {
  const found = new Map<MappedBlock, number>();
  if (blocks.length === 0) return found;
  const byPointer = new Map(blocks.map((block) => [block.pointer, block]));
  const highs = blocks.map(({ pointer }) => Math.floor(pointer / WORD));
  const least = highs.reduce((a, b) => Math.min(a, b));
  const most = highs.reduce((a, b) => Math.max(a, b));
  const words = new Uint32Array(STEP_BYTES / 4);
  let left = MOST_BYTES;
  const search = (from: number, to: number) => {
    for (let at = from; at < to && left > 0; ) {
      const got = pages.read(at, words, Math.min(STEP_BYTES, to - at, left));
      if (got < 8) return;
      const count = got >> 2;
      for (let i = 4; i + 1 < count; i += 2) {
        const high = words[i + 1] as number;
        if (high < least || high > most) continue;
        const block = byPointer.get(high * WORD + (words[i] as number));
        if (block === undefined) continue;
        const length = lengthBefore(words, i, block);
        if (length > 0) found.set(block, Math.max(length, found.get(block) ?? 0));
      }
      left -= got;
      // The words before a pointer must be there: the next step begins two words earlier.
      at += at + got < to ? got - 16 : got;
    }
  };
  for (const [start, end] of heap) pages.forResident(start, end, search);
  return found;
}

/** The length in one of the two words before a pointer; 0 where neither can be that of a buffer which fills the block. */
function lengthBefore(words: Uint32Array, i: number, { start, end, pointer }: MappedBlock): number {
  const room = end - pointer;
  for (const word of [i - 2, i - 4]) {
    const length = (words[word + 1] as number) * WORD + (words[word] as number);
    if (length > 0 && length <= room && 2 * length >= end - start) return length;
  }
  return 0;
}
