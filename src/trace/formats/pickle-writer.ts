import { OPCODE } from './pickle-format.js';
import type { ByteSink } from './trace-writer.js';

const CHUNK_BYTES = 64 * 1024;
/** The most values between a mark and the instruction that appends or sets them: readers spread them into one call. */
export const MAX_BATCH = 1000;

/** The values of a dictionary by key; a function writes its value itself. */
export type PickleFields = Readonly<Record<string, string | number | boolean | (() => void)>>;

/** Writes a pickle of plain data, protocol 2, instruction by instruction: the few that every reader has. */
export class PickleWriter {
  readonly #texts = new Map<string, number>();
  #buffer = Buffer.alloc(CHUNK_BYTES);
  #at = 0;
  #memos = 0;

  constructor(readonly sink: ByteSink) {
    this.put(OPCODE.proto, 2);
  }

  /** Writes an instruction, one of {@link OPCODE}, and the bytes that belong to it. */
  put(...bytes: number[]): void {
    this.#room(bytes.length);
    for (const byte of bytes) this.#buffer[this.#at++] = byte;
  }

  /** Appends values to the list that was written last, in batches. */
  appendAll<T>(values: readonly T[], write: (value: T) => void): void {
    for (let start = 0; start < values.length; start += MAX_BATCH) {
      this.put(OPCODE.mark);
      for (const value of values.slice(start, start + MAX_BATCH)) write(value);
      this.put(OPCODE.appends);
    }
  }

  /** Writes keys with their values. Texts are taken to come again. */
  fields(fields: PickleFields): void {
    for (const [key, value] of Object.entries(fields)) {
      this.key(key);
      if (typeof value === 'function') value();
      else if (typeof value === 'string') this.key(value);
      else if (typeof value === 'number') this.integer(value);
      else this.put(value ? OPCODE.newTrue : OPCODE.newFalse);
    }
  }

  dictionary(fields: PickleFields): void {
    this.put(OPCODE.emptyDict, OPCODE.mark);
    this.fields(fields);
    this.put(OPCODE.setItems);
  }

  /** @param value - an integer */
  integer(value: number): void {
    if (value >= 0 && value < 2 ** 8) this.put(OPCODE.binInt1, value);
    else if (value >= 0 && value < 2 ** 16) this.put(OPCODE.binInt2, value & 0xff, value >> 8);
    else if (value === (value | 0)) this.#numbered(OPCODE.binInt, value);
    else {
      // Two's complement of eight bytes: every integer below 2^53 fits.
      const high = Math.floor(value / 2 ** 32);
      this.put(OPCODE.long1, 8);
      this.#room(8);
      this.#at = this.#buffer.writeUInt32LE(value - high * 2 ** 32, this.#at);
      this.#at = this.#buffer.writeInt32LE(high, this.#at);
    }
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.#numbered(OPCODE.binUnicode, bytes.length);
    this.#room(bytes.length);
    if (bytes.length > CHUNK_BYTES) this.sink.write(bytes);
    else this.#at += bytes.copy(this.#buffer, this.#at);
  }

  /** Writes a text that comes again: the second time it is a number. */
  key(value: string): void {
    const number = this.#texts.get(value);
    if (number !== undefined) this.recall(number);
    else {
      this.text(value);
      this.#texts.set(value, this.memoize());
    }
  }

  /** Gives the last value a number. */
  memoize(): number {
    const number = this.#memos++;
    if (number < 2 ** 8) this.put(OPCODE.binPut, number);
    else this.#numbered(OPCODE.longBinPut, number);
    return number;
  }

  /** Writes a value that has a number. */
  recall(number: number): void {
    if (number < 2 ** 8) this.put(OPCODE.binGet, number);
    else this.#numbered(OPCODE.longBinGet, number);
  }

  /** Ends the pickle. */
  stop(): void {
    this.put(OPCODE.stop);
    this.#flush();
  }

  #flush(): void {
    if (this.#at > 0) this.sink.write(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
  }

  /** Writes an instruction with a number of four bytes. */
  #numbered(opcode: number, number: number): void {
    this.put(opcode);
    this.#room(4);
    this.#at = this.#buffer.writeInt32LE(number | 0, this.#at);
  }

  #room(bytes: number): void {
    if (this.#at + bytes > CHUNK_BYTES) this.#flush();
  }
}
