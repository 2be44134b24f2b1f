import type { ByteSink } from './trace-writer.js';

const CHUNK_BYTES = 64 * 1024;
/** The most values between a mark and the instruction that appends or sets them: readers spread them into one call. */
export const MAX_BATCH = 1000;

/** Writes a pickle of plain data, protocol 2, instruction by instruction: the few that every reader has. */
export class PickleWriter {
  readonly #sink: ByteSink;
  #buffer = Buffer.alloc(CHUNK_BYTES);
  #at = 0;
  #memos = 0;
  readonly #texts = new Map<string, number>();

  constructor(sink: ByteSink) {
    this.#sink = sink;
    this.#bytes(0x80, 2);
  }

  mark(): void {
    this.#bytes(0x28);
  }

  emptyList(): void {
    this.#bytes(0x5d);
  }

  emptyDictionary(): void {
    this.#bytes(0x7d);
  }

  /** Appends what stands behind the last mark to the list before it. At most {@link MAX_BATCH} values. */
  appends(): void {
    this.#bytes(0x65);
  }

  /** Sets the keys and values behind the last mark in the dictionary before it. */
  setItems(): void {
    this.#bytes(0x75);
  }

  /** Makes a tuple of the last two values. */
  pair(): void {
    this.#bytes(0x86);
  }

  boolean(value: boolean): void {
    this.#bytes(value ? 0x88 : 0x89);
  }

  /** @param value - an integer */
  integer(value: number): void {
    if (value >= 0 && value < 2 ** 8) this.#bytes(0x4b, value);
    else if (value >= 0 && value < 2 ** 16) this.#bytes(0x4d, value & 0xff, value >> 8);
    else if (value === (value | 0)) {
      this.#room(5);
      this.#buffer[this.#at] = 0x4a;
      this.#buffer.writeInt32LE(value, this.#at + 1);
      this.#at += 5;
    } else {
      // Two's complement of eight bytes: every integer below 2^53 fits.
      this.#room(10);
      this.#buffer[this.#at] = 0x8a;
      this.#buffer[this.#at + 1] = 8;
      this.#buffer.writeBigInt64LE(BigInt(value), this.#at + 2);
      this.#at += 10;
    }
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.#room(5);
    this.#buffer[this.#at] = 0x58;
    this.#buffer.writeUInt32LE(bytes.length, this.#at + 1);
    this.#at += 5;
    if (bytes.length > CHUNK_BYTES - this.#at) this.flush();
    if (bytes.length > CHUNK_BYTES) this.#sink.write(bytes);
    else this.#at += bytes.copy(this.#buffer, this.#at);
  }

  /** Writes a text that comes again: the second time it is a number. */
  key(value: string): void {
    const number = this.#texts.get(value);
    if (number !== undefined) {
      this.recall(number);
      return;
    }
    this.text(value);
    this.#texts.set(value, this.memoize());
  }

  /** Gives the last value a number. */
  memoize(): number {
    const number = this.#memos++;
    if (number < 2 ** 8) this.#bytes(0x71, number);
    else this.#numbered(0x72, number);
    return number;
  }

  /** Writes a value that has a number. */
  recall(number: number): void {
    if (number < 2 ** 8) this.#bytes(0x68, number);
    else this.#numbered(0x6a, number);
  }

  stop(): void {
    this.#bytes(0x2e);
    this.flush();
  }

  flush(): void {
    if (this.#at > 0) this.#sink.write(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
  }

  #numbered(opcode: number, number: number): void {
    this.#room(5);
    this.#buffer[this.#at] = opcode;
    this.#buffer.writeUInt32LE(number, this.#at + 1);
    this.#at += 5;
  }

  #bytes(...bytes: number[]): void {
    this.#room(bytes.length);
    for (const byte of bytes) this.#buffer[this.#at++] = byte;
  }

  #room(bytes: number): void {
    if (this.#at + bytes > CHUNK_BYTES) this.flush();
  }
}
