export { type ReplayHost, type ReplayOptions, type ReplayResult, type ReplaySwap, replayTrace } from './replay.js';
export type { ReplayWatcher } from './replay-blocks.js';
export { StringTable } from './string-table.js';
export {
  type EventBatch,
  type EventColumns,
  NO_SLOT,
  TRACE_KINDS,
  TraceEvents,
  type TraceFormat,
  TraceKind,
  type TraceOrigin,
  type TraceTotals,
} from './trace-events.js';
export { loadTrace, parseTrace, readTrace } from './trace-reader.js';
