import { foreignFile } from '../../core/foreign-file.js';
import type { EventBuilder } from '../event-builder.js';
import { AllocTraceParser, isAllocTraceHeader } from './alloc-trace-parser.js';
import { CallLogParser, isCallLine } from './call-log-parser.js';
import { FormatFault } from './format-fault.js';
import type { FormatParser } from './format-parser.js';
import type { LineReader } from './line-reader.js';
import { isPerfettoHeader, PerfettoParser } from './perfetto-parser.js';
import { PICKLE_MARK, PyTorchParser } from './pytorch-parser.js';
import { isRmmHeader, RmmParser } from './rmm-parser.js';
import { MAGIC } from './stowage-format.js';
import { StowageParser } from './stowage-parser.js';
import { isUmpireLine, UmpireParser } from './umpire-parser.js';

const LINE_FEED = 0x0a;
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
  if (head[0] === PICKLE_MARK) return new PyTorchParser(events);
  if (head[0] === MAGIC[0]) {
    if (head.length < MAGIC.length && !last) return undefined;
    if (MAGIC.every((byte, i) => i >= head.length || head[i] === byte)) return new StowageParser(events);
    throw unknown(head);
  }
  const end = head.indexOf(LINE_FEED);
  if (end < 0 && head.length <= MAX_FIRST_LINE_BYTES && !last) return undefined;
  const parser = lineReaderFor(head.toString('utf8', 0, end < 0 ? head.length : end), end < 0, events);
  if (parser === undefined) throw unknown(head);
  return parser;
}

function unknown(head: Buffer): FormatFault {
  return new FormatFault(foreignFile(head) ?? UNKNOWN, 1);
}

/** @param cut - whether the line lacks its end */
function lineReaderFor(line: string, cut: boolean, events: EventBuilder): LineReader | undefined {
  if (isAllocTraceHeader(line)) return new AllocTraceParser(events);
  if (isRmmHeader(line)) return new RmmParser(events);
  if (isPerfettoHeader(line)) return new PerfettoParser(events);
  if (isUmpireLine(line)) return new UmpireParser(events);
  if (isCallLine(line) || (cut && /^[A-Za-z]+ [\d ]*$/.test(line))) return new CallLogParser(events);
  return undefined;
}
