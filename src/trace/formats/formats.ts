import { foreignFile } from '../../core/foreign-file.js';
import type { EventBuilder } from '../event-builder.js';
import type { TraceFormat } from '../trace-events.js';
import { AllocTraceParser, AllocTraceWriter, isAllocTraceHeader } from './alloc-trace.js';
import { CallLogParser, CallLogWriter, isCallLogBeginning } from './call-log.js';
import { FormatFault } from './format-fault.js';
import { type FormatParser, LINE_FEED } from './format-parser.js';
import { isPerfettoHeader, PerfettoParser, PerfettoWriter } from './perfetto.js';
import { PICKLE_MAGIC, PyTorchParser } from './pytorch-parser.js';
import { PyTorchWriter } from './pytorch-writer.js';
import { isRmmHeader, RmmParser, RmmWriter } from './rmm.js';
import { StowageWriter } from './stowage-encoder.js';
import { MAGIC } from './stowage-format.js';
import { StowageParser } from './stowage-parser.js';
import type { ByteSink, TraceWriter, TraceWriterFactory } from './trace-writer.js';
import { isUmpireLine, UmpireParser, UmpireWriter } from './umpire.js';

/** A file format: how a file of it begins, what reads it, and what writes it. */
interface Format {
  /** As `stowage convert --to` knows it. */
  readonly name: string;
  readonly format: TraceFormat;
  readonly parser: new (events: EventBuilder, format: TraceFormat) => FormatParser;
  readonly writer: new (sink: ByteSink, name: string) => TraceWriter;
  /** The first bytes of a binary format. */
  readonly magic?: Uint8Array;
  /** Tells the first line of a format of lines. @param cut - whether the line lacks its end */
  readonly isFirstLine?: (line: string, cut: boolean) => boolean;
}

const FORMATS: readonly Format[] = [
  { name: 'stowage', format: 'stowage', parser: StowageParser, writer: StowageWriter, magic: MAGIC },
  {
    name: 'alloctrace',
    format: 'alloctrace',
    parser: AllocTraceParser,
    writer: AllocTraceWriter,
    isFirstLine: isAllocTraceHeader,
  },
  { name: 'log', format: 'call log', parser: CallLogParser, writer: CallLogWriter, isFirstLine: isCallLogBeginning },
  { name: 'rmm', format: 'rmm', parser: RmmParser, writer: RmmWriter, isFirstLine: isRmmHeader },
  { name: 'umpire', format: 'umpire', parser: UmpireParser, writer: UmpireWriter, isFirstLine: isUmpireLine },
  { name: 'pytorch', format: 'pytorch', parser: PyTorchParser, writer: PyTorchWriter, magic: PICKLE_MAGIC },
  { name: 'perfetto', format: 'perfetto', parser: PerfettoParser, writer: PerfettoWriter, isFirstLine: isPerfettoHeader },
];

/** The formats that can be written, by the names that `stowage convert --to` knows. */
export const TRACE_WRITERS: ReadonlyMap<string, TraceWriterFactory> = new Map(
  FORMATS.map(({ name, writer }) => [name, (sink, program) => new writer(sink, program)]),
);

const MAX_FIRST_LINE_BYTES = 16 * 1024;
const UNKNOWN =
  'its format is not known: it begins like no allocation trace ("#alloctrace v1 <name>"), call log, stowage trace, ' +
  'RMM log, Umpire replay, PyTorch snapshot or Perfetto trace of this library';

/**
 * Tells the format of a file by its first bytes.
 *
 * @param last - whether the file has no more bytes
 * @returns its parser, which has read nothing yet; undefined when more bytes are needed
 * @throws FormatFault for what is none of the formats
 */
export function recognise(head: Buffer, last: boolean, events: EventBuilder): FormatParser | undefined {
  if (head.length === 0) return undefined;
  const binary = FORMATS.find(({ magic }) => magic?.[0] === head[0]);
  const end = head.indexOf(LINE_FEED);
  const isShort = binary?.magic ? head.length < binary.magic.length : end < 0 && head.length <= MAX_FIRST_LINE_BYTES;
  if (isShort && !last) return undefined;
  const line = head.toString('utf8', 0, end < 0 ? head.length : end);
  const format = binary ?? FORMATS.find(({ isFirstLine }) => isFirstLine?.(line, end < 0));
  if (format === undefined || format.magic?.every((byte, i) => i >= head.length || head[i] === byte) === false) {
    throw new FormatFault(foreignFile(head) ?? UNKNOWN, 1);
  }
  return new format.parser(events, format.format);
}
