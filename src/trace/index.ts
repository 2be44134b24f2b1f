export { type ReplayHost, type ReplayOptions, type ReplayResult, type ReplaySwap, replayTrace } from './replay.js';
export type { ReplayWatcher } from './replay-blocks.js';
export { type EventBatch, type EventColumns, TraceEvents, type TraceFormat, type TraceTotals } from './trace-events.js';
export { loadTrace, parseTrace, readTrace } from './trace-reader.js';
