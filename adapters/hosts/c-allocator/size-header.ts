import { MemoryError } from '../../../src/core/errors.js';
import { readWords, writeWords } from '../../os/bytes.js';

/** Bytes before each C block: as many as its alignment, so that what follows is aligned, too. */
export const HEADER_BYTES = 16;

const WORD = 2 ** 32;
/** "STOW". */
const MARK = 0x574f5453;

// An array instead of a view: a viewed segment of the device would never go back to the C library.
const words = new Uint32Array(HEADER_BYTES / Uint32Array.BYTES_PER_ELEMENT);

/** Writes the requested size of a block: a 64-bit integer, its low word inverted, and a mark. Cost: one native call. */
export function writeHeader(base: number, bytes: number): void {
  words[0] = bytes;
  words[1] = bytes / WORD;
  words[2] = ~bytes;
  words[3] = MARK;
  writeWords(base, words, HEADER_BYTES);
}

/**
 * Reads the requested size of a live block. Cost: one native call.
 *
 * @param capacity - bytes behind the header, for the error
 * @throws ERR_MEM_CORRUPTED when something wrote over the header: this block's user before its start, or another's behind its end
 */
export function readHeader(base: number, capacity: number): number {
  readWords(words, base, HEADER_BYTES);
  const [low = 0, high = 0, inverted = 0, mark = 0] = words;
  const size = high * WORD + low;
  if (mark === MARK && inverted === ~low >>> 0 && size <= capacity) return size;
  throw new MemoryError('ERR_MEM_CORRUPTED', {
    pointer: base + HEADER_BYTES,
    bytes: capacity,
    side: 'before',
    offsetBytes: -HEADER_BYTES,
    damagedBytes: HEADER_BYTES,
  });
}
