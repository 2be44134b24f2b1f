import { MemoryError } from './errors.js';

/** Where log text goes. A Node stream fits, and so does an object with one function. */
export interface LogSink {
  write(chunk: string | Uint8Array): unknown;
}

/** Lines that are buffered before the sink gets them. @see Source: Flashlight, kDefaultLogFlushInterval */
export const DEFAULT_LOG_FLUSH_INTERVAL = 50;

const INITIAL_BUFFER_BYTES = 4096;
const DIGITS_OF_2_POW_53 = 16;
const BLANK = 0x20;
const LINE_END = 0x0a;
const MINUS = 0x2d;
const ZERO = 0x30;
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
  /** True when calls are to be logged or observed: the one flag that the hot path of a slot tests. */
  watched = false;
  /** Called when the flags may have changed. */
  onChange: (() => void) | undefined = undefined;
  #observed = false;
  readonly #owner: string;
  #sink: LogSink | undefined;
  #turn: Turn | undefined;
  #flushInterval = DEFAULT_LOG_FLUSH_INTERVAL;
  #buffer = Buffer.alloc(0);
  #used = 0;
  #lines = 0;

  constructor(owner: string, sink?: LogSink) {
    this.#owner = owner;
    this.#sink = sink;
    this.#turn = turnAt(sink);
    this.#enable(sink !== undefined);
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
    if (sink === undefined) this.#enable(false);
  }

  /** Says whether somebody observes the slot that the manager sits in. Slots call it. */
  setObserved(observed: boolean): void {
    this.#observed = observed;
    this.#enable(this.enabled);
  }

  /** @throws ERR_MEM_NO_LOG_STREAM when enabled without a sink */
  setEnabled(enabled: boolean): void {
    if (enabled && this.#sink === undefined) throw new MemoryError('ERR_MEM_NO_LOG_STREAM', { manager: this.#owner });
    if (!enabled) this.flush();
    this.#enable(enabled);
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
    let at = this.#begin(name, 3);
    const buffer = this.#buffer;
    // NaN marks an argument that was not given: `a === a` is false for NaN alone.
    if (a === a) at = writeInteger(buffer, at, a);
    if (b === b) at = writeInteger(buffer, at, b);
    if (c === c) at = writeInteger(buffer, at, c);
    this.#end(at);
  }

  /** Logs a call with any number of integers when logging is enabled. */
  lineOf(name: string, values: readonly number[]): void {
    if (!this.enabled) return;
    let at = this.#begin(name, values.length);
    for (const value of values) at = writeInteger(this.#buffer, at, value);
    this.#end(at);
  }

  /** Gives the buffered lines to the sink. */
  flush(): void {
    if (this.#lines === 0) return;
    const chunk = this.#buffer.toString('latin1', 0, this.#used);
    this.#used = 0;
    this.#lines = 0;
    try {
      this.#sink?.write(chunk);
    } catch (cause) {
      // The call that is being logged has succeeded: a full disk must not turn it into a failure.
      this.#enable(false);
      process.emitWarning(new MemoryError('ERR_MEM_LOG_SINK', { manager: this.#owner }, cause));
    }
  }

  #enable(enabled: boolean): void {
    this.enabled = enabled;
    this.watched = enabled || this.#observed;
    this.onChange?.();
  }

  /** Makes room for a line and writes its name. @returns where the integers go */
  #begin(name: string, values: number): number {
    if (this.#turn?.log !== this) this.#takeTurn();
    let at = this.#used;
    const needed = at + name.length + 2 + values * (DIGITS_OF_2_POW_53 + 2);
    if (needed > this.#buffer.length) this.#grow(needed);
    const buffer = this.#buffer;
    for (let i = 0; i < name.length; i++) buffer[at++] = name.charCodeAt(i);
    buffer[at++] = BLANK;
    return at;
  }

  #takeTurn(): void {
    if (this.#turn === undefined) return;
    const previous = this.#turn.log;
    this.#turn.log = this;
    previous?.flush();
  }

  #end(at: number): void {
    this.#buffer[at] = LINE_END;
    this.#used = at + 1;
    if (++this.#lines >= this.#flushInterval) this.flush();
  }

  #grow(needed: number): void {
    const larger = Buffer.alloc(Math.max(needed, this.#buffer.length * 2, INITIAL_BUFFER_BYTES));
    this.#buffer.copy(larger);
    this.#buffer = larger;
  }
}

/** Writes an integer of at most 2^53 and a blank. @returns the place behind them */
function writeInteger(buffer: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = Math.trunc(value);
  if (rest < 0) {
    buffer[at++] = MINUS;
    rest = -rest;
  }
  if (rest > 999_999_999) {
    const high = Math.floor(rest / 1e9);
    at = writeDigits(buffer, at, high | 0, digitsOf(high | 0));
    at = writeDigits(buffer, at, (rest - high * 1e9) | 0, 9);
  } else {
    at = writeDigits(buffer, at, rest | 0, digitsOf(rest | 0));
  }
  buffer[at] = BLANK;
  return at + 1;
}

/** Writes an integer below 10^9 with that many digits. @returns the place behind them */
function writeDigits(buffer: Uint8Array, start: number, value: number, count: number): number {
  let rest = value;
  for (let at = start + count - 1; at >= start; at--) {
    const next = (rest / 10) | 0;
    buffer[at] = ZERO + rest - next * 10;
    rest = next;
  }
  return start + count;
}

function digitsOf(value: number): number {
  let count = 1;
  for (let bound = 10; value >= bound && count < 9; bound *= 10) count++;
  return count;
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
