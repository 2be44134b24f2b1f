import { basename } from 'node:path';
import { MemoryError } from '../core/errors.js';
import { EventBuilder } from './event-builder.js';
import { AllocTraceParser } from './formats/alloc-trace-parser.js';
import { CallLogParser, isCallLine } from './formats/call-log-parser.js';
import { quote } from './formats/integer-scanner.js';
import type { LineParser } from './formats/line-parser.js';
import type { TraceFormat } from './trace-events.js';

const LINE_FEED = 0x0a;
const MAX_LINE_BYTES = 4096;
const NEITHER = 'it is neither an allocation trace ("#alloctrace v1 <name>") nor a call log';
const HEADER = /^#alloctrace v1 (\S(?:.*\S)?)$/;
// The name is shown on terminals.
const CONTROL = /\p{Cc}/gu;
const NOTHING = Buffer.alloc(0);

/**
 * Takes the text of a trace or a call log piece by piece and records its events. The first line tells the format.
 * What it throws is ERR_MEM_BAD_INPUT with file, line and reason; nothing can be pushed afterwards.
 */
export class TraceParser {
  readonly events = new EventBuilder();
  readonly #file: string;
  #lines: LineParser | undefined;
  #name: string;
  #line = 1;
  #rest: Buffer = NOTHING;

  /** @param file - the name for messages */
  constructor(file: string) {
    this.#file = file;
    this.#name = basename(file);
  }

  /** The line that comes next, from 1. */
  get line(): number {
    return this.#line;
  }

  /** The recorded program: from the header, or the file's name for a call log. */
  get name(): string {
    return this.#name;
  }

  /** Known from the first line on. */
  get format(): TraceFormat {
    return this.#lines?.format ?? 'alloctrace';
  }

  /** Reads all lines that are complete. Cost: O(bytes). @throws ERR_MEM_BAD_INPUT */
  push(chunk: Buffer): void {
    const text = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const length = text.length;
    let start = 0;
    for (let at = this.#rest.length; at < length; at++) {
      if (text[at] !== LINE_FEED) continue;
      if (this.#lines === undefined) this.#lines = this.#recognise(text.toString('utf8', start, at), text, start, at);
      else this.#parse(this.#lines, text, start, at);
      this.#line++;
      start = at + 1;
    }
    this.#rest = text.subarray(start);
    if (this.#rest.length > MAX_LINE_BYTES)
      this.#fail(this.#lines === undefined ? NEITHER : `the line is longer than ${MAX_LINE_BYTES} bytes`);
  }

  /** Checks that the text is complete. @throws ERR_MEM_BAD_INPUT */
  end(): void {
    if (this.#lines === undefined && this.#rest.length === 0) this.#fail('the file is empty', 0);
    if (this.#rest.length > 0) {
      const first = this.#lines === undefined && !/^(?:#alloctrace v1|[A-Za-z]+ [\d ]*$)/.test(this.#rest.toString('latin1'));
      this.#fail(first ? NEITHER : 'the last line is cut off: it has no line end');
    }
    if (this.events.allocations === 0) this.#fail('there are no allocations in it', 0);
  }

  #parse(lines: LineParser, text: Buffer, start: number, end: number): void {
    const reason = lines.parse(text, start, end, this.#line);
    if (reason !== undefined) this.#fail(reason);
  }

  #recognise(firstLine: string, text: Buffer, start: number, end: number): LineParser {
    const name = HEADER.exec(firstLine)?.[1];
    if (name !== undefined) {
      this.#name = name.replace(CONTROL, '?');
      return new AllocTraceParser(this.events);
    }
    if (firstLine.startsWith('#alloctrace'))
      this.#fail(`${quote(firstLine)} is no header that is known: it reads "#alloctrace v1 <name>"`);
    if (!isCallLine(firstLine)) this.#fail(NEITHER);
    const log = new CallLogParser(this.events);
    this.#parse(log, text, start, end);
    return log;
  }

  #fail(reason: string, line = this.#line): never {
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: this.#file, line, reason });
  }
}
