import { type DevicePtr, KiB } from '../../src/core/units.js';
import { Installed, type ManagerSpec } from './manager-subject.js';
import { median } from './statistics.js';
import { timed } from './thread-time.js';

/** How blocks are sized: all alike, or at random from 32 B to 16 KiB, each power of two as likely as the next. */
export type SizeProgram = 'one size' | 'mixed sizes';

const ONE_SIZE_BYTES = 1 * KiB;
const MIN_EXPONENT = 5;
const EXPONENTS = 9;
const SIZES = 1 << 16;
/** A share of the live blocks is freed and then allocated again, so that free blocks lie everywhere. */
const BATCH_SHARE = 0.1;
/** What is timed at once: reading the clock costs about as much as ten pairs. */
const TIMED_PAIRS = 20_000;
const MIN_PAIRS = 300_000;
const MIN_TIMES = 7;
const WARM_PAIRS = 100_000;

/**
 * Measures what a pair of alloc and free costs while `liveBlocks` are live.
 *
 * @returns ns a pair, the median over batches
 */
export function measureGrowth(spec: ManagerSpec, program: SizeProgram, liveBlocks: number): number {
  const { slot } = new Installed(spec);
  const random = createRandom();
  const sizes = Int32Array.from({ length: SIZES }, () => (program === 'one size' ? ONE_SIZE_BYTES : mixedSize(random)));
  const pointers = new Float64Array(liveBlocks);
  let next = 0;
  const batch = Math.max(1, Math.round(liveBlocks * BATCH_SHARE));
  for (let i = 0; i < liveBlocks; i++) pointers[i] = slot.alloc(sizes[next++ & (SIZES - 1)]!, true);
  const repeats = Math.ceil(TIMED_PAIRS / batch);
  const times: number[] = [];
  for (let pairs = -WARM_PAIRS; pairs < MIN_PAIRS || times.length < MIN_TIMES; pairs += batch * repeats) {
    const elapsed = timed(() => {
      for (let i = 0; i < repeats; i++) replaceBatch();
    });
    if (pairs >= 0) times.push(elapsed / (batch * repeats));
  }
  return median(times);

  function replaceBatch(): void {
    // No block is drawn twice: the stride has no factor in common with a power of ten.
    const stride = Math.floor(random() * liveBlocks) * 10 + 1;
    const first = Math.floor(random() * liveBlocks);
    for (let i = 0, at = first; i < batch; i++, at = (at + stride) % liveBlocks) slot.unlock(pointers[at] as DevicePtr, true);
    for (let i = 0, at = first; i < batch; i++, at = (at + stride) % liveBlocks) {
      pointers[at] = slot.alloc(sizes[next++ & (SIZES - 1)]!, true);
    }
  }
}

function mixedSize(random: () => number): number {
  return Math.floor(2 ** (MIN_EXPONENT + random() * EXPONENTS));
}

/** Numbers from 0 to 1 that are the same in every run. @see Source: Marsaglia, Xorshift RNGs, 2003 */
function createRandom(): () => number {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
