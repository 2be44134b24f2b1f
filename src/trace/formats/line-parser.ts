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
  /** Checks that the file is complete. @returns why it is not */
  end?(): string | undefined;
}
