import type { TraceWriterFactory } from '../formats/trace-writer.js';
import { type Frame, framesOfSite, programFrames } from '../site-frames.js';
import { HeapProfileWriter } from './heapprofile-writer.js';
import { PprofWriter } from './pprof-writer.js';
import { SpeedscopeWriter } from './speedscope-writer.js';

/**
 * Profiles that other tools open, by the names that `stowage convert --to` knows. They add up the events and cannot be read back. Stacks
 * have the frames of the program: Node's own are left out.
 */
export const PROFILE_WRITERS: ReadonlyMap<string, TraceWriterFactory> = profileWriters(programFrames);

/** The same with Node's own frames. */
export const WHOLE_PROFILE_WRITERS: ReadonlyMap<string, TraceWriterFactory> = profileWriters(framesOfSite);

function profileWriters(framesOf: (site: string) => Frame[]): Map<string, TraceWriterFactory> {
  return new Map<string, TraceWriterFactory>([
    ['pprof', (sink, name) => new PprofWriter(sink, name, framesOf)],
    ['speedscope', (sink, name) => new SpeedscopeWriter(sink, name, framesOf)],
    ['heapprofile', (sink, name) => new HeapProfileWriter(sink, name, framesOf)],
  ]);
}
