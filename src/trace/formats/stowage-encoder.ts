import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import {
  BLOCK_HEADER_BYTES,
  BLOCK_MARK,
  FAR_POINTER,
  FILE_HEADER_BYTES,
  LARGE_SIZE,
  MAGIC,
  MAX_STRING_BYTES,
  MAX_STRINGS,
  OTHER_RECORD,
  RECORD,
  type StowageHeader,
  VERSION,
  WIDE_RECORDS,
} from './stowage-format.js';
import { ALL_COLUMNS, type ByteSink, type EventRows, EventWriter } from './trace-writer.js';

const PAYLOAD_BYTES = 64 * 1024;
/** The longest record except texts. */
const RECORD_BYTES = 17;
const LIMIT = BLOCK_HEADER_BYTES + PAYLOAD_BYTES - RECORD_BYTES;
const UINT32_END = 2 ** 32;
const CODES = OTHER_RECORD + RECORD.end;
const POOL = RECORD.device | OTHER_RECORD;
const STEP = RECORD.tag | OTHER_RECORD;
/** A program that records nothing does not load zlib, and the streams that come with it. */
const crc32 = (bytes: Uint8Array): number => process.getBuiltinModule('node:zlib').crc32(bytes);

/**
 * Writes events as this library's binary trace, block by block. Common properties are set first and apply until they
 * change. Cost: O(1) an event, no garbage; a block takes one checksum and one call of `out`.
 */
export class StowageEncoder {
  /** Events so far. */
  events = 0;
  readonly #buffer = new Uint8Array(BLOCK_HEADER_BYTES + PAYLOAD_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #strings = new Map<string, number>();
  /** The current numbers, by code. */
  readonly #numbers = new Float64Array(CODES);
  /** The current names, by code. */
  readonly #names: string[] = new Array<string>(CODES).fill('');
  #at = BLOCK_HEADER_BYTES;
  #blockEvents = 0;
  #pointer = 0;

  /** @param out - receives the file's bytes in order; they are overwritten after it returns */
  constructor(
    header: StowageHeader,
    readonly out: (bytes: Uint8Array) => void,
  ) {
    const json = new TextEncoder().encode(JSON.stringify(header));
    const file = new Uint8Array(FILE_HEADER_BYTES + json.length);
    const view = new DataView(file.buffer);
    file.set(MAGIC);
    view.setUint32(8, VERSION, true);
    view.setUint32(12, json.length, true);
    view.setUint32(16, crc32(json), true);
    file.set(json, FILE_HEADER_BYTES);
    out(file);
  }

  /** Sets the time (nanoseconds since the recording began), the device, the stream or the pool of the events that follow. */
  setNumber(code: typeof RECORD.clock | typeof RECORD.device | typeof RECORD.stream | typeof POOL, value: number): void {
    if (value !== this.#numbers[code]) this.#writeNumber(code, value);
  }

  /** Sets the manager, the step or the space of the events that follow, or the tag or the site of the allocations. */
  setName(
    code: typeof RECORD.manager | typeof RECORD.tag | typeof RECORD.site | typeof RECORD.space | typeof STEP,
    text: string,
  ): void {
    if (text !== this.#names[code]) this.#uint32(code, this.#idOf(text));
    this.#names[code] = text;
  }

  /** Adds an event that has a pointer and a size. */
  sized(kind: number, pointer: number, bytes: number): void {
    const at = this.#at;
    const step = pointer - this.#pointer;
    if (at > LIMIT || step !== (step | 0) || bytes >= UINT32_END) {
      this.#sizedLong(kind, pointer, bytes);
      return;
    }
    this.#pointer = pointer;
    const view = this.#view;
    view.setUint8(at, kind);
    view.setInt32(at + 1, step, true);
    view.setUint32(at + 5, bytes, true);
    this.#at = at + 9;
    this.#blockEvents++;
  }

  /** Adds the free of a block. */
  free(pointer: number): void {
    const at = this.#at;
    const step = pointer - this.#pointer;
    if (at > LIMIT || step !== (step | 0)) {
      this.#head(TraceKind.free, pointer, 0);
      return;
    }
    this.#pointer = pointer;
    const view = this.#view;
    view.setUint8(at, TraceKind.free);
    view.setInt32(at + 1, step, true);
    this.#at = at + 5;
    this.#blockEvents++;
  }

  /** Adds a swap or a cleanup. */
  mark(kind: typeof TraceKind.swap | typeof TraceKind.cleanup): void {
    this.#code(kind);
    this.#blockEvents++;
  }

  /** Adds the completion of a free. */
  completed(pointer: number, bytes: number): void {
    this.sized(TraceKind.free | OTHER_RECORD, pointer, bytes);
  }

  /** Adds an allocation that was refused. @param sited - whether the present tag and site are its */
  outOfMemory(bytes: number, sited = false): void {
    this.#code(TraceKind.outOfMemory | (sited ? OTHER_RECORD : 0) | (bytes < UINT32_END ? 0 : LARGE_SIZE));
    this.#size(bytes);
    this.#blockEvents++;
  }

  /** Writes the current block, unless it is empty. */
  flush(): void {
    const end = this.#at;
    if (end === BLOCK_HEADER_BYTES) return;
    const events = this.#blockEvents;
    this.#at = BLOCK_HEADER_BYTES;
    this.#blockEvents = 0;
    this.events += events;
    const view = this.#view;
    view.setUint32(0, BLOCK_MARK, true);
    view.setUint32(4, end - BLOCK_HEADER_BYTES, true);
    view.setUint32(8, crc32(this.#buffer.subarray(BLOCK_HEADER_BYTES, end)), true);
    view.setUint32(12, events, true);
    this.out(this.#buffer.subarray(0, end));
  }

  /** Writes the record that ends a recording, and the last block. */
  end(): void {
    this.#double(RECORD.end, this.events + this.#blockEvents);
    this.flush();
  }

  /** The rare case of {@link sized}, in a function of its own, so that V8 inlines the common one. */
  #sizedLong(kind: number, pointer: number, bytes: number): void {
    this.#head(kind, pointer, bytes < UINT32_END ? 0 : LARGE_SIZE);
    this.#size(bytes);
  }

  /** Begins an event: its first byte and its pointer. */
  #head(kind: number, pointer: number, flags: number): void {
    const step = pointer - this.#pointer;
    const near = step === (step | 0);
    this.#pointer = pointer;
    if (near) this.#uint32(kind | flags, step);
    else this.#double(kind | flags | FAR_POINTER, pointer);
    this.#blockEvents++;
  }

  #size(bytes: number): void {
    const small = bytes < UINT32_END;
    if (small) this.#view.setUint32(this.#at, bytes, true);
    else this.#view.setFloat64(this.#at, bytes, true);
    this.#at += small ? 4 : 8;
  }

  #writeNumber(code: number, value: number): void {
    this.#numbers[code] = value;
    if (WIDE_RECORDS.has(code)) this.#double(code, value);
    else this.#uint32(code, value);
  }

  #double(code: number, value: number): void {
    this.#code(code);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  /** Writes a code and 32 bits; those of a negative number are its two's complement. */
  #uint32(code: number, value: number): void {
    this.#code(code);
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
  }

  /** Begins a record, in a block that has room for it. */
  #code(code: number): void {
    if (this.#at > LIMIT) this.flush();
    this.#view.setUint8(this.#at++, code);
  }

  /** The number of a text in this file, written before it is used. */
  #idOf(text: string): number {
    if (text === '') return 0;
    const known = this.#strings.get(text);
    if (known !== undefined) return known;
    if (this.#strings.size >= MAX_STRINGS) this.#strings.clear();
    const id = this.#strings.size + 1;
    const bytes = new Uint8Array(MAX_STRING_BYTES);
    // Cuts at a character's border.
    const { written } = new TextEncoder().encodeInto(text, bytes);
    if (this.#at + 9 + written > this.#buffer.length) this.flush();
    this.#view.setUint8(this.#at, RECORD.string);
    this.#view.setUint32(this.#at + 1, id, true);
    this.#view.setUint32(this.#at + 5, written, true);
    this.#buffer.set(bytes.subarray(0, written), this.#at + 9);
    this.#at += 9 + written;
    this.#strings.set(text, id);
    return id;
  }
}

/** Writes this library's binary trace, which holds everything. */
export class StowageWriter extends EventWriter {
  override readonly columns = ALL_COLUMNS;
  protected override readonly rows: EventRows<void> = {
    [TraceKind.alloc]: (batch, i) => {
      this.#request(batch, i);
      this.#encoder.sized(TraceKind.alloc, this.#addresses.take(batch, i), batch.bytes[i]!);
    },
    [TraceKind.free]: (batch, i) => this.#encoder.free(this.#addresses.give(batch, i)),
    [TraceKind.nativeAlloc]: ({ pointers, bytes }, i) =>
      this.#encoder.sized(TraceKind.nativeAlloc, pointers?.[i] ?? 0, bytes[i]!),
    [TraceKind.nativeFree]: ({ pointers, bytes }, i) => this.#encoder.sized(TraceKind.nativeFree, pointers?.[i] ?? 0, bytes[i]!),
    [TraceKind.swap]: () => this.#encoder.mark(TraceKind.swap),
    [TraceKind.cleanup]: () => this.#encoder.mark(TraceKind.cleanup),
    [TraceKind.outOfMemory]: (batch, i) => {
      const sited = (batch.tags?.[i] ?? 0) !== 0 || (batch.sites?.[i] ?? 0) !== 0;
      if (sited) this.#request(batch, i);
      this.#encoder.outOfMemory(batch.bytes[i]!, sited);
    },
    [TraceKind.freeCompleted]: ({ pointers, bytes }, i) => this.#encoder.completed(pointers?.[i] ?? 0, bytes[i]!),
  };
  readonly #encoder: StowageEncoder;
  readonly #addresses = new BlockAddresses(true);

  constructor(sink: ByteSink, name: string) {
    super();
    this.#encoder = new StowageEncoder({ name }, (bytes) => sink.write(bytes));
  }

  override end(): void {
    this.#encoder.end();
  }

  protected override event(batch: EventBatch, i: number, kind: TraceKind): void {
    const { times, devices, streams, managers, pools, steps, spaces, strings } = batch;
    this.#encoder.setNumber(RECORD.clock, times?.[i] ?? 0);
    this.#encoder.setName(RECORD.manager, strings.get(managers?.[i] ?? 0));
    this.#encoder.setName(RECORD.space, strings.get(spaces?.[i] ?? 0));
    this.#encoder.setNumber(RECORD.device, devices?.[i] ?? 0);
    this.#encoder.setNumber(RECORD.stream, streams?.[i] ?? 0);
    this.#encoder.setNumber(POOL, pools?.[i] ?? 0);
    this.#encoder.setName(STEP, strings.get(steps?.[i] ?? 0));
    super.event(batch, i, kind);
  }

  /** Says what the program did for an allocation or a refusal. */
  #request({ tags, sites, strings }: EventBatch, i: number): void {
    this.#encoder.setName(RECORD.tag, strings.get(tags?.[i] ?? 0));
    this.#encoder.setName(RECORD.site, strings.get(sites?.[i] ?? 0));
  }
}
