import type { TraceEvents } from '../trace/trace-events.js';
import type { SizeClass } from './report-data.js';

/** Classes of all sizes below 2^53. */
const CLASSES = 55;

/** Counts allocations by powers of two: class 0 is of 0 bytes, class n of 2^(n-1) to below 2^n. */
export class SizeClasses {
  readonly #allocations = new Float64Array(CLASSES);
  readonly #bytes = new Float64Array(CLASSES);

  /** Counts an allocation. */
  add(bytes: number): void {
    const place = bytes === 0 ? 0 : Math.floor(Math.log2(bytes)) + 1;
    this.#allocations[place]!++;
    this.#bytes[place]! += bytes;
  }

  /** From the first class with an allocation to the last; those without any between them are given, too. */
  list(): SizeClass[] {
    const isUsed = (count: number) => count > 0;
    const end = this.#allocations.findLastIndex(isUsed) + 1;
    return Array.from(this.#allocations.subarray(0, end), (allocations, place) => ({
      from: place === 0 ? 0 : 2 ** (place - 1),
      to: 2 ** place,
      allocations,
      bytes: this.#bytes[place]!,
    })).slice(this.#allocations.findIndex(isUsed));
  }
}

/** Counts the allocations of a trace. Cost: O(events). */
export function sizeClasses(trace: TraceEvents): SizeClass[] {
  const classes = new SizeClasses();
  for (let event = 0; event < trace.length; event++) if (trace.isAlloc(event)) classes.add(trace.bytesOf(event));
  return classes.list();
}
