import type { EventBuilder } from '../event-builder.js';
import type { AllocatorFacts, TraceFormat } from '../trace-events.js';
import { checkFile, FormatFault } from './format-fault.js';

export const LINE_FEED = 0x0a;
// Typed, because `Buffer` became generic in later types of Node: an inferred type would name what the older ones lack.
export const NOTHING: Buffer = Buffer.alloc(0);

/** Turns the bytes of one format into events, piece by piece. It throws a {@link FormatFault} for what is wrong. */
export abstract class FormatParser {
  /** The recorded program, where the file names it. */
  name: string | undefined;
  /** Why the events are not all there were; known at the end. */
  cutOff: string | undefined;
  /** What PyTorch's allocator was; known at the end. */
  allocator: AllocatorFacts | undefined;
  /** The line that comes next, from 1; 0 for a format without lines. */
  line = 0;

  constructor(
    protected readonly events: EventBuilder,
    readonly format: TraceFormat,
  ) {}

  abstract push(chunk: Buffer): void;
  /** Reads what is left, and sets `cutOff` when the file was cut off behind whole events. */
  abstract end(): void;
}

/**
 * Reads a format of lines. A program that was killed leaves a last line without its end, which may have lost digits: the
 * whole lines before it are read, and `cutOff` says so.
 */
export abstract class LineReader extends FormatParser {
  override line = 1;
  protected readonly maxLineBytes: number = 4096;
  /** False as long as the line that ends a file of the format is lacking. */
  protected closed = true;
  #rest: Buffer = NOTHING;

  /** Reads the line in `text` from `start` to `end`, its line end left out. @throws FormatFault */
  protected abstract parse(text: Buffer, start: number, end: number, line: number): void;

  /** Reads all lines that are complete. Cost: O(bytes). */
  override push(chunk: Buffer): void {
    const text = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let start = 0;
    for (let at = text.indexOf(LINE_FEED, this.#rest.length); at >= 0; at = text.indexOf(LINE_FEED, start)) {
      this.#checkLength(at - start);
      this.parse(text, start, at, this.line);
      this.line++;
      start = at + 1;
    }
    this.#rest = text.subarray(start);
    this.#checkLength(this.#rest.length);
  }

  override end(): void {
    checkFile(this.#rest.length === 0 || this.line > 1, 'the first line is cut off: it has no line end');
    if (this.#rest.length > 0 || !this.closed) this.cutOff = `the file was cut off after line ${this.line - 1}`;
  }

  #checkLength(bytes: number): void {
    if (bytes > this.maxLineBytes) throw new FormatFault(`the line is longer than ${this.maxLineBytes} bytes`);
  }
}
