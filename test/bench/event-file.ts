import { readFileSync, writeFileSync } from 'node:fs';
import { NO_SLOT } from '../../src/trace/trace-events.js';

/** A trace as the contestants get it: parsed, in columns. */
export interface BenchEvents {
  readonly length: number;
  readonly slotCount: number;
  readonly peakLiveBytes: number;
  /** The slot that an allocation fills, or `~slot` for a free. */
  readonly slots: Int32Array;
  /** The block's size in bytes, for a free as well. */
  readonly bytes: Float64Array;
}

const HEADER_WORDS = 4;
const WORD_BYTES = 8;

/**
 * Writes the allocations and frees of a trace for contestants, which are processes of their own: a header of four 64-bit words (events, slots, peak of
 * live bytes, 0), then the sizes as 64-bit words, then the slots as 32-bit words. In this machine's byte order.
 */
export function writeEventFile(path: string, events: Omit<BenchEvents, 'length'>): void {
  const calls = events.slots.filter((slot) => slot !== NO_SLOT);
  const sizes = events.bytes.filter((_, event) => events.slots[event] !== NO_SLOT);
  const { length } = calls;
  const buffer = new ArrayBuffer((HEADER_WORDS + length) * WORD_BYTES + length * Int32Array.BYTES_PER_ELEMENT);
  const header = new BigUint64Array(buffer, 0, HEADER_WORDS);
  header.set([length, events.slotCount, events.peakLiveBytes, 0].map(BigInt));
  const words = new BigUint64Array(buffer, HEADER_WORDS * WORD_BYTES, length);
  for (let i = 0; i < length; i++) words[i] = BigInt(sizes[i]!);
  new Int32Array(buffer, (HEADER_WORDS + length) * WORD_BYTES, length).set(calls);
  writeFileSync(path, new Uint8Array(buffer));
}

/** Reads what {@link writeEventFile} wrote. */
export function readEventFile(path: string): BenchEvents {
  const file = readFileSync(path);
  const buffer = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
  const [length = 0, slotCount = 0, peakLiveBytes = 0] = Array.from(new BigUint64Array(buffer, 0, HEADER_WORDS), Number);
  return {
    length,
    slotCount,
    peakLiveBytes,
    slots: new Int32Array(buffer, (HEADER_WORDS + length) * WORD_BYTES, length),
    bytes: Float64Array.from(new BigUint64Array(buffer, HEADER_WORDS * WORD_BYTES, length), Number),
  };
}
