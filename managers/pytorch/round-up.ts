import { alignUp, MiB } from '../../src/core/units.js';
import { MIN_BLOCK_BYTES } from '../policy/segment-sizes.js';

/**
 * The size of the block for a request: a multiple of 512 bytes, or one of so many sizes between two powers of two.
 *
 * @param divisions - for requests below 2 MiB, below 4 MiB and so on; the last for all above
 */
export function roundUpRequest(bytes: number, divisions: readonly number[]): number {
  const interval = Math.floor(Math.log2(bytes / MiB));
  const count = divisions[Math.min(Math.max(interval, 0), divisions.length - 1)] ?? 0;
  if (count <= 1 || bytes <= count * MIN_BLOCK_BYTES) return alignUp(bytes, MIN_BLOCK_BYTES);
  const power = 2 ** Math.floor(Math.log2(bytes));
  return alignUp(bytes, power / count);
}
