import { AllocTraceWriter } from './formats/alloc-trace-writer.js';
import { CallLogWriter } from './formats/call-log-writer.js';
import { PerfettoWriter } from './formats/perfetto-writer.js';
import { PyTorchWriter } from './formats/pytorch-writer.js';
import { RmmWriter } from './formats/rmm-writer.js';
import { StowageWriter } from './formats/stowage-writer.js';
import type { ByteSink, TraceWriter } from './formats/trace-writer.js';
import { UmpireWriter } from './formats/umpire-writer.js';

/** Makes a writer. @param name - of the recorded program */
export type TraceWriterFactory = (sink: ByteSink, name: string) => TraceWriter;

/** The formats that can be written, by the names that `stowage convert --to` knows. */
export const TRACE_WRITERS: ReadonlyMap<string, TraceWriterFactory> = new Map<string, TraceWriterFactory>([
  ['stowage', (sink, name) => new StowageWriter(sink, name)],
  ['alloctrace', (sink, name) => new AllocTraceWriter(sink, name)],
  ['log', (sink) => new CallLogWriter(sink)],
  ['rmm', (sink) => new RmmWriter(sink)],
  ['umpire', (sink, name) => new UmpireWriter(sink, name)],
  ['pytorch', (sink) => new PyTorchWriter(sink)],
  ['perfetto', (sink, name) => new PerfettoWriter(sink, name)],
]);
