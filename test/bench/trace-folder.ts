import { type Dirent, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { MemoryError } from '../../src/core/errors.js';
import { loadTrace } from '../../src/trace/trace-reader.js';
import { writeEventFile } from './event-file.js';

/** A trace that is ready for contestants. */
export interface PreparedTrace {
  readonly name: string;
  readonly length: number;
  readonly peakLiveBytes: number;
  readonly eventFile: string;
}

const TRACE_FILE = /\.(?:trace|log)(?:\.gz)?$/;

/**
 * Parses every trace and call log of a folder, before anything is measured.
 *
 * @param target - a folder for the event files
 * @throws ERR_MEM_BAD_INPUT when the folder cannot be read or holds no trace, or a trace is bad
 */
export async function prepareTraces(folder: string, target: string): Promise<PreparedTrace[]> {
  const traces: PreparedTrace[] = [];
  for (const file of traceFiles(folder)) {
    const events = await loadTrace(join(folder, file));
    const isTaken = traces.some(({ name }) => name === events.name);
    const eventFile = join(target, `${traces.length}.events`);
    writeEventFile(eventFile, events);
    traces.push({
      name: isTaken ? file : events.name,
      length: events.calls,
      peakLiveBytes: events.peakLiveBytes,
      eventFile,
    });
  }
  return traces;
}

function traceFiles(folder: string): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such folder' : code === 'ENOTDIR' ? 'it is no folder' : message;
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: folder, line: 0, reason }, error);
  }
  const files = entries.filter((entry) => !entry.isDirectory() && TRACE_FILE.test(entry.name)).map(({ name }) => name);
  if (files.length > 0) return files.sort();
  const reason = 'the folder holds no traces (*.trace, *.log, plain or as .gz)';
  throw new MemoryError('ERR_MEM_BAD_INPUT', { file: folder, line: 0, reason });
}
