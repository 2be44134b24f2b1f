import { crc32 } from 'node:zlib';
import { TraceKind } from '../trace-events.js';
import {
  BLOCK_HEADER_BYTES,
  BLOCK_MARK,
  CLOCK,
  DEVICE,
  END,
  FAR_POINTER,
  FILE_HEADER_BYTES,
  LARGE_SIZE,
  MAGIC,
  MANAGER,
  MAX_STRING_BYTES,
  MAX_STRINGS,
  SITE,
  SPACE,
  STREAM,
  STRING,
  type StowageHeader,
  TAG,
  VERSION,
} from './stowage-format.js';

const PAYLOAD_BYTES = 64 * 1024;
/** The longest record but for texts. */
const RECORD_BYTES = 17;
const LIMIT = BLOCK_HEADER_BYTES + PAYLOAD_BYTES - RECORD_BYTES;
const UINT32_END = 2 ** 32;

/**
 * Writes events as this library's binary trace, block by block. What events have in common is set beforehand and holds
 * until it changes. Cost: O(1) an event, no garbage; a block takes one checksum and one call of `out`.
 */
export class StowageEncoder {
  /** Events so far. */
  events = 0;
  readonly #out: (bytes: Uint8Array) => void;
  readonly #buffer = new Uint8Array(BLOCK_HEADER_BYTES + PAYLOAD_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #strings = new Map<string, number>();
  #at = BLOCK_HEADER_BYTES;
  #blockEvents = 0;
  #pointer = 0;
  #time = 0;
  #device = 0;
  #stream = 0;
  #manager = '';
  #tag = '';
  #site = '';
  #space = '';

  /** @param out - gets the file's bytes in order; they are overwritten when it returns */
  constructor(header: StowageHeader, out: (bytes: Uint8Array) => void) {
    this.#out = out;
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

  /** Bytes that wait for their block to be full. */
  get waiting(): number {
    return this.#at - BLOCK_HEADER_BYTES;
  }

  /** Sets the time of the events that follow, in nanoseconds since the recording began. */
  setTime(nanoseconds: number): void {
    if (nanoseconds === this.#time) return;
    this.#time = nanoseconds;
    this.#double(CLOCK, nanoseconds);
  }

  setDevice(device: number): void {
    if (device === this.#device) return;
    this.#device = device;
    this.#room();
    this.#view.setUint8(this.#at, DEVICE);
    this.#view.setInt32(this.#at + 1, device, true);
    this.#at += 5;
  }

  setStream(stream: number): void {
    if (stream === this.#stream) return;
    this.#stream = stream;
    this.#double(STREAM, stream);
  }

  setManager(name: string): void {
    if (name === this.#manager) return;
    this.#manager = name;
    this.#name(MANAGER, name);
  }

  setTag(tag: string): void {
    if (tag === this.#tag) return;
    this.#tag = tag;
    this.#name(TAG, tag);
  }

  setSite(site: string): void {
    if (site === this.#site) return;
    this.#site = site;
    this.#name(SITE, site);
  }

  setSpace(space: string): void {
    if (space === this.#space) return;
    this.#space = space;
    this.#name(SPACE, space);
  }

  /** Adds an event that has a pointer and a size. */
  sized(kind: TraceKind, pointer: number, bytes: number): void {
    this.#room();
    const view = this.#view;
    let at = this.#at;
    const step = pointer - this.#pointer;
    this.#pointer = pointer;
    const near = step === (step | 0);
    const small = bytes < UINT32_END;
    view.setUint8(at, kind | (near ? 0 : FAR_POINTER) | (small ? 0 : LARGE_SIZE));
    if (near) {
      view.setInt32(at + 1, step, true);
      at += 5;
    } else {
      view.setFloat64(at + 1, pointer, true);
      at += 9;
    }
    if (small) {
      view.setUint32(at, bytes, true);
      at += 4;
    } else {
      view.setFloat64(at, bytes, true);
      at += 8;
    }
    this.#at = at;
    this.#blockEvents++;
  }

  /** Adds the free of a block. */
  free(pointer: number): void {
    this.#room();
    const at = this.#at;
    const step = pointer - this.#pointer;
    this.#pointer = pointer;
    if (step === (step | 0)) {
      this.#view.setUint8(at, TraceKind.free);
      this.#view.setInt32(at + 1, step, true);
      this.#at = at + 5;
    } else {
      this.#view.setUint8(at, TraceKind.free | FAR_POINTER);
      this.#view.setFloat64(at + 1, pointer, true);
      this.#at = at + 9;
    }
    this.#blockEvents++;
  }

  /** Adds a swap or a cleanup. */
  mark(kind: typeof TraceKind.swap | typeof TraceKind.cleanup): void {
    this.#room();
    this.#view.setUint8(this.#at++, kind);
    this.#blockEvents++;
  }

  /** Adds an allocation that was refused. */
  outOfMemory(bytes: number): void {
    this.#room();
    const small = bytes < UINT32_END;
    this.#view.setUint8(this.#at, TraceKind.outOfMemory | (small ? 0 : LARGE_SIZE));
    if (small) this.#view.setUint32(this.#at + 1, bytes, true);
    else this.#view.setFloat64(this.#at + 1, bytes, true);
    this.#at += small ? 5 : 9;
    this.#blockEvents++;
  }

  /** Hands over the block that has been begun, if it has anything in it. */
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
    this.#out(this.#buffer.subarray(0, end));
  }

  /** Says that nothing is missing, and hands everything over. */
  end(): void {
    this.#double(END, this.events + this.#blockEvents);
    this.flush();
  }

  #double(code: number, value: number): void {
    this.#room();
    this.#view.setUint8(this.#at, code);
    this.#view.setFloat64(this.#at + 1, value, true);
    this.#at += 9;
  }

  #name(code: number, text: string): void {
    const id = this.#idOf(text);
    this.#room();
    this.#view.setUint8(this.#at, code);
    this.#view.setUint32(this.#at + 1, id, true);
    this.#at += 5;
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
    this.#view.setUint8(this.#at, STRING);
    this.#view.setUint32(this.#at + 1, id, true);
    this.#view.setUint32(this.#at + 5, written, true);
    this.#buffer.set(bytes.subarray(0, written), this.#at + 9);
    this.#at += 9 + written;
    this.#strings.set(text, id);
    return id;
  }

  #room(): void {
    if (this.#at > LIMIT) this.flush();
  }
}
