import { FormatFault } from './format-fault.js';
import { isObject } from './parsed-values.js';
import { OPCODE } from './pickle-format.js';

/** A value that data in a pickle can have. Dictionaries are objects of JSON's kind. */
export type PickleValue = null | boolean | number | string | Buffer | PickleValue[] | PickleDictionary;

export interface PickleDictionary {
  [key: string]: PickleValue;
}

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
      if (opcode === OPCODE.stop) return this.#pop();
      if (++this.#values > MAX_VALUES) throw this.#fault(start, `there are more than ${MAX_VALUES} values`);
      const value = this.#step(opcode, start);
      if (value !== undefined) this.#stack.push(value);
    }
  }

  /** Executes an instruction. @returns the value that it pushes; undefined for one that pushes none */
  #step(opcode: number, start: number): PickleValue | undefined {
    switch (opcode) {
      case OPCODE.proto:
        return void this.#take(1);
      case OPCODE.frame:
        return void this.#take(8);
      case OPCODE.mark:
        return this.#mark(start);
      case OPCODE.pop:
        return void this.#pop();
      case OPCODE.popMark:
        return void this.#popToMark();
      case OPCODE.none:
        return null;
      case OPCODE.newTrue:
        return true;
      case OPCODE.newFalse:
        return false;
      case OPCODE.binInt:
        return this.#take(4).readInt32LE();
      case OPCODE.binInt1:
        return this.#uint(1);
      case OPCODE.binInt2:
        return this.#uint(2);
      case OPCODE.long1:
        return this.#long(this.#uint(1));
      case OPCODE.long4:
        return this.#long(this.#uint(4));
      case OPCODE.binFloat:
        return this.#take(8).readDoubleBE();
      case OPCODE.shortBinUnicode:
        return this.#text(this.#uint(1));
      case OPCODE.binUnicode:
        return this.#text(this.#uint(4));
      case OPCODE.binUnicode8:
        // More than a file can have is cut off, whatever it is.
        return this.#text(Number(this.#take(8).readBigUInt64LE()));
      case OPCODE.shortBinBytes:
        return this.#take(this.#uint(1));
      case OPCODE.binBytes:
        return this.#take(this.#uint(4));
      case OPCODE.emptyList:
      case OPCODE.emptyTuple:
        return this.#container([], start);
      case OPCODE.list:
      case OPCODE.tuple:
        return this.#container(this.#popToMark(), start);
      case OPCODE.append:
        return this.#append([this.#pop()], start);
      case OPCODE.appends:
        return this.#append(this.#popToMark(), start);
      case OPCODE.emptyDict:
        return this.#container({}, start);
      case OPCODE.dict:
        return this.#setItems(this.#popToMark(), start, this.#container({}, start));
      case OPCODE.setItem:
        return void this.#setItems(this.#popMany(2), start);
      case OPCODE.setItems:
        return void this.#setItems(this.#popToMark(), start);
      case OPCODE.tuple1:
      case OPCODE.tuple2:
      case OPCODE.tuple3:
        return this.#container(this.#popMany(opcode - OPCODE.tuple1 + 1), start);
      case OPCODE.binPut:
        return this.#remember(this.#uint(1), start);
      case OPCODE.longBinPut:
        return this.#remember(this.#uint(4), start);
      case OPCODE.memoize:
        return this.#remember(this.#memo.length, start);
      case OPCODE.binGet:
        return this.#recall(this.#uint(1), start);
      case OPCODE.longBinGet:
        return this.#recall(this.#uint(4), start);
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

  #popMany(count: number): PickleValue[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  #mark(start: number): undefined {
    if (this.#marks.push(this.#stack.length) > MAX_DEPTH) throw this.#fault(start, `values lie more than ${MAX_DEPTH} deep`);
  }

  #popToMark(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.#fault(this.#at, 'there is no mark here');
    return this.#stack.splice(mark);
  }

  #append(values: readonly PickleValue[], start: number): undefined {
    const list = this.#top();
    if (!Array.isArray(list)) throw this.#fault(start, 'something is appended to what is no list');
    for (const value of values) list.push(value);
  }

  #setItems(pairs: readonly PickleValue[], start: number, target: PickleValue = this.#top()): PickleDictionary {
    if (!isDictionary(target)) throw this.#fault(start, 'something is set in what is no dictionary');
    if (pairs.length % 2 !== 0) throw this.#fault(start, 'a key has no value');
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i]!;
      if (typeof key !== 'string' && typeof key !== 'number') throw this.#fault(start, 'a key is neither a text nor a number');
      // An assignment to this name would set the object's prototype.
      if (key === '__proto__') throw this.#fault(start, 'a key is "__proto__"');
      target[key] = pairs[i + 1]!;
    }
    return target;
  }

  /** Writers number values in order; a few old ones leave numbers out. */
  #remember(index: number, start: number): undefined {
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
  return isObject(value);
}
