import type { TraceWriterFactory } from '../formats/trace-writer.js';
import { HeapProfileWriter } from './heapprofile-writer.js';
import { PprofWriter } from './pprof-writer.js';
import { SpeedscopeWriter } from './speedscope-writer.js';

/** Profiles that other tools open, by the names that `stowage convert --to` knows. They add up the events and cannot be read back. */
export const PROFILE_WRITERS: ReadonlyMap<string, TraceWriterFactory> = new Map<string, TraceWriterFactory>([
  ['pprof', (sink, name) => new PprofWriter(sink, name)],
  ['speedscope', (sink, name) => new SpeedscopeWriter(sink, name)],
  ['heapprofile', (sink, name) => new HeapProfileWriter(sink, name)],
]);
