import type { EventBuilder } from '../event-builder.js';
import { MAX_DEVICES, TraceKind } from '../trace-events.js';
import { quote } from './integer-scanner.js';
import { isMissing, type JsonObject, jsonObject, objectIn, shown, sizeIn, textIn } from './json-line.js';
import type { LineParser } from './line-parser.js';
import { LivePointers } from './live-pointers.js';
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
export class PerfettoParser implements LineParser {
  readonly format = 'perfetto';
  readonly maxLineBytes = 64 * 1024;
  name: string | undefined;
  closed = false;
  readonly #events: EventBuilder;
  readonly #slotOfId = new LivePointers();
  #timed = true;

  constructor(events: EventBuilder) {
    this.#events = events;
  }

  parse(text: Buffer, start: number, end: number, line: number): string | undefined {
    const row = text.toString('utf8', start, text[end - 1] === COMMA ? end - 1 : end);
    if (line === 1) return this.#header(row);
    if (this.closed) return 'there is something behind the end of the trace';
    if (row === LAST_LINE) {
      this.closed = true;
      return undefined;
    }
    const event = jsonObject(row);
    if (event === undefined) return `${quote(row)} is no JSON object`;
    switch (textIn(event, 'ph')) {
      case 'b':
        return textIn(event, 'cat') === 'block' ? this.#alloc(event, line) : undefined;
      case 'e':
        return textIn(event, 'cat') === 'block' ? this.#free(event, line) : undefined;
      case 'i':
        return textIn(event, 'cat') === 'memory' ? this.#instant(event, line) : undefined;
      default:
        return undefined;
    }
  }

  #header(row: string): string | undefined {
    const about = jsonObject(HEADER.exec(row)?.[1] ?? '');
    if (about === undefined || textIn(about, 'format') !== 'stowage 1')
      return 'this Perfetto trace was not written by this library';
    this.name = textIn(about, 'name') || undefined;
    this.#timed = textIn(about, 'clock') !== 'events';
    return undefined;
  }

  #alloc(event: JsonObject, line: number): string | undefined {
    const args = objectIn(event, 'args');
    const id = sizeIn(event, 'id');
    const bytes = sizeIn(args, 'bytes');
    const pointer = sizeIn(args, 'pointer');
    if (id === undefined || this.#slotOfId.slotOf(id) !== undefined) return `the id ${shown(event, 'id')} is no new integer`;
    if (bytes === undefined) return `the size is ${shown(args, 'bytes')}, no integer below 2^53`;
    if (pointer === undefined) return `the pointer is ${shown(args, 'pointer')}, no integer below 2^53`;
    const reason = this.#enter(event, args);
    if (reason !== undefined) return reason;
    this.#events.tag = this.#idIn(args, 'tag');
    this.#events.site = this.#idIn(args, 'site');
    this.#slotOfId.add(id, this.#events.alloc(bytes, line, pointer));
    return undefined;
  }

  #free(event: JsonObject, line: number): string | undefined {
    const id = sizeIn(event, 'id');
    const slot = id === undefined ? undefined : this.#slotOfId.slotOf(id);
    if (id === undefined || slot === undefined) return `the id ${shown(event, 'id')} is that of no live block`;
    const reason = this.#enter(event, objectIn(event, 'args'));
    if (reason !== undefined) return reason;
    this.#slotOfId.free(id);
    this.#events.free(slot, line);
    return undefined;
  }

  #instant(event: JsonObject, line: number): string | undefined {
    const args = objectIn(event, 'args');
    const kind = INSTANT_NAMES.indexOf(textIn(event, 'name'), TraceKind.nativeAlloc);
    const bytes = sizeIn(args, 'bytes');
    const pointer = sizeIn(args, 'pointer');
    if (kind < 0) return `the event ${shown(event, 'name')} is not known`;
    if (bytes === undefined) return `the size is ${shown(args, 'bytes')}, no integer below 2^53`;
    if (pointer === undefined) return `the pointer is ${shown(args, 'pointer')}, no integer below 2^53`;
    const reason = this.#enter(event, args);
    if (reason !== undefined) return reason;
    if (kind === TraceKind.nativeAlloc) this.#events.nativeAlloc(bytes, line, pointer);
    else if (kind === TraceKind.nativeFree) this.#events.nativeFree(bytes, line, pointer);
    else this.#events.note(kind as typeof TraceKind.swap, line, bytes);
    return undefined;
  }

  /** Sets what events have in common. @returns why it cannot */
  #enter(event: JsonObject, args: JsonObject): string | undefined {
    const events = this.#events;
    const us = event['ts'];
    const device = isMissing(event, 'tid') ? 0 : sizeIn(event, 'tid');
    const stream = isMissing(args, 'stream') ? 0 : sizeIn(args, 'stream');
    const ns = typeof us === 'number' ? Math.round(us * NS_PER_US) : Number.NaN;
    if (!Number.isSafeInteger(ns) || ns < 0) return `the time is ${shown(event, 'ts')}, no number of microseconds`;
    if (device === undefined || device >= MAX_DEVICES)
      return `the device is ${shown(event, 'tid')}, no integer below ${MAX_DEVICES}`;
    if (stream === undefined) return `the stream is ${shown(args, 'stream')}, no integer below 2^53`;
    if (this.#timed) events.time = Math.max(events.time, ns);
    events.device = device;
    events.stream = stream;
    events.manager = this.#idIn(args, 'manager');
    events.space = this.#idIn(args, 'space');
    return undefined;
  }

  #idIn(args: JsonObject, key: string): number {
    return this.#events.strings.idOf(textIn(args, key));
  }
}
