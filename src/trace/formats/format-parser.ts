import type { TraceFormat } from '../trace-events.js';

/** Turns the bytes of one format into events, piece by piece. What is wrong it throws as a {@link FormatFault}. */
export interface FormatParser {
  readonly format: TraceFormat;
  /** The recorded program, where the file says it. */
  readonly name?: string | undefined;
  /** Why the events are not all there were, once that is known. */
  readonly cutOff?: string | undefined;
  /** The line that comes next, from 1; 0 for a format without lines. */
  readonly line: number;
  push(chunk: Buffer): void;
  /** Reads what is left, and says in `cutOff` when the file was cut off behind whole events. */
  end(): void;
}
