import type { TraceFormat } from '../trace-events.js';

/** Turns the lines of one format into events. */
export interface LineParser {
  readonly format: TraceFormat;
  /** The recorded program, where the file says it. */
  readonly name?: string | undefined;
  /** The longest line. @defaultValue 4096 */
  readonly maxLineBytes?: number;
  /**
   * Reads the line in `text` from `start` to `end`, its line end left out.
   *
   * @param line - its number, from 1
   * @returns why the line is bad, or undefined when it is not
   */
  parse(text: Buffer, start: number, end: number, line: number): string | undefined;
  /** Whether the line that ends the file was read; undefined for a format that has no such line. */
  readonly closed?: boolean;
}
