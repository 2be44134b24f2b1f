import { MAX_LIVE } from '../event-builder.js';
import { idsColumn } from '../event-column.js';
import { TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { BlockTracker } from './block-tracker.js';
import { FormatFault, quote } from './format-fault.js';
import { LineReader } from './format-parser.js';
import { IntegerScanner, integerFault } from './integer-scanner.js';
import { LivePointers } from './live-pointers.js';
import { type ColumnName, type EventRows, TextWriter } from './trace-writer.js';

/** A name and integers, each of them followed by one blank. */
const CALL = /^[A-Za-z_$][\w$]* (?:-?\d+ )*$/;
const BLANK = 0x20;
const USER = 1;
const MANAGER = 2;

/** Tells whether a line could be a call log's first. @param cut - whether the line lacks its end */
export function isCallLogBeginning(line: string, cut: boolean): boolean {
  return CALL.test(line) || (cut && /^[A-Za-z]+ [\d ]*$/.test(line));
}

/**
 * Reads a call log of this library. A block lives until both of its locks are clear, as in a manager.
 * Calls that change nothing are no events, nor are those that a subclass logged under its own names.
 */
export class CallLogParser extends LineReader {
  /** The calls that this library logs. */
  static readonly #CALLS = new Map<string, Call>([
    ['initialize', { integers: 0 }],
    ['shutdown', { integers: 0, read: (log) => log.#shutdowns++ }],
    ['alloc', { integers: 3, read: (log, line, bytes, lock, ptr) => log.#alloc(bytes, lockOf(lock), ptr, line) }],
    ['allocated', { integers: 1 }],
    ['nativeAlloc', { integers: 2, read: (log, line, bytes, ptr) => log.#nativeAlloc(bytes, ptr, line) }],
    ['nativeFree', { integers: 1, read: (log, line, ptr) => log.#nativeFree(ptr, line) }],
    ['unlock', { integers: 2, read: (log, line, ptr, lock) => log.#unlock(ptr, lockOf(lock), line) }],
    ['userLock', { integers: 1, read: (log, _line, ptr) => log.#userLock(ptr) }],
    ['userUnlock', { integers: 1, read: (log, line, ptr) => log.#unlock(ptr, USER, line) }],
    ['isUserLocked', { integers: 1 }],
    ['signalMemoryCleanup', { integers: 0, read: (log, line) => log.events.other(TraceKind.cleanup, line) }],
  ]);
  readonly #integers = new IntegerScanner();
  readonly #blocks = new BlockTracker(this.events);
  readonly #segments = new LivePointers();
  readonly #values = new Float64Array(3);
  readonly #locks = idsColumn();
  readonly #shutdownsBefore = idsColumn();
  #shutdowns = 0;

  protected override parse(text: Buffer, start: number, end: number, line: number): void {
    let nameEnd = start;
    while (nameEnd < end && text[nameEnd] !== BLANK) nameEnd++;
    const name = text.toString('latin1', start, nameEnd);
    const call = CallLogParser.#CALLS.get(name);
    if (call !== undefined && this.#scanValues(text, nameEnd + 1, end, call.integers)) {
      call.read?.(this, line, this.#values[0]!, this.#values[1]!, this.#values[2]!);
    } else checkOwnCall(text.toString('latin1', start, end), name, call?.integers);
  }

  /** Reads exactly `count` integers, each followed by one blank, into `#values`. */
  #scanValues(text: Buffer, start: number, end: number, count: number): boolean {
    let at = start;
    for (let i = 0; i < count; i++) {
      const value = this.#integers.scan(text, at, end);
      at = this.#integers.at;
      if (value < 0 || at >= end || text[at] !== BLANK) return false;
      this.#values[i] = value;
      at++;
    }
    return at === end;
  }

  #alloc(bytes: number, lock: number, ptr: number, line: number): void {
    if (ptr === 0 && bytes > 0) {
      this.events.other(TraceKind.outOfMemory, line, bytes);
      return;
    }
    const before = this.#blocks.space.slotOf(ptr);
    // A manager that shuts down under its live blocks takes them along, and its addresses come again.
    if (before !== undefined && this.#shutdownsBefore.get(before) === this.#shutdowns) {
      throw new FormatFault(`pointer ${ptr} is allocated while it is live`);
    }
    const slot = this.#blocks.alloc(ptr, bytes, line);
    this.#locks.set(slot, lock);
    this.#shutdownsBefore.set(slot, this.#shutdowns);
  }

  #unlock(ptr: number, lock: number, line: number): void {
    const slot = this.#slotOf(ptr);
    if (slot !== undefined) this.#locks.set(slot, this.#locks.get(slot) & ~lock);
    if (slot === undefined || this.#locks.get(slot) === 0) this.#blocks.free(ptr, line);
  }

  #userLock(ptr: number): void {
    const slot = this.#slotOf(ptr);
    if (slot !== undefined) this.#locks.set(slot, this.#locks.get(slot) | USER);
  }

  #nativeAlloc(bytes: number, ptr: number, line: number): void {
    if (this.#segments.live === MAX_LIVE) throw new FormatFault(`more than ${MAX_LIVE} segments are live at once`);
    this.#segments.add(ptr, bytes);
    this.events.other(TraceKind.nativeAlloc, line, bytes, ptr);
  }

  /** A segment that was there before the log began has no size, and is passed over. */
  #nativeFree(ptr: number, line: number): void {
    const bytes = this.#segments.slotOf(ptr);
    if (bytes === undefined) return;
    this.#segments.free(ptr);
    this.events.other(TraceKind.nativeFree, line, bytes, ptr);
  }

  /** The slot of a live block; undefined for null, whose blocks have no locks. */
  #slotOf(ptr: number): number | undefined {
    const slot = this.#blocks.space.slotOf(ptr);
    if (slot !== undefined || ptr === 0) return slot;
    throw new FormatFault(`pointer ${ptr} ${this.#blocks.space.wasFreed(ptr) ? 'is already free' : 'heads no live block'}`);
  }
}

/** How a call is read: `read` is given the line and the integers; a call without it changes nothing. */
interface Call {
  readonly integers: number;
  readonly read?: (log: CallLogParser, line: number, first: number, second: number, third: number) => void;
}

/** @param userLock - 0 or 1, as it is logged */
function lockOf(userLock: number): number {
  if (userLock > 1) throw new FormatFault(`the user lock is ${userLock}, not 0 or 1`);
  return userLock === 1 ? USER : MANAGER;
}

/** @throws FormatFault with what is wrong, unless the line is a call under a name of its own */
function checkOwnCall(line: string, name: string, integers: number | undefined): void {
  if (integers === undefined && CALL.test(line)) return;
  const tokens = line.split(' ');
  const values = integers !== undefined && tokens.length === integers + 2 && tokens.at(-1) === '' ? tokens.slice(1, -1) : [];
  const reason = values.map((token) => integerFault(`${name}: the value`, token)).find((fault) => fault !== undefined);
  const expected = integers === undefined ? 'a name and integers' : `${quote(name)} and ${integers} integers`;
  throw new FormatFault(reason ?? `${quote(line)} is no logged call: a line reads ${expected}, each followed by one blank`);
}

/** Writes a call log as the slot does, every block with the user's lock. */
export class CallLogWriter extends TextWriter {
  override readonly columns: readonly ColumnName[] = ['pointers'];
  protected override readonly rows: EventRows<string> = {
    [TraceKind.alloc]: (batch, i) => `alloc ${batch.bytes[i]} 1 ${this.#addresses.take(batch, i)} \n`,
    [TraceKind.free]: (batch, i) => `unlock ${this.#addresses.give(batch, i)} 1 \n`,
    [TraceKind.nativeAlloc]: ({ bytes, pointers }, i) => {
      const pointer = pointers?.[i] ?? 0;
      this.#segments.add(pointer, bytes[i]!);
      return `nativeAlloc ${bytes[i]} ${pointer} \n`;
    },
    [TraceKind.nativeFree]: ({ bytes, pointers }, i) => {
      const pointer = pointers?.[i] ?? 0;
      // A line has no size: what is given back must be what was got.
      if (this.#segments.slotOf(pointer) !== bytes[i]) return this.drop('partial native free');
      this.#segments.free(pointer);
      return `nativeFree ${pointer} \n`;
    },
    [TraceKind.cleanup]: () => 'signalMemoryCleanup \n',
    [TraceKind.outOfMemory]: ({ bytes }, i) => `alloc ${bytes[i]} 1 0 \n`,
  };
  readonly #addresses = new BlockAddresses(false);
  readonly #segments = new LivePointers();
}
