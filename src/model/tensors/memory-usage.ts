import { formatBytes } from '../../core/units.js';
import type { DType } from '../dtypes.js';

/** What the tensors of one type take. */
export interface DTypeUsage {
  readonly dtype: DType['name'];
  readonly tensors: number;
  readonly bytes: number;
  /** Its part of all bytes, from 0 to 1. */
  readonly share: number;
}

/** What some tensors take, by type. */
export interface MemoryUsage {
  readonly tensors: number;
  readonly bytes: number;
  /** The type with the most bytes first. */
  readonly byDType: readonly DTypeUsage[];
}

/** Adds tensors up by their type. Cost: O(tensors). */
export function analyzeMemoryUsage(tensors: Iterable<{ readonly dtype: DType; readonly bytes: number }>): MemoryUsage {
  const sums = new Map<DType['name'], { tensors: number; bytes: number }>();
  let [count, total] = [0, 0];
  for (const { dtype, bytes } of tensors) {
    const sum = sums.get(dtype.name) ?? { tensors: 0, bytes: 0 };
    sums.set(dtype.name, { tensors: sum.tensors + 1, bytes: sum.bytes + bytes });
    count++;
    total += bytes;
  }
  const byDType = Array.from(sums, ([dtype, sum]) => ({ dtype, ...sum, share: total === 0 ? 0 : sum.bytes / total }));
  return { tensors: count, bytes: total, byDType: byDType.sort((a, b) => b.bytes - a.bytes) };
}

/** Writes usage for people: a line for all, and one for each type. */
export function formatMemoryUsage({ tensors, bytes, byDType }: MemoryUsage): string {
  const lines = byDType.map(
    (one) => `  ${one.dtype}: ${one.tensors} tensors, ${formatBytes(one.bytes)} (${(100 * one.share).toFixed(1)} %)`,
  );
  return [`${tensors} tensors, ${formatBytes(bytes)}`, ...lines].join('\n');
}
