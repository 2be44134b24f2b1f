import { warn } from './attempt.js';
import { lineBytes, SHORT_LINE_BYTES, writeAlloc, writeInteger, writeLineEnd, writeName, writeUnlock } from './call-lines.js';
import { checkSink } from './check-given.js';
import { MemoryError } from './errors.js';

/** Where log text goes. A Node stream fits, and so does an object with one function. */
export interface LogSink {
  /**
   * Takes text, which it may keep. Call logs and reports write strings. What it answers is not looked at, because a log must lose
   * no line and cannot wait: a Node stream that is slower than the program keeps the text in memory without bound.
   */
  write(chunk: string | Uint8Array): unknown;
  /**
   * Takes some lines as the first `length` of `bytes`, which are overwritten once this returns: a sink that is done with them
   * by then makes no garbage. Call logs call it instead of {@link write} where a sink has it.
   */
  writeBytes?(bytes: Uint8Array, length: number): unknown;
}

/** Lines that are buffered before the sink gets them. @see Source: Flashlight, kDefaultLogFlushInterval */
export const DEFAULT_LOG_FLUSH_INTERVAL = 50;

const INITIAL_BUFFER_BYTES = 4096;
const NO_BYTES = Buffer.alloc(0);
const NO_VIEW = viewOf(NO_BYTES);
/** Which log wrote a line for each sink last. */
const turns = new WeakMap<LogSink, Turn>();

interface Turn {
  log: CallLog | undefined;
}

/**
 * Logging mode of one manager: one line a call, buffered.
 *
 * A line is the call's name and then each integer, every one of them followed by a blank: `alloc 1024 1 140212345671680 `.
 * Lines are written into a byte buffer, so that logging a call allocates nothing; handing lines over makes the text that the sink
 * keeps, or nothing at all for a sink with {@link LogSink.writeBytes}.
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
  #buffer = NO_BYTES;
  #view = NO_VIEW;
  /** Where the buffer ends; 0 while another log has the turn, so that one comparison tells whether a line may be written. */
  #end = 0;
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
    const turn = turnAt(sink);
    this.flush();
    if (this.#turn?.log === this) this.#turn.log = undefined;
    this.#end = 0;
    this.#sink = sink;
    this.#turn = turn;
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

  /** Logs `alloc bytes userLock ptr`, as {@link line} does, but faster. Only to be called while logging is enabled. */
  alloc(bytes: number, userLock: boolean, ptr: number): void {
    const at = this.#placeOf(SHORT_LINE_BYTES);
    this.#add(writeAlloc(this.#view, at, bytes, userLock, ptr));
  }

  /** Logs `unlock ptr userUnlock`, as {@link line} does, but faster. Only to be called while logging is enabled. */
  unlock(ptr: number, userUnlock: boolean): void {
    const at = this.#placeOf(SHORT_LINE_BYTES);
    this.#add(writeUnlock(this.#view, at, ptr, userUnlock));
  }

  /** Logs a call with up to three integers when logging is enabled. Cost: O(digits), no garbage. */
  line(name: string, a = Number.NaN, b = Number.NaN, c = Number.NaN): void {
    if (!this.enabled) return;
    const start = this.#placeOf(lineBytes(name, 3));
    const view = this.#view;
    let at = writeName(view, start, name);
    // NaN marks an argument that was not given: `a === a` is false for NaN alone.
    if (a === a) at = writeInteger(view, at, a);
    if (b === b) at = writeInteger(view, at, b);
    if (c === c) at = writeInteger(view, at, c);
    this.#add(writeLineEnd(view, at));
  }

  /** Logs a call with any number of integers when logging is enabled. */
  lineOf(name: string, values: readonly number[]): void {
    if (!this.enabled) return;
    const start = this.#placeOf(lineBytes(name, values.length));
    let at = writeName(this.#view, start, name);
    for (const value of values) at = writeInteger(this.#view, at, value);
    this.#add(writeLineEnd(this.#view, at));
  }

  /** Gives the buffered lines to the sink. */
  flush(): void {
    if (this.#lines === 0) return;
    const bytes = this.#used;
    this.#used = 0;
    this.#lines = 0;
    try {
      const sink = this.#sink;
      if (sink?.writeBytes === undefined) sink?.write(this.#buffer.toString('utf8', 0, bytes));
      else this.#lend(sink, bytes);
    } catch (cause) {
      // The call that is being logged has succeeded: a full disk must not turn it into a failure.
      this.#enable(false);
      warn(new MemoryError('ERR_MEM_LOG_SINK', { manager: this.#owner }, cause));
    }
  }

  /** Lets the sink read the buffer. Lines that it causes meanwhile go into another one. */
  #lend(sink: LogSink, bytes: number): void {
    const buffer = this.#buffer;
    const view = this.#view;
    this.#use(NO_BYTES, NO_VIEW);
    try {
      sink.writeBytes?.(buffer, bytes);
    } finally {
      if (this.#buffer === NO_BYTES) this.#use(buffer, view);
    }
  }

  #enable(enabled: boolean): void {
    this.enabled = enabled;
    this.watched = enabled || this.#observed;
    this.onChange?.();
  }

  /** Makes room for a line of that many bytes. @returns where it goes */
  #placeOf(bytes: number): number {
    if (this.#used + bytes > this.#end) this.#makeRoom(bytes);
    return this.#used;
  }

  #makeRoom(bytes: number): void {
    if (this.#turn?.log !== this) this.#takeTurn();
    const needed = this.#used + bytes;
    if (needed > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(needed, this.#buffer.length * 2, INITIAL_BUFFER_BYTES));
      this.#buffer.copy(larger, 0, 0, this.#used);
      this.#use(larger, viewOf(larger));
    } else {
      this.#use(this.#buffer, this.#view);
    }
  }

  #use(buffer: Buffer<ArrayBuffer>, view: DataView): void {
    this.#buffer = buffer;
    this.#view = view;
    this.#end = this.#turn?.log === this ? buffer.length : 0;
  }

  #takeTurn(): void {
    if (this.#turn === undefined) return;
    const previous = this.#turn.log;
    this.#turn.log = this;
    if (previous === undefined) return;
    previous.#end = 0;
    previous.flush();
  }

  #add(end: number): void {
    this.#used = end;
    if (++this.#lines >= this.#flushInterval) this.flush();
  }
}

function viewOf(buffer: Buffer<ArrayBuffer>): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}

function turnAt(sink: LogSink | undefined): Turn | undefined {
  if (sink === undefined) return undefined;
  checkSink('logStream', sink);
  let turn = turns.get(sink);
  if (turn === undefined) {
    turn = { log: undefined };
    turns.set(sink, turn);
  }
  return turn;
}
