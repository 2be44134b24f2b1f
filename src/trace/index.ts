/**
 * Recordings, trace files of other programs, replays, the flight recorder, and what grew between two recordings.
 *
 * @module
 */

export { type Conversion, convertTrace } from './convert-trace.js';
export { type ComparedTrace, diffTraces, type TraceDiff } from './diff/diff-traces.js';
export type { GrownSite } from './diff/find-growth.js';
export { TRACE_WRITERS } from './formats/formats.js';
export type { ByteSink, ColumnName, TraceWriter, TraceWriterFactory } from './formats/trace-writer.js';
export { PROFILE_WRITERS } from './profile/profile-writers.js';
export { type FlightOptions, FlightRecorder, flightOf, recordFlight } from './recording/flight-recorder.js';
export { type RecordOptions, recordTrace, TraceRecorder } from './recording/trace-recorder.js';
export { type ReplayHost, type ReplayOptions, type ReplayResult, type ReplaySwap, replayTrace } from './replay.js';
export type { ReplayWatcher } from './replay-blocks.js';
export { StringTable } from './string-table.js';
export {
  type AllocatorFacts,
  type EarlierBlock,
  type EarlierSegment,
  type EventBatch,
  type EventColumns,
  NO_SLOT,
  type OptionalColumns,
  TRACE_KINDS,
  TraceEvents,
  type TraceFormat,
  TraceKind,
  type TraceOrigin,
  type TraceTotals,
} from './trace-events.js';
export { loadTrace, parseTrace, readTrace, TraceStream } from './trace-reader.js';
export type { ReadOptions } from './trace-source.js';
export { type LiveGroup, summariseTrace, type TraceSummary } from './trace-summary.js';
