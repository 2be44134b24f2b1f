import { crc32 } from 'node:zlib';
import { counted } from '../../core/counted.js';
import { idsColumn } from '../event-column.js';
import { MAX_DEVICES, TraceKind } from '../trace-events.js';
import { BlockTracker } from './block-tracker.js';
import { FormatFault } from './format-fault.js';
import { FormatParser, NOTHING } from './format-parser.js';
import { isSize } from './parsed-values.js';
import {
  BLOCK_HEADER_BYTES,
  BLOCK_MARK,
  CODE_BITS,
  FAR_POINTER,
  FILE_HEADER_BYTES,
  HAS_POINTER,
  HAS_SIZE,
  LARGE_SIZE,
  MAX_BLOCK_BYTES,
  MAX_HEADER_JSON_BYTES,
  MAX_STRINGS,
  OTHER_RECORD,
  RECORD,
  VERSION,
  WIDE_RECORDS,
} from './stowage-format.js';

/** The property that a record sets whose value is the number of a name. */
const NAMED: Readonly<Record<number, 'manager' | 'tag' | 'site' | 'step'>> = {
  [RECORD.manager]: 'manager',
  [RECORD.tag]: 'tag',
  [RECORD.tag | OTHER_RECORD]: 'step',
  [RECORD.site]: 'site',
};

const OTHER_DEVICE = RECORD.device | OTHER_RECORD;
const OTHER_TAG = RECORD.tag | OTHER_RECORD;
/** The column of pools holds signed integers. */
const MAX_POOL = 2 ** 31 - 1;

/**
 * Reads this library's binary trace, block by block; it holds one block. If the writer was killed, the file ends inside a block,
 * or without the record that ends a recording. Then the events up to the last whole block are read, and `cutOff` says so.
 */
export class StowageParser extends FormatParser {
  readonly #tracker = new BlockTracker(this.events);
  /** The id in the events' table of each text of the file. */
  readonly #ids = idsColumn();
  #rest: Buffer = NOTHING;
  /** Where `#rest` begins in the file. */
  #offset = 0;
  #ended = false;
  #pointer = 0;
  #count = 0;

  override push(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    if (this.name === undefined && !this.#readHeader()) return;
    while (this.#readBlock());
  }

  override end(): void {
    this.#check(this.name !== undefined, this.#rest.length, "the file's header is cut off");
    if (!this.#ended) this.cutOff = `the recording was cut off after ${counted(this.#count, 'event')}`;
  }

  #readHeader(): boolean {
    const rest = this.#rest;
    if (rest.length < FILE_HEADER_BYTES) return false;
    const version = rest.readUInt32LE(8);
    this.#check(version === VERSION, 8, `version ${version} of the format is not known, but only ${VERSION}`);
    const length = rest.readUInt32LE(12);
    this.#check(length <= MAX_HEADER_JSON_BYTES, 12, `a header of ${length} bytes is too long`);
    if (rest.length < FILE_HEADER_BYTES + length) return false;
    const json = rest.subarray(FILE_HEADER_BYTES, FILE_HEADER_BYTES + length);
    this.#check(crc32(json) === rest.readUInt32LE(16), 16, 'the header is damaged: its checksum differs');
    this.name = nameOf(json.toString());
    this.#check(this.name !== undefined, FILE_HEADER_BYTES, 'the header is no JSON object with a name');
    this.#advance(FILE_HEADER_BYTES + length);
    return true;
  }

  #readBlock(): boolean {
    const rest = this.#rest;
    if (rest.length < BLOCK_HEADER_BYTES) return false;
    this.#check(!this.#ended, 0, 'there is something behind the end of the recording');
    this.#check(rest.readUInt32LE(0) === BLOCK_MARK, 0, 'no block begins here');
    const length = rest.readUInt32LE(4);
    this.#check(length <= MAX_BLOCK_BYTES, 4, `a block of ${length} bytes is too long`);
    const end = BLOCK_HEADER_BYTES + length;
    if (rest.length < end) return false;
    const checksum = crc32(rest.subarray(BLOCK_HEADER_BYTES, end));
    this.#check(checksum === rest.readUInt32LE(8), 8, 'the block is damaged: its checksum differs');
    const before = this.#count;
    this.#readRecords(rest, end);
    this.#check(this.#count - before === rest.readUInt32LE(12), 12, 'the block has another number of events');
    this.#advance(end);
    return true;
  }

  #readRecords(block: Buffer, end: number): void {
    for (let at = BLOCK_HEADER_BYTES; at < end; ) {
      const head = block[at]!;
      const code = head & CODE_BITS;
      this.#check(!this.#ended, at, 'there is something behind the end of the recording');
      if (code < RECORD.clock) at = this.#readEvent(block, at, end, code as TraceKind, head);
      else if (head === code || head === OTHER_DEVICE || head === OTHER_TAG) at = this.#readSetting(block, at, end, head);
      else throw this.#fault(at, `no record begins with ${head}`);
    }
  }

  /** @returns where the next record begins */
  #readSetting(block: Buffer, start: number, end: number, code: number): number {
    const { events } = this;
    const at = start + 1;
    const next = at + (WIDE_RECORDS.has(code) ? 8 : 4);
    this.#check(next <= end, start, 'the record goes beyond its block');
    if (code === RECORD.string) return this.#readString(block, at, end);
    const named = NAMED[code];
    if (named !== undefined) events[named] = this.#id(block, at);
    else if (code === RECORD.clock) events.time = Math.max(events.time, this.#size(block, at, 'a time'));
    else if (code === RECORD.stream) events.stream = this.#size(block, at, 'a stream');
    else if (code === RECORD.space) this.#tracker.enter(this.#id(block, at));
    else if (code === OTHER_DEVICE) {
      events.pool = block.readUInt32LE(at);
      if (events.pool > MAX_POOL) throw this.#fault(start, `${events.pool} is no pool`);
    } else if (code === RECORD.device) {
      events.device = block.readUInt32LE(at);
      if (events.device >= MAX_DEVICES) throw this.#fault(start, `${block.readInt32LE(at)} is no device`);
    } else {
      this.#check(this.#size(block, at, 'a count') === this.#count, at, `there are ${this.#count} events`);
      this.#ended = true;
    }
    return next;
  }

  /** @returns where the next record begins */
  #readEvent(block: Buffer, start: number, end: number, code: TraceKind, head: number): number {
    const isOther = (head & OTHER_RECORD) !== 0;
    const kind = isOther && code === TraceKind.free ? TraceKind.freeCompleted : code;
    const isSited = isOther && code === TraceKind.outOfMemory;
    const hasPointer = HAS_POINTER[kind]!;
    const hasSize = HAS_SIZE[kind]!;
    const far = (head & FAR_POINTER) !== 0;
    const large = (head & LARGE_SIZE) !== 0;
    const at = start + 1;
    const sizeAt = at + (hasPointer ? (far ? 8 : 4) : 0);
    const next = sizeAt + (hasSize ? (large ? 8 : 4) : 0);
    const other = kind !== code || isSited ? OTHER_RECORD : 0;
    const allowed = CODE_BITS | other | (hasPointer ? FAR_POINTER : 0) | (hasSize ? LARGE_SIZE : 0);
    if ((head & ~allowed) !== 0) throw this.#fault(start, `no record begins with ${head}`);
    this.#check(next <= end, start, 'the record goes beyond its block');
    if (hasPointer) this.#pointer = far ? this.#size(block, at, 'a pointer') : this.#pointer + block.readInt32LE(at);
    if (!isSize(this.#pointer)) throw this.#fault(at, `${this.#pointer} is no pointer`);
    const bytes = !hasSize ? 0 : large ? this.#size(block, sizeAt, 'a size') : block.readUInt32LE(sizeAt);
    this.#count++;
    if (kind === TraceKind.alloc) this.#tracker.alloc(this.#pointer, bytes, 0);
    else if (kind === TraceKind.free) this.#tracker.free(this.#pointer, 0);
    else if (isSited) this.events.refused(0, bytes);
    else this.events.other(kind, 0, bytes, hasPointer ? this.#pointer : 0);
    return next;
  }

  /** @returns where the next record begins */
  #readString(block: Buffer, at: number, end: number): number {
    const id = block.readUInt32LE(at);
    const textEnd = at + 8 + block.readUInt32LE(at + 4);
    this.#check(id !== 0 && id <= MAX_STRINGS, at, `${id} is no number of a text`);
    this.#check(textEnd <= end, at, 'the text goes beyond its block');
    this.#ids.set(id, this.events.strings.idOf(block.toString('utf8', at + 8, textEnd)));
    return textEnd;
  }

  #id(block: Buffer, at: number): number {
    const id = block.readUInt32LE(at);
    const known = this.#ids.get(id);
    if (known === 0 && id !== 0) throw this.#fault(at, `text ${id} is not known`);
    return known;
  }

  #size(block: Buffer, at: number, what: string): number {
    const value = block.readDoubleLE(at);
    if (!isSize(value)) throw this.#fault(at, `${value} is not ${what}`);
    return value;
  }

  #advance(bytes: number): void {
    this.#rest = this.#rest.subarray(bytes);
    this.#offset += bytes;
  }

  /** @param at - in `#rest` */
  #check(holds: boolean, at: number, reason: string): void {
    if (!holds) throw this.#fault(at, reason);
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
