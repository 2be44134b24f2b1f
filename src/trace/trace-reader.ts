import { type EventBatch, TraceEvents } from './trace-events.js';
import { TraceParser } from './trace-parser.js';
import { readChunks } from './trace-source.js';

/**
 * Streams the events of an allocation trace (`#alloctrace v1 <name>`) or of a call log of this library, plain or gzipped.
 * Memory: 4 bytes an allocation number of a trace, the live blocks of a log, and one batch.
 *
 * @throws ERR_MEM_BAD_INPUT with file, line and reason; the events before that line have been given out then
 */
export async function* readTrace(path: string): AsyncGenerator<EventBatch> {
  const parser = new TraceParser(path);
  for await (const chunk of readChunks(path, () => parser.line)) {
    parser.push(chunk);
    if (parser.events.length > 0) yield parser.events.take();
  }
  parser.end();
}

/**
 * Reads a whole trace or call log into memory, at 17 bytes an event and more where it has addresses, times or names.
 *
 * @throws ERR_MEM_BAD_INPUT with file, line and reason
 */
export async function loadTrace(path: string): Promise<TraceEvents> {
  const parser = new TraceParser(path);
  for await (const chunk of readChunks(path, () => parser.line)) parser.push(chunk);
  parser.end();
  return eventsOf(path, parser);
}

/**
 * Reads a trace or call log that is already in memory, as text.
 *
 * @param file - the name for messages
 * @throws ERR_MEM_BAD_INPUT with file, line and reason
 */
export function parseTrace(text: string | Uint8Array, file: string): TraceEvents {
  const parser = new TraceParser(file);
  parser.push(typeof text === 'string' ? Buffer.from(text) : Buffer.from(text.buffer, text.byteOffset, text.byteLength));
  parser.end();
  return eventsOf(file, parser);
}

function eventsOf(file: string, parser: TraceParser): TraceEvents {
  return new TraceEvents({ file, name: parser.name, format: parser.format }, parser.events.copy(), parser.events);
}
