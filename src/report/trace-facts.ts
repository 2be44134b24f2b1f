import type { TraceEvents } from '../trace/trace-events.js';
import type { Fact } from './report-data.js';

/** What a page says of its trace, in the header. */
export function factsOf(trace: TraceEvents): Fact[] {
  const count = (amount: number) => amount.toLocaleString('en-US');
  return [
    { label: 'file', value: trace.file },
    { label: 'format', value: trace.format },
    { label: 'events', value: count(trace.length) },
    { label: 'allocations', value: count(trace.allocations) },
    { label: 'blocks at once, at most', value: count(trace.peakBlocks) },
  ];
}
