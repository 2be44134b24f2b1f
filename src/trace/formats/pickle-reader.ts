import { FormatFault } from './format-parser.js';

/** A value that data in a pickle can have. Dictionaries are objects of JSON's kind. */
export type PickleValue = null | boolean | number | string | Buffer | PickleValue[] | PickleDictionary;

export interface PickleDictionary {
  [key: string]: PickleValue;
}

// The instructions that build data. @see Source: Python's Lib/pickletools.py
const PROTO = 0x80;
const FRAME = 0x95;
const STOP = 0x2e;
const MARK = 0x28;
const POP = 0x30;
const POP_MARK = 0x31;
const NONE = 0x4e;
const NEWTRUE = 0x88;
const NEWFALSE = 0x89;
const BININT = 0x4a;
const BININT1 = 0x4b;
const BININT2 = 0x4d;
const LONG1 = 0x8a;
const LONG4 = 0x8b;
const BINFLOAT = 0x47;
const BINUNICODE = 0x58;
const SHORT_BINUNICODE = 0x8c;
const BINUNICODE8 = 0x8d;
const BINBYTES = 0x42;
const SHORT_BINBYTES = 0x43;
const EMPTY_LIST = 0x5d;
const LIST = 0x6c;
const APPEND = 0x61;
const APPENDS = 0x65;
const EMPTY_DICT = 0x7d;
const DICT = 0x64;
const SETITEM = 0x73;
const SETITEMS = 0x75;
const EMPTY_TUPLE = 0x29;
const TUPLE = 0x74;
const TUPLE1 = 0x85;
const TUPLE3 = 0x87;
const BINPUT = 0x71;
const LONG_BINPUT = 0x72;
const MEMOIZE = 0x94;
const BINGET = 0x68;
const LONG_BINGET = 0x6a;

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
  readonly #bytes: Buffer;
  readonly #stack: PickleValue[] = [];
  readonly #marks: number[] = [];
  readonly #memo: PickleValue[] = [];
  readonly #mostContainers: number;
  #containers = 0;
  #values = 0;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#mostContainers = Math.min(MAX_CONTAINERS, SPARE_CONTAINERS + bytes.length / LEAST_CONTAINER_BYTES);
  }

  /** @throws FormatFault with the byte of what is wrong */
  read(): PickleValue {
    for (;;) {
      const start = this.#at;
      const opcode = this.#uint(1);
      if (opcode === STOP) return this.#pop();
      if (++this.#values > MAX_VALUES) throw this.#fault(start, `there are more than ${MAX_VALUES} values`);
      this.#step(opcode, start);
    }
  }

  #step(opcode: number, start: number): void {
    const stack = this.#stack;
    switch (opcode) {
      case PROTO:
        this.#uint(1);
        break;
      case FRAME:
        this.#take(8);
        break;
      case MARK:
        if (this.#marks.push(stack.length) > MAX_DEPTH) throw this.#fault(start, `values lie more than ${MAX_DEPTH} deep`);
        break;
      case POP:
        this.#pop();
        break;
      case POP_MARK:
        this.#popToMark();
        break;
      case NONE:
        stack.push(null);
        break;
      case NEWTRUE:
      case NEWFALSE:
        stack.push(opcode === NEWTRUE);
        break;
      case BININT:
        stack.push(this.#take(4).readInt32LE());
        break;
      case BININT1:
        stack.push(this.#uint(1));
        break;
      case BININT2:
        stack.push(this.#uint(2));
        break;
      case LONG1:
        stack.push(this.#long(this.#uint(1)));
        break;
      case LONG4:
        stack.push(this.#long(this.#uint(4)));
        break;
      case BINFLOAT:
        stack.push(this.#take(8).readDoubleBE());
        break;
      case SHORT_BINUNICODE:
        stack.push(this.#text(this.#uint(1)));
        break;
      case BINUNICODE:
        stack.push(this.#text(this.#uint(4)));
        break;
      case BINUNICODE8:
        stack.push(this.#text(this.#uint8()));
        break;
      case SHORT_BINBYTES:
        stack.push(this.#take(this.#uint(1)));
        break;
      case BINBYTES:
        stack.push(this.#take(this.#uint(4)));
        break;
      case EMPTY_LIST:
      case EMPTY_TUPLE:
        stack.push(this.#container([], start));
        break;
      case LIST:
      case TUPLE:
        stack.push(this.#container(this.#popToMark(), start));
        break;
      case APPEND: {
        const value = this.#pop();
        this.#list(start).push(value);
        break;
      }
      case APPENDS: {
        const values = this.#popToMark();
        const list = this.#list(start);
        for (const value of values) list.push(value);
        break;
      }
      case EMPTY_DICT:
        stack.push(this.#container({}, start));
        break;
      case DICT: {
        const pairs = this.#popToMark();
        stack.push(this.#container({}, start));
        this.#setItems(pairs, start);
        break;
      }
      case SETITEM: {
        const value = this.#pop();
        this.#setItems([this.#pop(), value], start);
        break;
      }
      case SETITEMS:
        this.#setItems(this.#popToMark(), start);
        break;
      case TUPLE1:
      case TUPLE1 + 1:
      case TUPLE3: {
        const values: PickleValue[] = [];
        for (let i = opcode - TUPLE1; i >= 0; i--) values[i] = this.#pop();
        stack.push(this.#container(values, start));
        break;
      }
      case BINPUT:
        this.#remember(this.#uint(1), start);
        break;
      case LONG_BINPUT:
        this.#remember(this.#uint(4), start);
        break;
      case MEMOIZE:
        this.#remember(this.#memo.length, start);
        break;
      case BINGET:
        stack.push(this.#recall(this.#uint(1), start));
        break;
      case LONG_BINGET:
        stack.push(this.#recall(this.#uint(4), start));
        break;
      default:
        throw this.#fault(start, `the instruction 0x${opcode.toString(16)} builds no plain data, and is not executed`);
    }
  }

  #container<T extends PickleValue>(value: T, start: number): T {
    if (++this.#containers <= this.#mostContainers) return value;
    throw this.#fault(
      start,
      `there are more than ${this.#containers - 1} lists and dictionaries, too many for a snapshot of its size`,
    );
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw this.#fault(this.#bytes.length, 'the pickle is cut off');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #text(length: number): string {
    if (length > MAX_TEXT_BYTES) throw this.#fault(this.#at, `a text of ${length} bytes is too long`);
    return this.#take(length).toString();
  }

  #uint(length: number): number {
    return this.#take(length).readUIntLE(0, length);
  }

  #uint8(): number {
    const value = this.#take(8).readBigUInt64LE();
    // More than a file can have is cut off, whatever it is.
    return Number(value);
  }

  /** A number as two's complement. One beyond 2^53 loses its last digits, and no field that is used can have it. */
  #long(length: number): number {
    const bytes = this.#take(length);
    if (length > 16) throw this.#fault(this.#at - length, `a number of ${length} bytes is too long`);
    const negative = length > 0 && bytes[length - 1]! >= 0x80;
    let value = 0;
    for (let i = length - 1; i >= 0; i--) value = value * 256 + (negative ? 0xff - bytes[i]! : bytes[i]!);
    return negative ? -value - 1 : value;
  }

  #top(): PickleValue {
    if (this.#stack.length === 0) throw this.#fault(this.#at, 'there is no value here');
    return this.#stack[this.#stack.length - 1]!;
  }

  #pop(): PickleValue {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.#fault(this.#at, 'there is no value here');
    return this.#stack.pop()!;
  }

  #popToMark(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.#fault(this.#at, 'there is no mark here');
    const values = this.#stack.slice(mark);
    this.#stack.length = mark;
    return values;
  }

  #list(start: number): PickleValue[] {
    const list = this.#top();
    if (!Array.isArray(list)) throw this.#fault(start, 'something is appended to what is no list');
    return list;
  }

  #setItems(pairs: readonly PickleValue[], start: number): void {
    const target = this.#top();
    if (!isDictionary(target)) throw this.#fault(start, 'something is set in what is no dictionary');
    if (pairs.length % 2 !== 0) throw this.#fault(start, 'a key has no value');
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i]!;
      if (typeof key !== 'string' && typeof key !== 'number') throw this.#fault(start, 'a key is neither a text nor a number');
      // An assignment to this name would set the object's prototype.
      if (key === '__proto__') throw this.#fault(start, 'a key is "__proto__"');
      target[key] = pairs[i + 1]!;
    }
  }

  /** Writers number values in order; a few old ones leave numbers out. */
  #remember(index: number, start: number): void {
    if (index > this.#values) throw this.#fault(start, `${index} is no number of a value: ${this.#values} came before it`);
    this.#memo[index] = this.#top();
  }

  #recall(index: number, start: number): PickleValue {
    const value = this.#memo[index];
    if (value === undefined) throw this.#fault(start, `there is no value with number ${index}`);
    return value;
  }

  #fault(at: number, reason: string): FormatFault {
    return new FormatFault(`byte ${at}: ${reason}`);
  }
}

/** Tells whether a value is a dictionary. */
export function isDictionary(value: PickleValue | undefined): value is PickleDictionary {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value);
}
