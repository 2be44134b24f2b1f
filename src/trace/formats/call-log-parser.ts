import { type EventBuilder, MAX_LIVE } from '../event-builder.js';
import { TraceKind } from '../trace-events.js';
import { IntegerScanner, integerFault, quote } from './integer-scanner.js';
import type { LineParser } from './line-parser.js';
import { LivePointers } from './live-pointers.js';

/** How many integers follow the name of each call that this library logs. */
const INTEGERS_OF_CALL = new Map([
  ['initialize', 0],
  ['shutdown', 0],
  ['alloc', 3],
  ['allocated', 1],
  ['nativeAlloc', 2],
  ['nativeFree', 1],
  ['unlock', 2],
  ['userLock', 1],
  ['userUnlock', 1],
  ['isUserLocked', 1],
  ['signalMemoryCleanup', 0],
]);
/** A name and integers, each of them followed by one blank. */
const CALL = /^[A-Za-z_$][\w$]* (?:-?\d+ )*$/;
const BLANK = 0x20;
const USER = 1;
const MANAGER = 2;

/** Tells whether a line could stand in a call log. */
export function isCallLine(line: string): boolean {
  return CALL.test(line);
}

/**
 * Reads a call log of this library. A block lives until both of its locks are clear, as in a manager.
 * Calls that change nothing, and those that a subclass logged under names of its own, are no events.
 */
export class CallLogParser implements LineParser {
  readonly format = 'call log';
  readonly #events: EventBuilder;
  readonly #integers = new IntegerScanner();
  readonly #pointers = new LivePointers();
  readonly #segments = new LivePointers();
  readonly #values = new Float64Array(3);
  /** Live blocks of 0 bytes: they share the null pointer, and one is as good as another. */
  readonly #emptySlots: number[] = [];
  #locks = new Uint8Array(1024);
  #shutdownsBefore = new Uint32Array(1024);
  #shutdowns = 0;

  constructor(events: EventBuilder) {
    this.#events = events;
  }

  parse(text: Buffer, start: number, end: number, line: number): string | undefined {
    let nameEnd = start;
    while (nameEnd < end && text[nameEnd] !== BLANK) nameEnd++;
    const name = text.toString('latin1', start, nameEnd);
    const integers = INTEGERS_OF_CALL.get(name);
    if (integers === undefined || !this.#scanValues(text, nameEnd + 1, end, integers)) {
      return fault(text.toString('latin1', start, end), name, integers);
    }
    const [first = 0, second = 0, third = 0] = this.#values;
    switch (name) {
      case 'alloc':
        return this.#alloc(first, second, third, line);
      case 'unlock':
        return second > 1 ? `the user lock is ${second}, not 0 or 1` : this.#unlock(first, second === 1 ? USER : MANAGER, line);
      case 'userUnlock':
        return this.#unlock(first, USER, line);
      case 'userLock':
        return this.#userLock(first);
      case 'nativeAlloc':
        if (this.#segments.live === MAX_LIVE) return `more than ${MAX_LIVE} segments are live at once`;
        this.#segments.add(second, first);
        this.#events.nativeAlloc(first, line, second);
        return undefined;
      case 'nativeFree':
        return this.#nativeFree(first, line);
      case 'signalMemoryCleanup':
        this.#events.note(TraceKind.cleanup, line);
        return undefined;
      case 'shutdown':
        this.#shutdowns++;
        return undefined;
      default:
        return undefined;
    }
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

  #alloc(bytes: number, userLock: number, ptr: number, line: number): string | undefined {
    if (userLock > 1) return `the user lock is ${userLock}, not 0 or 1`;
    if (ptr === 0) {
      if (bytes === 0) this.#emptySlots.push(this.#events.alloc(0, line));
      else this.#events.note(TraceKind.outOfMemory, line, bytes);
      return undefined;
    }
    const before = this.#pointers.slotOf(ptr);
    if (before !== undefined) {
      // A manager that shuts down under its live blocks takes them along, and its addresses come again.
      if (this.#shutdownsBefore[before] === this.#shutdowns) return `pointer ${ptr} is allocated while it is live`;
      this.#free(ptr, before, line);
    }
    const slot = this.#events.alloc(bytes, line, ptr);
    if (slot >= this.#locks.length) this.#growSlots();
    this.#locks[slot] = userLock === 1 ? USER : MANAGER;
    this.#shutdownsBefore[slot] = this.#shutdowns;
    this.#pointers.add(ptr, slot);
    return undefined;
  }

  #unlock(ptr: number, lock: number, line: number): string | undefined {
    if (ptr === 0) {
      const empty = this.#emptySlots.pop();
      if (empty !== undefined) this.#events.free(empty, line);
      return undefined;
    }
    const slot = this.#pointers.slotOf(ptr);
    if (slot === undefined) return this.#unknown(ptr);
    this.#locks[slot]! &= ~lock;
    if (this.#locks[slot] === 0) this.#free(ptr, slot, line);
    return undefined;
  }

  #userLock(ptr: number): string | undefined {
    if (ptr === 0) return undefined;
    const slot = this.#pointers.slotOf(ptr);
    if (slot === undefined) return this.#unknown(ptr);
    this.#locks[slot]! |= USER;
    return undefined;
  }

  /** A segment that was there before the log began has no size, and is passed over. */
  #nativeFree(ptr: number, line: number): undefined {
    const bytes = this.#segments.slotOf(ptr);
    if (bytes === undefined) return;
    this.#segments.free(ptr);
    this.#events.nativeFree(bytes, line, ptr);
  }

  #unknown(ptr: number): string {
    return this.#pointers.wasFreed(ptr) ? `pointer ${ptr} is already free` : `pointer ${ptr} heads no live block`;
  }

  #free(ptr: number, slot: number, line: number): void {
    this.#pointers.free(ptr);
    this.#events.free(slot, line);
  }

  #growSlots(): void {
    const locks = new Uint8Array(this.#locks.length * 2);
    locks.set(this.#locks);
    this.#locks = locks;
    const shutdowns = new Uint32Array(locks.length);
    shutdowns.set(this.#shutdownsBefore);
    this.#shutdownsBefore = shutdowns;
  }
}

/** Says what is wrong with a line that is not a known call; undefined for a call under a name of its own. */
function fault(line: string, name: string, integers: number | undefined): string | undefined {
  if (integers === undefined && isCallLine(line)) return undefined;
  const tokens = line.split(' ');
  if (integers !== undefined && tokens.length === integers + 2 && tokens.at(-1) === '') {
    for (const token of tokens.slice(1, -1)) {
      const reason = integerFault(`${name}: the value`, token);
      if (reason !== undefined) return reason;
    }
  }
  const expected = integers === undefined ? 'a name and integers' : `${quote(name)} and ${integers} integers`;
  return `${quote(line)} is no logged call: a line reads ${expected}, each followed by one blank`;
}
