import { MemoryError } from './errors.js';

/** Where log text goes. A Node stream fits, and so does an object with one function. */
export interface LogSink {
  write(chunk: string | Uint8Array): unknown;
}

/** Lines that are buffered before the sink gets them. @see Source: Flashlight, kDefaultLogFlushInterval */
export const DEFAULT_LOG_FLUSH_INTERVAL = 50;

const INITIAL_BUFFER_BYTES = 4096;
const DIGITS_OF_2_POW_53 = 16;
const decoder = new TextDecoder('latin1');
/** Which log wrote a line for each sink last. */
const turns = new WeakMap<LogSink, Turn>();

interface Turn {
  log: CallLog | undefined;
}

/**
 * Logging mode of one manager: one line a call, buffered.
 *
 * A line is the call's name and then each integer, every one of them followed by a blank: `alloc 1024 1 140212345671680 `.
 * Digits are written into a byte buffer, so that logging a call allocates nothing.
 * Logs that share a sink keep the order of their lines: one hands its buffer over before another writes.
 */
export class CallLog {
  /** True when calls are to be logged. Callers on a hot path test it before they call {@link line}. */
  enabled = false;
  readonly #owner: string;
  #sink: LogSink | undefined;
  #turn: Turn | undefined;
  #flushInterval = DEFAULT_LOG_FLUSH_INTERVAL;
  #buffer = new Uint8Array(0);
  #used = 0;
  #lines = 0;

  constructor(owner: string, sink?: LogSink) {
    this.#owner = owner;
    this.#sink = sink;
    this.#turn = turnAt(sink);
    this.enabled = sink !== undefined;
  }

  get sink(): LogSink | undefined {
    return this.#sink;
  }

  /** Changes the sink; the old one gets its lines first. Without a sink logging is off. */
  setSink(sink: LogSink | undefined): void {
    this.flush();
    if (this.#turn?.log === this) this.#turn.log = undefined;
    this.#sink = sink;
    this.#turn = turnAt(sink);
    if (sink === undefined) this.enabled = false;
  }

  /** @throws ERR_MEM_NO_LOG_STREAM when enabled without a sink */
  setEnabled(enabled: boolean): void {
    if (enabled && this.#sink === undefined) throw new MemoryError('ERR_MEM_NO_LOG_STREAM', { manager: this.#owner });
    if (!enabled) this.flush();
    this.enabled = enabled;
  }

  /**
   * Sets after how many lines the sink gets them.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT unless it is an integer above 1
   */
  setFlushInterval(lines: number): void {
    if (!Number.isSafeInteger(lines) || lines <= 1) {
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
        name: 'flush interval',
        value: String(lines),
        expected: 'an integer above 1',
      });
    }
    this.#flushInterval = lines;
    if (this.#lines >= lines) this.flush();
  }

  /** Logs a call with up to three integers when logging is enabled. Cost: O(digits), no garbage. */
  line(name: string, a = Number.NaN, b = Number.NaN, c = Number.NaN): void {
    if (!this.enabled) return;
    this.#begin(name, 3);
    // NaN marks an argument that was not given: `a === a` is false for NaN alone.
    if (a === a) this.#integer(a);
    if (b === b) this.#integer(b);
    if (c === c) this.#integer(c);
    this.#end();
  }

  /** Logs a call with any number of integers when logging is enabled. */
  lineOf(name: string, values: readonly number[]): void {
    if (!this.enabled) return;
    this.#begin(name, values.length);
    for (const value of values) this.#integer(value);
    this.#end();
  }

  /** Gives the buffered lines to the sink. */
  flush(): void {
    if (this.#lines === 0) return;
    const chunk = decoder.decode(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
    this.#lines = 0;
    try {
      this.#sink?.write(chunk);
    } catch (cause) {
      // The call that is being logged has succeeded: a full disk must not turn it into a failure.
      this.enabled = false;
      process.emitWarning(new MemoryError('ERR_MEM_LOG_SINK', { manager: this.#owner }, cause));
    }
  }

  #begin(name: string, values: number): void {
    if (this.#turn?.log !== this) this.#takeTurn();
    const needed = this.#used + name.length + 2 + values * (DIGITS_OF_2_POW_53 + 2);
    if (needed > this.#buffer.length) this.#grow(needed);
    for (let i = 0; i < name.length; i++) this.#buffer[this.#used++] = name.charCodeAt(i);
    this.#buffer[this.#used++] = 0x20;
  }

  #takeTurn(): void {
    if (this.#turn === undefined) return;
    const previous = this.#turn.log;
    this.#turn.log = this;
    previous?.flush();
  }

  #end(): void {
    this.#buffer[this.#used++] = 0x0a;
    if (++this.#lines >= this.#flushInterval) this.flush();
  }

  #integer(value: number): void {
    let rest = Math.trunc(value);
    if (rest < 0) {
      this.#buffer[this.#used++] = 0x2d;
      rest = -rest;
    }
    if (rest > 999_999_999) {
      const high = Math.floor(rest / 1e9);
      this.#digits(high, 0);
      this.#digits(rest - high * 1e9, 9);
    } else {
      this.#digits(rest, 0);
    }
    this.#buffer[this.#used++] = 0x20;
  }

  /** Writes an integer below 10^9 with at least `width` digits. */
  #digits(value: number, width: number): void {
    let rest = value | 0;
    let count = width;
    if (width === 0) {
      count = 1;
      for (let bound = 10; rest >= bound && count < 9; bound *= 10) count++;
    }
    for (let i = this.#used + count - 1; i >= this.#used; i--) {
      const next = (rest / 10) | 0;
      this.#buffer[i] = 0x30 + rest - next * 10;
      rest = next;
    }
    this.#used += count;
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(needed, this.#buffer.length * 2, INITIAL_BUFFER_BYTES));
    larger.set(this.#buffer.subarray(0, this.#used));
    this.#buffer = larger;
  }
}

function turnAt(sink: LogSink | undefined): Turn | undefined {
  if (sink === undefined) return undefined;
  let turn = turns.get(sink);
  if (turn === undefined) {
    turn = { log: undefined };
    turns.set(sink, turn);
  }
  return turn;
}
