import { FormatFault } from './format-fault.js';
import { isObject } from './parsed-values.js';
import { OPCODE } from './pickle-format.js';

/** A value that data in a pickle can have. Dictionaries are objects of JSON's kind. */
export type PickleValue = null | boolean | number | string | Buffer | PickleValue[] | PickleDictionary;

export interface PickleDictionary {
  [key: string]: PickleValue;
}

const { stop: STOP } = OPCODE;
const MAX_TEXT_BYTES = 2 ** 24;
/** Lists and dictionaries take some 60 bytes each, and one byte makes one: snapshots have 25 bytes and more for each. */
const MAX_CONTAINERS = 2 ** 23;
const LEAST_CONTAINER_BYTES = 16;
const SPARE_CONTAINERS = 1024;
/** Instructions that push a value, take one or two bytes, and 8 in memory. */
const MAX_VALUES = 2 ** 26;
/** Marks within marks; a snapshot has 8. */
const MAX_DEPTH = 256;

/**
 * Reads a pickle of plain data: texts, numbers, lists, tuples and dictionaries. It knows no instruction that names, makes or
 * calls anything, so reading executes nothing; a pickle with such an instruction is refused.
 * Memory: some 16 times the bytes at most, and 2 GiB; what would take more is refused.
 */
export class PickleReader {
  /** The instructions by their first byte. */
  static readonly #EXECUTE: { readonly [opcode: number]: Execute } = {
    [OPCODE.proto]: (pickle) => void pickle.#skip(1),
    [OPCODE.frame]: (pickle) => void pickle.#skip(8),
    [OPCODE.mark]: (pickle, start) => pickle.#mark(start),
    [OPCODE.pop]: (pickle) => void pickle.#pop(),
    [OPCODE.popMark]: (pickle) => pickle.#drop(pickle.#popMark()),
    [OPCODE.none]: () => null,
    [OPCODE.newTrue]: () => true,
    [OPCODE.newFalse]: () => false,
    [OPCODE.binInt]: (pickle) => pickle.bytes.readInt32LE(pickle.#skip(4)),
    [OPCODE.binInt1]: (pickle) => pickle.#uint(1),
    [OPCODE.binInt2]: (pickle) => pickle.#uint(2),
    [OPCODE.long1]: (pickle) => pickle.#long(pickle.#uint(1)),
    [OPCODE.long4]: (pickle) => pickle.#long(pickle.#uint(4)),
    [OPCODE.binFloat]: (pickle) => pickle.bytes.readDoubleBE(pickle.#skip(8)),
    [OPCODE.shortBinUnicode]: (pickle) => pickle.#text(pickle.#uint(1)),
    [OPCODE.binUnicode]: (pickle) => pickle.#text(pickle.#uint(4)),
    // A length beyond that of any file is refused, however many of its digits are right.
    [OPCODE.binUnicode8]: (pickle) => pickle.#text(Number(pickle.bytes.readBigUInt64LE(pickle.#skip(8)))),
    [OPCODE.shortBinBytes]: (pickle) => pickle.#take(pickle.#uint(1)),
    [OPCODE.binBytes]: (pickle) => pickle.#take(pickle.#uint(4)),
    [OPCODE.emptyList]: (pickle, start) => pickle.#container([], start),
    [OPCODE.emptyTuple]: (pickle, start) => pickle.#container([], start),
    [OPCODE.list]: (pickle, start) => pickle.#container(pickle.#popFrom(pickle.#popMark()), start),
    [OPCODE.tuple]: (pickle, start) => pickle.#container(pickle.#popFrom(pickle.#popMark()), start),
    [OPCODE.tuple1]: (pickle, start) => pickle.#container(pickle.#popFrom(pickle.#last(1)), start),
    [OPCODE.tuple2]: (pickle, start) => pickle.#container(pickle.#popFrom(pickle.#last(2)), start),
    [OPCODE.tuple3]: (pickle, start) => pickle.#container(pickle.#popFrom(pickle.#last(3)), start),
    [OPCODE.append]: (pickle, start) => pickle.#append(pickle.#last(1), start),
    [OPCODE.appends]: (pickle, start) => pickle.#append(pickle.#popMark(), start),
    [OPCODE.emptyDict]: (pickle, start) => pickle.#container({}, start),
    [OPCODE.dict]: (pickle, start) => pickle.#setItems(pickle.#popMark(), start, pickle.#container({}, start)),
    [OPCODE.setItem]: (pickle, start) => void pickle.#setItems(pickle.#last(2), start),
    [OPCODE.setItems]: (pickle, start) => void pickle.#setItems(pickle.#popMark(), start),
    [OPCODE.binPut]: (pickle, start) => pickle.#remember(pickle.#uint(1), start),
    [OPCODE.longBinPut]: (pickle, start) => pickle.#remember(pickle.#uint(4), start),
    [OPCODE.memoize]: (pickle, start) => pickle.#remember(pickle.#memo.length, start),
    [OPCODE.binGet]: (pickle, start) => pickle.#recall(pickle.#uint(1), start),
    [OPCODE.longBinGet]: (pickle, start) => pickle.#recall(pickle.#uint(4), start),
  };
  /** Values that wait, up to {@link #depth}; above it lies what has been taken. */
  readonly #stack: PickleValue[] = [];
  #depth = 0;
  readonly #marks: number[] = [];
  readonly #memo: PickleValue[] = [];
  readonly #mostContainers: number;
  #containers = 0;
  #values = 0;
  #at = 0;

  constructor(readonly bytes: Buffer) {
    this.#mostContainers = Math.min(MAX_CONTAINERS, SPARE_CONTAINERS + bytes.length / LEAST_CONTAINER_BYTES);
  }

  /** @throws FormatFault with the byte of what is wrong */
  read(): PickleValue {
    for (;;) {
      const start = this.#at;
      const opcode = this.#uint(1);
      if (opcode === STOP) return this.#pop();
      if (++this.#values > MAX_VALUES) throw this.#fault(start, `there are more than ${MAX_VALUES} values`);
      const execute = PickleReader.#EXECUTE[opcode];
      if (execute === undefined) {
        throw this.#fault(start, `the instruction 0x${opcode.toString(16)} builds no plain data, and is not executed`);
      }
      const value = execute(this, start);
      if (value !== undefined) this.#stack[this.#depth++] = value;
    }
  }

  #container<T extends PickleValue>(value: T, start: number): T {
    if (++this.#containers <= this.#mostContainers) return value;
    throw this.#fault(
      start,
      `there are more than ${this.#containers - 1} lists and dictionaries, too many for a snapshot of its size`,
    );
  }

  /** Goes over so many bytes. @returns where they begin */
  #skip(length: number): number {
    const start = this.#at;
    this.#check(start + length <= this.bytes.length, this.bytes.length, 'the pickle is cut off');
    this.#at += length;
    return start;
  }

  #take(length: number): Buffer {
    return this.bytes.subarray(this.#skip(length), this.#at);
  }

  #text(length: number): string {
    if (length > MAX_TEXT_BYTES) throw this.#fault(this.#at, `a text of ${length} bytes is too long`);
    return this.bytes.toString('utf8', this.#skip(length), this.#at);
  }

  /** An integer without sign: byte by byte, which is faster than a call of Buffer where most have one. */
  #uint(length: number): number {
    const { bytes } = this;
    const start = this.#skip(length);
    let value = 0;
    for (let i = this.#at - 1; i >= start; i--) value = value * 256 + bytes[i]!;
    return value;
  }

  /** A number as two's complement. One beyond 2^53 loses its last digits, and no field that is used can have it. */
  #long(length: number): number {
    const start = this.#skip(length);
    if (length > 16) throw this.#fault(start, `a number of ${length} bytes is too long`);
    const { bytes } = this;
    const end = this.#at;
    const negative = length > 0 && bytes[end - 1]! >= 0x80;
    let value = 0;
    for (let i = end - 1; i >= start; i--) value = value * 256 + (negative ? 0xff - bytes[i]! : bytes[i]!);
    return negative ? -value - 1 : value;
  }

  /** The value below a place in the stack. */
  #below(depth: number): PickleValue {
    this.#check(depth > 0, this.#at, 'there is no value here');
    return this.#stack[depth - 1]!;
  }

  #pop(): PickleValue {
    this.#depth = this.#last(1);
    return this.#stack[this.#depth]!;
  }

  #popFrom(from: number): PickleValue[] {
    const values = this.#stack.slice(from, this.#depth);
    this.#depth = from;
    return values;
  }

  #drop(from: number): undefined {
    this.#depth = from;
  }

  /** Where the last values of the stack begin; none of them lies before the last mark. */
  #last(count: number): number {
    const from = this.#depth - count;
    this.#check(from >= (this.#marks.at(-1) ?? 0), this.#at, 'there is no value here');
    return from;
  }

  #mark(start: number): undefined {
    if (this.#marks.push(this.#depth) > MAX_DEPTH) throw this.#fault(start, `values lie more than ${MAX_DEPTH} deep`);
  }

  /** Where the values behind the last mark begin. */
  #popMark(): number {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.#fault(this.#at, 'there is no mark here');
    return mark;
  }

  /** Takes what lies in the stack from a place on into the list below. */
  #append(from: number, start: number): undefined {
    const list = this.#below(from);
    if (!Array.isArray(list)) throw this.#fault(start, 'something is appended to what is no list');
    // Grown at once: pushes would leave room for more in each of millions of lists.
    let at = list.length;
    list.length += this.#depth - from;
    for (let i = from; i < this.#depth; i++) list[at++] = this.#stack[i]!;
    this.#depth = from;
  }

  /** Takes keys and values, which lie in turns in the stack from a place on, into a dictionary. */
  #setItems(from: number, start: number, target: PickleValue = this.#below(from)): PickleDictionary {
    if (!isDictionary(target)) throw this.#fault(start, 'something is set in what is no dictionary');
    this.#check((this.#depth - from) % 2 === 0, start, 'a key has no value');
    for (let i = from; i < this.#depth; i += 2) {
      const key = this.#stack[i]!;
      if (typeof key !== 'string' && typeof key !== 'number') throw this.#fault(start, 'a key is neither a text nor a number');
      // An assignment to this name would set the object's prototype.
      this.#check(key !== '__proto__', start, 'a key is "__proto__"');
      target[key] = this.#stack[i + 1]!;
    }
    this.#depth = from;
    return target;
  }

  /** Writers number values in order; a few old ones leave numbers out. */
  #remember(index: number, start: number): undefined {
    if (index > this.#values) throw this.#fault(start, `${index} is no number of a value: ${this.#values} came before it`);
    this.#memo[index] = this.#below(this.#depth);
  }

  #recall(index: number, start: number): PickleValue {
    const value = this.#memo[index];
    if (value === undefined) throw this.#fault(start, `there is no value with number ${index}`);
    return value;
  }

  #check(holds: boolean, at: number, reason: string): void {
    if (!holds) throw this.#fault(at, reason);
  }

  #fault(at: number, reason: string): FormatFault {
    return new FormatFault(`byte ${at}: ${reason}`);
  }
}

/** Executes an instruction that begins at byte `start`. @returns the value that it pushes; undefined for one that pushes none */
type Execute = (pickle: PickleReader, start: number) => PickleValue | undefined;

/** Tells whether a value is a dictionary. */
export function isDictionary(value: PickleValue | undefined): value is PickleDictionary {
  return isObject(value);
}
