import { basename } from 'node:path';
import { MemoryError } from '../core/errors.js';
import { checkOptionNames } from '../core/option-names.js';
import { EventBuilder } from './event-builder.js';
import { checkFile, FormatFault } from './formats/format-fault.js';
import { type FormatParser, NOTHING } from './formats/format-parser.js';
import { recognise } from './formats/formats.js';
import {
  type AllocatorFacts,
  type EventBatch,
  TraceEvents,
  type TraceFormat,
  type TraceOrigin,
  type TraceTotals,
} from './trace-events.js';
import { READ_OPTIONS, type ReadOptions, readChunks } from './trace-source.js';

// The name is shown on terminals.
const CONTROL = /\p{Cc}/gu;
/** The limit of {@link loadTrace}, at 17 to 69 bytes each. */
const MAX_EVENTS = 100_000_000;

/** The events of one file as a stream, with its origin and its totals so far. */
export class TraceStream implements AsyncIterable<EventBatch> {
  readonly #parser: TraceParser;

  /** @param path - a file of any format, plain or gzipped; a pipe will do */
  constructor(
    path: string,
    protected readonly options: ReadOptions = {},
  ) {
    checkOptionNames('TraceStream', options, READ_OPTIONS);
    this.#parser = new TraceParser(path);
  }

  /** Where the events are from; final at the end of the stream. */
  get origin(): TraceOrigin {
    const { file, name, format, cutOff, allocator } = this.#parser;
    return { file, name, format, cutOff, allocator };
  }

  /** The totals of the events so far. */
  get totals(): TraceTotals {
    return this.#parser.events;
  }

  /**
   * Reads the file once, from its beginning to its end.
   *
   * @throws ERR_MEM_BAD_INPUT with file, place and reason; the events before that place have been given out then
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<EventBatch> {
    for await (const events of parsed(this.#parser, this.options)) if (events.length > 0) yield events.take();
  }
}

/** Parses a file. Yields the collector of the events after each piece. */
async function* parsed(parser: TraceParser, { onProgress }: ReadOptions): AsyncGenerator<EventBuilder> {
  const onCutOff = () => {
    parser.packedCutOff = true;
  };
  for await (const chunk of readChunks(parser.file, { lineNow: () => parser.line, onCutOff, onProgress })) {
    parser.push(chunk);
    yield parser.events;
  }
  parser.end();
  yield parser.events;
}

/**
 * Streams the events of a trace of any format, plain or gzipped.
 * Memory: 4 bytes an allocation number of an `alloctrace`, the live blocks of the other formats, and one batch;
 * a PyTorch snapshot is held as a whole.
 *
 * @throws ERR_MEM_BAD_INPUT with file, place and reason; the events before that place have been given out then
 */
export function readTrace(path: string, options: ReadOptions = {}): AsyncGenerator<EventBatch> {
  return new TraceStream(path, options)[Symbol.asyncIterator]();
}

/**
 * Reads a whole trace of any format into memory, at 17 bytes an event and more where it has addresses, times or names;
 * at most 100 million events.
 *
 * @throws ERR_MEM_BAD_INPUT with file, place and reason
 */
export async function loadTrace(path: string, options: ReadOptions = {}): Promise<TraceEvents> {
  checkOptionNames('loadTrace', options, READ_OPTIONS);
  const parser = new TraceParser(path);
  for await (const { length } of parsed(parser, options)) {
    if (length <= MAX_EVENTS) continue;
    const reason = `there are more than ${MAX_EVENTS} events, too many to hold: readTrace streams them`;
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: Math.max(0, parser.line - 1), reason });
  }
  return new TraceEvents(parser, parser.events.copy(), parser.events);
}

/**
 * Reads a trace that is already in memory, as text or bytes.
 *
 * @param file - the name for messages
 * @throws ERR_MEM_BAD_INPUT with file, place and reason
 */
export function parseTrace(content: string | Uint8Array, file: string): TraceEvents {
  const parser = new TraceParser(file);
  const bytes =
    typeof content === 'string' ? Buffer.from(content) : Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  parser.push(bytes);
  parser.end();
  return new TraceEvents(parser, parser.events.copy(), parser.events);
}

/**
 * Takes the bytes of a trace piece by piece and records its events. Its first bytes tell the format.
 * It throws ERR_MEM_BAD_INPUT with file, place and reason; nothing can be pushed afterwards.
 */
class TraceParser implements TraceOrigin {
  readonly events = new EventBuilder();
  /** Whether the bytes come from gzip data that lacks its end. */
  packedCutOff = false;
  #parser: FormatParser | undefined;
  #head: Buffer = NOTHING;

  /** @param file - the name for messages */
  constructor(readonly file: string) {}

  /** The line that comes next, from 1; 0 in a format without lines. */
  get line(): number {
    return this.#parser?.line ?? 1;
  }

  get name(): string {
    return (this.#parser?.name ?? basename(this.file)).replace(CONTROL, '?');
  }

  /** Known from the first line on. */
  get format(): TraceFormat {
    return this.#parser?.format ?? 'alloctrace';
  }

  get cutOff(): string | undefined {
    const packed = this.line > 0 ? `the gzip data was cut off after line ${this.line - 1}` : 'the gzip data was cut off';
    return this.#parser?.cutOff ?? (this.packedCutOff ? packed : undefined);
  }

  get allocator(): AllocatorFacts | undefined {
    return this.#parser?.allocator;
  }

  /** Reads all that is complete. Cost: O(bytes). @throws ERR_MEM_BAD_INPUT */
  push(chunk: Buffer): void {
    this.#guarded(() => {
      if (this.#parser !== undefined) this.#parser.push(chunk);
      else this.#begin(this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]), false);
    });
  }

  /** Reads what is left. @throws ERR_MEM_BAD_INPUT */
  end(): void {
    this.#guarded(() => {
      if (this.#parser === undefined) {
        checkFile(this.#head.length > 0, 'the file is empty');
        this.#begin(this.#head, true);
      }
      this.#parser?.end();
      // A recording says itself that it is complete; a text without allocations is of another kind.
      if (this.events.allocations === 0 && this.format !== 'stowage') {
        throw new FormatFault('the file ends here, and there are no allocations in it', Math.max(0, this.line - 1));
      }
    });
  }

  #begin(head: Buffer, last: boolean): void {
    this.#head = head;
    this.#parser = recognise(head, last, this.events);
    if (this.#parser === undefined) return;
    this.#head = NOTHING;
    this.#parser.push(head);
  }

  #guarded(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof FormatFault)) throw error;
      throw new MemoryError('ERR_MEM_BAD_INPUT', {
        file: this.file,
        line: error.line || (this.#parser?.line ?? 0),
        reason: this.packedCutOff ? `the gzip data is cut off: ${error.message}` : error.message,
      });
    }
  }
}
