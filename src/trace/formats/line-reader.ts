import { FormatFault, type FormatParser } from './format-parser.js';
import type { LineParser } from './line-parser.js';

const LINE_FEED = 0x0a;
const NOTHING = Buffer.alloc(0);
/** The longest line of a format that does not say otherwise. */
const MAX_LINE_BYTES = 4096;

/**
 * Gives a format of lines its lines, with their numbers. A program that was killed leaves a last line without its end, which
 * may have lost digits: the whole lines before it are read, and `cutOff` says so.
 */
export class LineReader implements FormatParser {
  line = 1;
  cutOff: string | undefined;
  readonly #lines: LineParser;
  #rest: Buffer = NOTHING;

  constructor(lines: LineParser) {
    this.#lines = lines;
  }

  get format(): LineParser['format'] {
    return this.#lines.format;
  }

  get name(): string | undefined {
    return this.#lines.name;
  }

  /** Reads all lines that are complete. Cost: O(bytes). */
  push(chunk: Buffer): void {
    const text = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const longest = this.#lines.maxLineBytes ?? MAX_LINE_BYTES;
    let start = 0;
    for (let at = text.indexOf(LINE_FEED, this.#rest.length); at >= 0; at = text.indexOf(LINE_FEED, start)) {
      if (at - start > longest) throw this.#tooLong(longest);
      const reason = this.#lines.parse(text, start, at, this.line);
      if (reason !== undefined) throw new FormatFault(reason, this.line);
      this.line++;
      start = at + 1;
    }
    this.#rest = text.subarray(start);
    if (this.#rest.length > longest) throw this.#tooLong(longest);
  }

  end(): void {
    if (this.#rest.length > 0 && this.line === 1) throw new FormatFault('the first line is cut off: it has no line end', 1);
    if (this.#rest.length > 0 || this.#lines.closed === false) this.cutOff = `the file was cut off after line ${this.line - 1}`;
  }

  #tooLong(longest: number): FormatFault {
    return new FormatFault(`the line is longer than ${longest} bytes`, this.line);
  }
}
