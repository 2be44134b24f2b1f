import { MAX_DEVICES, TraceKind } from '../trace-events.js';
import { FormatFault } from './format-fault.js';
import { LineReader } from './line-reader.js';
import { LivePointers } from './live-pointers.js';
import { isMissing, isSize, jsonObject, objectIn, type ParsedObject, shown, sizeIn, textIn } from './parsed-values.js';
import { INSTANT_NAMES } from './perfetto-writer.js';

const NS_PER_US = 1000;
const HEADER = /^\{"displayTimeUnit":"ns","otherData":(\{.*\}),"traceEvents":\[$/;
const LAST_LINE = ']}';
const COMMA = 0x2c;

/** Tells whether a line is the first of a Perfetto trace that this library wrote. */
export function isPerfettoHeader(line: string): boolean {
  return HEADER.test(line);
}

/** Reads a Perfetto trace of this library: an event a line, as its writer does. Other programs' traces hold no such events. */
export class PerfettoParser extends LineReader {
  override readonly format = 'perfetto';
  protected override readonly maxLineBytes = 64 * 1024;
  protected override closed = false;
  readonly #slotOfId = new LivePointers();
  #timed = true;

  protected override parse(text: Buffer, start: number, end: number, line: number): void {
    const row = text.toString('utf8', start, text[end - 1] === COMMA ? end - 1 : end);
    if (this.closed) throw new FormatFault('there is something behind the end of the trace');
    this.closed = row === LAST_LINE;
    if (line === 1) this.#header(row);
    else if (!this.closed) this.#event(jsonObject(row), line);
  }

  #event(event: ParsedObject, line: number): void {
    const args = objectIn(event, 'args');
    const what = `${textIn(event, 'ph')} ${textIn(event, 'cat')}`;
    if (what === 'b block') this.#alloc(event, args, line);
    else if (what === 'e block') this.#free(event, args, line);
    else if (what === 'i memory') this.#instant(event, args, line);
  }

  #header(row: string): void {
    const json = HEADER.exec(row)?.[1];
    const about = json === undefined ? {} : jsonObject(json);
    if (textIn(about, 'format') !== 'stowage 1') throw new FormatFault('this Perfetto trace was not written by this library');
    this.name = textIn(about, 'name') || undefined;
    this.#timed = textIn(about, 'clock') !== 'events';
  }

  #alloc(event: ParsedObject, args: ParsedObject, line: number): void {
    const { id } = event;
    if (!isSize(id) || this.#slotOfId.slotOf(id) !== undefined)
      throw new FormatFault(`the id ${shown(event, 'id')} is no new integer`);
    const [bytes, pointer] = placeIn(args);
    this.#enter(event, args);
    this.events.tag = this.#idIn(args, 'tag');
    this.events.site = this.#idIn(args, 'site');
    this.#slotOfId.add(id, this.events.alloc(bytes, line, pointer));
  }

  #free(event: ParsedObject, args: ParsedObject, line: number): void {
    const id = event['id'] as number;
    const slot = this.#slotOfId.slotOf(id);
    if (slot === undefined) throw new FormatFault(`the id ${shown(event, 'id')} is that of no live block`);
    this.#enter(event, args);
    this.#slotOfId.free(id);
    this.events.free(slot, line);
  }

  #instant(event: ParsedObject, args: ParsedObject, line: number): void {
    const kind = INSTANT_NAMES.indexOf(textIn(event, 'name'), TraceKind.nativeAlloc);
    if (kind < 0) throw new FormatFault(`the event ${shown(event, 'name')} is not known`);
    const [bytes, pointer] = placeIn(args);
    this.#enter(event, args);
    this.events.other(kind as typeof TraceKind.swap, line, bytes, pointer);
  }

  /** Sets what events have in common. */
  #enter(event: ParsedObject, args: ParsedObject): void {
    const { events } = this;
    const us = event['ts'];
    const ns = typeof us === 'number' ? Math.round(us * NS_PER_US) : undefined;
    const device = isMissing(event, 'tid') ? 0 : event['tid'];
    if (!isSize(ns)) throw new FormatFault(`the time is ${shown(event, 'ts')}, no number of microseconds`);
    if (!isSize(device) || device >= MAX_DEVICES) {
      throw new FormatFault(`the device is ${shown(event, 'tid')}, no integer below ${MAX_DEVICES}`);
    }
    if (this.#timed) events.time = Math.max(events.time, ns);
    events.device = device;
    events.stream = isMissing(args, 'stream') ? 0 : sizeIn(args, 'stream', 'the stream');
    events.manager = this.#idIn(args, 'manager');
    events.space = this.#idIn(args, 'space');
  }

  #idIn(args: ParsedObject, key: string): number {
    return this.events.strings.idOf(textIn(args, key));
  }
}

function placeIn(args: ParsedObject): [bytes: number, pointer: number] {
  return [sizeIn(args, 'bytes', 'the size'), sizeIn(args, 'pointer', 'the pointer')];
}
