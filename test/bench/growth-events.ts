import { KiB } from '../../src/core/units.js';
import type { BenchEvents } from './event-file.js';
import { createRandom } from './random.js';

/** How blocks are sized: all alike, or at random from 32 B to 16 KiB, each power of two as likely as the next. */
export type SizeProgram = 'one size' | 'mixed sizes';

/** Blocks that are allocated, and then freed and allocated again, a batch at a time. */
export interface GrowthEvents extends BenchEvents {
  /** Events before those that are timed: the first allocations, and batches to warm up. */
  readonly untimed: number;
  /** The timed events fall in so many parts of equal length, each of whole batches. */
  readonly parts: number;
}

const ONE_SIZE_BYTES = 1 * KiB;
const MIN_EXPONENT = 5;
const EXPONENTS = 9;
const SIZES = 1 << 16;
/** A share of the live blocks is freed and then allocated again, so that free blocks lie everywhere. */
const BATCH_SHARE = 0.1;
/** What is timed at once: reading the clock costs about as much as ten pairs. */
const PART_PAIRS = 20_000;
const MIN_PAIRS = 300_000;
const MIN_PARTS = 7;
const WARM_PAIRS = 100_000;

/**
 * Makes the program that growth is measured by. It is the same in every run.
 *
 * @param liveBlocks - how many blocks are live between two batches: a power of ten, from 10 on
 */
export function growthEvents(program: SizeProgram, liveBlocks: number): GrowthEvents {
  const random = createRandom();
  const sizes = Int32Array.from({ length: SIZES }, () => (program === 'one size' ? ONE_SIZE_BYTES : mixedSize(random)));
  const batch = Math.round(liveBlocks * BATCH_SHARE);
  const partBatches = Math.ceil(PART_PAIRS / batch);
  const pairs = batch * partBatches;
  const warmParts = Math.ceil(WARM_PAIRS / pairs);
  const parts = Math.max(MIN_PARTS, Math.ceil(MIN_PAIRS / pairs));
  const untimed = liveBlocks + 2 * pairs * warmParts;
  const length = untimed + 2 * pairs * parts;
  const slots = new Int32Array(length);
  const bytes = new Float64Array(length);
  const held = new Int32Array(liveBlocks);
  let event = 0;
  let allocations = 0;
  let liveBytes = 0;
  let peakLiveBytes = 0;
  for (let slot = 0; slot < liveBlocks; slot++) alloc(slot);
  for (let i = 0; i < (warmParts + parts) * partBatches; i++) replaceBatch();
  return { length, slotCount: liveBlocks, peakLiveBytes, slots, bytes, untimed, parts };

  function replaceBatch(): void {
    // No block is drawn twice: the stride has no factor in common with a power of ten.
    const stride = Math.floor(random() * liveBlocks) * 10 + 1;
    const first = Math.floor(random() * liveBlocks);
    for (let i = 0, slot = first; i < batch; i++, slot = (slot + stride) % liveBlocks) free(slot);
    for (let i = 0, slot = first; i < batch; i++, slot = (slot + stride) % liveBlocks) alloc(slot);
  }

  function alloc(slot: number): void {
    const size = sizes[allocations++ & (SIZES - 1)]!;
    held[slot] = size;
    slots[event] = slot;
    bytes[event++] = size;
    liveBytes += size;
    peakLiveBytes = Math.max(peakLiveBytes, liveBytes);
  }

  function free(slot: number): void {
    slots[event] = ~slot;
    bytes[event++] = held[slot]!;
    liveBytes -= held[slot]!;
  }
}

function mixedSize(random: () => number): number {
  return Math.floor(2 ** (MIN_EXPONENT + random() * EXPONENTS));
}
