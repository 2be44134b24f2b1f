import type { TraceFormat } from '../trace-events.js';

/** Turns the lines of one format into events. */
export interface LineParser {
  readonly format: TraceFormat;
  /**
   * Reads the line in `text` from `start` to `end`, its line end left out.
   *
   * @param line - its number, from 1
   * @returns why the line is bad, or undefined when it is not
   */
  parse(text: Buffer, start: number, end: number, line: number): string | undefined;
}
