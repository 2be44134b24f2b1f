import type { TraceEvents } from '../trace/trace-events.js';
import type { SizeClass } from './report-data.js';

/** Counts the allocations of a trace by powers of two; classes without any between others are given, too. Cost: O(events). */
export function sizeClasses(trace: TraceEvents): SizeClass[] {
  const counts: number[] = [];
  const bytes: number[] = [];
  for (let event = 0; event < trace.length; event++) {
    if (!trace.isAlloc(event)) continue;
    const size = trace.bytesOf(event);
    // Class 0 is of 0 bytes, class n of 2^(n-1) to below 2^n.
    const place = size === 0 ? 0 : Math.floor(Math.log2(size)) + 1;
    counts[place] = (counts[place] ?? 0) + 1;
    bytes[place] = (bytes[place] ?? 0) + size;
  }
  const classes: SizeClass[] = [];
  const first = counts.findIndex((count) => count !== undefined);
  for (let place = Math.max(first, 0); place < counts.length; place++) {
    classes.push({
      from: place === 0 ? 0 : 2 ** (place - 1),
      to: place === 0 ? 1 : 2 ** place,
      allocations: counts[place] ?? 0,
      bytes: bytes[place] ?? 0,
    });
  }
  return classes;
}
