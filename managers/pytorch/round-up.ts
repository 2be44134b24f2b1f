import { alignUp } from '../../src/core/units.js';
import { MIN_BLOCK_BYTES } from '../policy/segment-sizes.js';

/** The power of two of a MiB: up to there requests share a number of divisions. */
const MIB_POWER = 20;

/**
 * The size of the block for a request: a multiple of 512 bytes, or one of so many sizes between two powers of two.
 *
 * @param divisions - for requests below 2 MiB, below 4 MiB and so on; the last for all above
 */
export function roundUpRequest(bytes: number, divisions: readonly number[]): number {
  if (divisions.length === 0) return alignUp(bytes, MIN_BLOCK_BYTES);
  const power = powerIn(bytes);
  const count = divisions[Math.min(Math.max(power - MIB_POWER, 0), divisions.length - 1)]!;
  if (count <= 1 || bytes <= count * MIN_BLOCK_BYTES) return alignUp(bytes, MIN_BLOCK_BYTES);
  return alignUp(bytes, (power < 31 ? 1 << power : 2 ** power) / count);
}

/** The highest power of two in an integer. `Math.log2` takes longer than an allocation, and rounds up below large powers. */
function powerIn(bytes: number): number {
  const high = Math.floor(bytes / 2 ** 32);
  return high > 0 ? 63 - Math.clz32(high) : 31 - Math.clz32(bytes);
}
