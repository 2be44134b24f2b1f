import { crc32 } from 'node:zlib';
import { counted } from '../../core/counted.js';
import type { EventBuilder } from '../event-builder.js';
import { MAX_DEVICES, TraceKind } from '../trace-events.js';
import { BlockTracker } from './block-tracker.js';
import { FormatFault, type FormatParser } from './format-parser.js';
import {
  BLOCK_HEADER_BYTES,
  BLOCK_MARK,
  CLOCK,
  CODE_BITS,
  DEVICE,
  END,
  FAR_POINTER,
  FILE_HEADER_BYTES,
  HAS_POINTER,
  HAS_SIZE,
  LARGE_SIZE,
  MANAGER,
  MAX_BLOCK_BYTES,
  MAX_HEADER_JSON_BYTES,
  MAX_STRINGS,
  SITE,
  SPACE,
  STREAM,
  STRING,
  TAG,
  VERSION,
} from './stowage-format.js';

const NOTHING = Buffer.alloc(0);

/**
 * Reads this library's binary trace, block by block; it holds one block. A file whose writer was killed ends inside a block,
 * or without the record that ends a recording: its events up to the last whole block are read, and `cutOff` says so.
 */
export class StowageParser implements FormatParser {
  readonly format = 'stowage';
  readonly line = 0;
  name: string | undefined;
  readonly #events: EventBuilder;
  readonly #tracker: BlockTracker;
  /** The id in the events' table of each text of the file. */
  #ids = new Int32Array(1024);
  #rest: Buffer = NOTHING;
  /** Where `#rest` begins in the file. */
  #offset = 0;
  #headerRead = false;
  #ended = false;
  #pointer = 0;
  #count = 0;

  constructor(events: EventBuilder) {
    this.#events = events;
    this.#tracker = new BlockTracker(events);
  }

  get cutOff(): string | undefined {
    return this.#ended ? undefined : `the recording was cut off after ${counted(this.#count, 'event')}`;
  }

  push(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    if (!this.#headerRead && !this.#readHeader()) return;
    while (this.#readBlock());
  }

  end(): void {
    if (!this.#headerRead) throw new FormatFault(`byte ${this.#offset + this.#rest.length}: the file's header is cut off`);
  }

  #readHeader(): boolean {
    const rest = this.#rest;
    if (rest.length < FILE_HEADER_BYTES) return false;
    const version = rest.readUInt32LE(8);
    if (version !== VERSION) throw new FormatFault(`byte 8: version ${version} of the format is not known, but only ${VERSION}`);
    const length = rest.readUInt32LE(12);
    if (length > MAX_HEADER_JSON_BYTES) throw new FormatFault(`byte 12: a header of ${length} bytes is too long`);
    if (rest.length < FILE_HEADER_BYTES + length) return false;
    const json = rest.subarray(FILE_HEADER_BYTES, FILE_HEADER_BYTES + length);
    if (crc32(json) !== rest.readUInt32LE(16)) throw new FormatFault('byte 16: the header is damaged: its checksum differs');
    const name = nameOf(json.toString());
    if (name === undefined) throw new FormatFault(`byte ${FILE_HEADER_BYTES}: the header is no JSON object with a name`);
    this.name = name;
    this.#advance(FILE_HEADER_BYTES + length);
    this.#headerRead = true;
    return true;
  }

  #readBlock(): boolean {
    const rest = this.#rest;
    if (rest.length < BLOCK_HEADER_BYTES) return false;
    if (this.#ended) throw this.#fault(0, 'there is something behind the end of the recording');
    if (rest.readUInt32LE(0) !== BLOCK_MARK) throw this.#fault(0, 'no block begins here');
    const length = rest.readUInt32LE(4);
    if (length > MAX_BLOCK_BYTES) throw this.#fault(4, `a block of ${length} bytes is too long`);
    const end = BLOCK_HEADER_BYTES + length;
    if (rest.length < end) return false;
    if (crc32(rest.subarray(BLOCK_HEADER_BYTES, end)) !== rest.readUInt32LE(8)) {
      throw this.#fault(8, 'the block is damaged: its checksum differs');
    }
    const before = this.#count;
    this.#readRecords(rest, end);
    if (this.#count - before !== rest.readUInt32LE(12)) throw this.#fault(12, 'the block has another number of events');
    this.#advance(end);
    return true;
  }

  #readRecords(block: Buffer, end: number): void {
    const events = this.#events;
    let at = BLOCK_HEADER_BYTES;
    while (at < end) {
      const start = at;
      const head = block[at++]!;
      const code = head & CODE_BITS;
      if (code < CLOCK) {
        at = this.#readEvent(block, at, end, head);
        continue;
      }
      if (this.#ended) throw this.#fault(start, 'there is something behind the end of the recording');
      if (head !== code) throw this.#fault(start, `no record begins with ${head}`);
      const width = code === CLOCK || code === STREAM || code === END || code === STRING ? 8 : 4;
      if (at + width > end) throw this.#fault(start, 'the record goes beyond its block');
      switch (code) {
        case CLOCK:
          events.time = Math.max(events.time, this.#size(block, at, 'a time'));
          break;
        case STREAM:
          events.stream = this.#size(block, at, 'a stream');
          break;
        case DEVICE: {
          const device = block.readInt32LE(at);
          if (device < 0 || device >= MAX_DEVICES) throw this.#fault(start, `${device} is no device`);
          events.device = device;
          break;
        }
        case MANAGER:
          events.manager = this.#id(block, at);
          break;
        case TAG:
          events.tag = this.#id(block, at);
          break;
        case SITE:
          events.site = this.#id(block, at);
          break;
        case SPACE:
          this.#tracker.space = this.#id(block, at);
          break;
        case STRING:
          at += this.#readString(block, at, end);
          break;
        default:
          if (this.#size(block, at, 'a count') !== this.#count) throw this.#fault(at, `there are ${this.#count} events`);
          this.#ended = true;
      }
      at += width;
    }
  }

  /** @returns where the next record begins */
  #readEvent(block: Buffer, start: number, end: number, head: number): number {
    let at = start;
    const kind = (head & CODE_BITS) as TraceKind;
    const hasPointer = HAS_POINTER[kind]!;
    const hasSize = HAS_SIZE[kind]!;
    const allowed = CODE_BITS | (hasPointer ? FAR_POINTER : 0) | (hasSize ? LARGE_SIZE : 0);
    if ((head & ~allowed) !== 0) throw this.#fault(start - 1, `no record begins with ${head}`);
    if (this.#ended) throw this.#fault(start - 1, 'there is something behind the end of the recording');
    const far = (head & FAR_POINTER) !== 0;
    const large = (head & LARGE_SIZE) !== 0;
    const width = (hasPointer ? (far ? 8 : 4) : 0) + (hasSize ? (large ? 8 : 4) : 0);
    if (at + width > end) throw this.#fault(start - 1, 'the record goes beyond its block');
    let bytes = 0;
    if (hasPointer) {
      const pointer = far ? this.#size(block, at, 'a pointer') : this.#pointer + block.readInt32LE(at);
      if (!(pointer >= 0 && pointer <= Number.MAX_SAFE_INTEGER)) throw this.#fault(at, `${pointer} is no pointer`);
      this.#pointer = pointer;
      at += far ? 8 : 4;
    }
    if (hasSize) {
      bytes = large ? this.#size(block, at, 'a size') : block.readUInt32LE(at);
      at += large ? 8 : 4;
    }
    this.#count++;
    this.#add(kind, this.#pointer, bytes);
    return at;
  }

  #add(kind: TraceKind, pointer: number, bytes: number): void {
    switch (kind) {
      case TraceKind.alloc:
        this.#tracker.alloc(pointer, bytes, 0);
        break;
      case TraceKind.free:
        this.#tracker.free(pointer, 0);
        break;
      case TraceKind.nativeAlloc:
        this.#events.nativeAlloc(bytes, 0, pointer);
        break;
      case TraceKind.nativeFree:
        this.#events.nativeFree(bytes, 0, pointer);
        break;
      default:
        this.#events.note(kind, 0, bytes);
    }
  }

  #readString(block: Buffer, at: number, end: number): number {
    const id = block.readUInt32LE(at);
    const length = block.readUInt32LE(at + 4);
    if (id === 0 || id > MAX_STRINGS) throw this.#fault(at, `${id} is no number of a text`);
    if (at + 8 + length > end) throw this.#fault(at, 'the text goes beyond its block');
    if (id >= this.#ids.length) {
      const larger = new Int32Array(Math.max(this.#ids.length * 2, id + 1));
      larger.set(this.#ids);
      this.#ids = larger;
    }
    this.#ids[id] = this.#events.strings.idOf(block.toString('utf8', at + 8, at + 8 + length));
    return length;
  }

  #id(block: Buffer, at: number): number {
    const id = block.readUInt32LE(at);
    if (id === 0) return 0;
    const known = this.#ids[id] ?? 0;
    if (known === 0) throw this.#fault(at, `text ${id} is not known`);
    return known;
  }

  #size(block: Buffer, at: number, what: string): number {
    const value = block.readDoubleLE(at);
    if (!Number.isSafeInteger(value) || value < 0) throw this.#fault(at, `${value} is not ${what}`);
    return value;
  }

  #advance(bytes: number): void {
    this.#rest = this.#rest.subarray(bytes);
    this.#offset += bytes;
  }

  #fault(at: number, reason: string): FormatFault {
    return new FormatFault(`byte ${this.#offset + at}: ${reason}`);
  }
}

function nameOf(json: string): string | undefined {
  try {
    const { name } = JSON.parse(json) as { name?: unknown };
    return typeof name === 'string' ? name : undefined;
  } catch {
    return undefined;
  }
}
