import { idsColumn } from '../event-column.js';
import { type EventBatch, MAX_DEVICES, NS_PER_US, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { checkFile, FormatFault } from './format-fault.js';
import { LineReader } from './format-parser.js';
import { LivePointers } from './live-pointers.js';
import { isMissing, isSize, jsonObject, objectIn, type ParsedObject, shown, sizeIn, textIn } from './parsed-values.js';
import { ALL_COLUMNS, type ByteSink, type EventRows, TextWriter } from './trace-writer.js';

/** The names of the events that are instants, by kind. */
const INSTANT_NAMES: readonly string[] = [
  '',
  '',
  'native alloc',
  'native free',
  'swap',
  'cleanup',
  'out of memory',
  'free completed',
];
const HEADER = /^\{"displayTimeUnit":"ns","otherData":(\{.*\}),"traceEvents":\[$/;
const LAST_LINE = ']}';
/** The present version, and the first one, which wrote a site out wherever it stood. */
const VERSION = 'stowage 2';
const FIRST_VERSION = 'stowage 1';
/** A site that stands in a row of its own: its number, and its first frame for people. */
const SITE_NUMBER = /^#(\d+)(?: |$)/;
const SHOWN_CHARACTERS = 80;
const COMMA = 0x2c;

/** Tells whether a line is the first of a Perfetto trace that this library wrote. */
export function isPerfettoHeader(line: string): boolean {
  return HEADER.test(line);
}

/** Reads a Perfetto trace of this library: an event a line, as its writer does. Other programs' traces hold no such events. */
export class PerfettoParser extends LineReader {
  protected override readonly maxLineBytes = 64 * 1024;
  protected override closed = false;
  readonly #slotOfId = new LivePointers();
  /** The ids of sites by their numbers in the file. */
  readonly #sites = new Map<number, number>();
  #timed = true;
  #hasSiteRows = true;

  protected override parse(text: Buffer, start: number, end: number, line: number): void {
    const row = text.toString('utf8', start, text[end - 1] === COMMA ? end - 1 : end);
    checkFile(!this.closed, 'there is something behind the end of the trace');
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
    else if (textIn(event, 'ph') === 'M' && textIn(event, 'name') === 'site') {
      this.#sites.set(sizeIn(args, 'id', 'the number of the site'), this.#idIn(args, 'site'));
    }
  }

  #header(row: string): void {
    const json = HEADER.exec(row)?.[1];
    const about = json === undefined ? {} : jsonObject(json);
    const version = textIn(about, 'format');
    checkFile([VERSION, FIRST_VERSION].includes(version), 'this Perfetto trace was not written by this library');
    this.#hasSiteRows = version === VERSION;
    this.name = textIn(about, 'name') || undefined;
    this.#timed = textIn(about, 'clock') !== 'events';
  }

  #alloc(event: ParsedObject, args: ParsedObject, line: number): void {
    const { id } = event;
    if (!isSize(id) || this.#slotOfId.slotOf(id) !== undefined)
      throw new FormatFault(`the id ${shown(event, 'id')} is no new integer`);
    const [bytes, pointer] = placeIn(args);
    this.#enter(event, args);
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
    if (kind === TraceKind.outOfMemory) this.events.refused(line, bytes);
    else this.events.other(kind as typeof TraceKind.swap, line, bytes, pointer);
  }

  /** Sets the common properties of events. */
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
    events.pool = isMissing(args, 'pool') ? 0 : sizeIn(args, 'pool', 'the pool');
    events.step = this.#idIn(args, 'step');
    events.tag = this.#idIn(args, 'tag');
    events.site = this.#siteIn(args);
  }

  #siteIn(args: ParsedObject): number {
    const text = textIn(args, 'site');
    if (text === '' || !this.#hasSiteRows) return this.events.strings.idOf(text);
    const site = this.#sites.get(Number(SITE_NUMBER.exec(text)?.[1]));
    if (site === undefined) throw new FormatFault(`the site ${shown(args, 'site')} has no row before this one`);
    return site;
  }

  #idIn(args: ParsedObject, key: string): number {
    return this.events.strings.idOf(textIn(args, key));
  }
}

function placeIn(args: ParsedObject): [bytes: number, pointer: number] {
  return [sizeIn(args, 'bytes', 'the size'), sizeIn(args, 'pointer', 'the pointer')];
}

/**
 * Writes the JSON trace format of Chrome and Perfetto: each block an async slice, the rest instants, and counters of live,
 * reserved and cached bytes. An event a line. A trace without times gets a microsecond for each event. A site is written out once, in
 * a row before its first block; blocks have its number and first frame.
 */
export class PerfettoWriter extends TextWriter {
  override readonly columns = ALL_COLUMNS;
  protected override readonly rows: EventRows<string> = {
    [TraceKind.alloc]: (batch, i) => {
      const slot = batch.slots[i]!;
      const bytes = batch.bytes[i]!;
      const tag = batch.tags?.[i] ?? 0;
      const id = this.#nextId++;
      this.#idOfSlot.set(slot, id);
      this.#tagOfSlot.set(slot, tag);
      this.#live += bytes;
      const args = { pointer: this.#addresses.take(batch, i), bytes, ...namesOf(batch, i), ...this.#siteOf(batch, i) };
      return rowOf({ ph: 'b', cat: 'block', id, name: blockName(batch, tag), ...this.#placeOf(batch, i), args });
    },
    [TraceKind.free]: (batch, i) => {
      const slot = ~batch.slots[i]!;
      const id = this.#idOfSlot.get(slot);
      const name = blockName(batch, this.#tagOfSlot.get(slot));
      this.#live -= batch.bytes[i]!;
      this.#addresses.give(batch, i);
      return rowOf({ ph: 'e', cat: 'block', id, name, ...this.#placeOf(batch, i), args: namesOf(batch, i) });
    },
    [TraceKind.nativeAlloc]: (batch, i) => {
      this.#reserved += batch.bytes[i]!;
      return this.#instant(batch, i, TraceKind.nativeAlloc);
    },
    [TraceKind.nativeFree]: (batch, i) => {
      this.#reserved -= batch.bytes[i]!;
      return this.#instant(batch, i, TraceKind.nativeFree);
    },
    [TraceKind.swap]: (batch, i) => this.#instant(batch, i, TraceKind.swap),
    [TraceKind.cleanup]: (batch, i) => this.#instant(batch, i, TraceKind.cleanup),
    [TraceKind.outOfMemory]: (batch, i) => this.#instant(batch, i, TraceKind.outOfMemory),
    [TraceKind.freeCompleted]: (batch, i) => this.#instant(batch, i, TraceKind.freeCompleted),
  };
  readonly #addresses = new BlockAddresses(true);
  readonly #idOfSlot = idsColumn();
  readonly #tagOfSlot = idsColumn();
  /** What stands for each site in rows of blocks. */
  readonly #shownSites = new Map<number, string>();
  #timed: boolean | undefined;
  #events = 0;
  #nextId = 1;
  #live = 0;
  #reserved = 0;
  /** The time of the event that is written; -1 before the first. */
  #ns = -1;

  constructor(
    sink: ByteSink,
    readonly name: string,
  ) {
    super(sink);
  }

  override end(): void {
    if (this.#timed === undefined) this.#begin(true);
    this.#writeCounters();
    this.add('\n]}\n');
    super.end();
  }

  protected override event(batch: EventBatch, i: number, kind: TraceKind): undefined {
    if (this.#timed === undefined) this.#begin(batch.times !== undefined);
    // A trace whose first events are at 0 may have its times from the second batch on: 0 is right for those.
    const ns = this.#timed ? (batch.times?.[i] ?? 0) : this.#events * NS_PER_US;
    this.#events++;
    if (ns !== this.#ns) this.#writeCounters();
    this.#ns = ns;
    super.event(batch, i, kind);
  }

  #begin(timed: boolean): void {
    this.#timed = timed;
    const about = { format: VERSION, name: this.name, clock: timed ? 'ns' : 'events' };
    this.add(`{"displayTimeUnit":"ns","otherData":${JSON.stringify(about)},"traceEvents":[\n`);
    this.add(JSON.stringify({ ph: 'M', pid: 1, name: 'process_name', args: { name: this.name } }));
  }

  #instant(batch: EventBatch, i: number, kind: TraceKind): string {
    const args = {
      pointer: batch.pointers?.[i] ?? 0,
      bytes: batch.bytes[i]!,
      ...namesOf(batch, i),
      ...this.#siteOf(batch, i),
    };
    return rowOf({ ph: 'i', s: 'p', cat: 'memory', name: INSTANT_NAMES[kind], ...this.#placeOf(batch, i), args });
  }

  /** What stands for the site of an event; before the first one of a site its row is written. */
  #siteOf({ sites, strings }: EventBatch, i: number): { readonly site?: string } {
    const id = sites?.[i] ?? 0;
    if (id === 0) return {};
    let site = this.#shownSites.get(id);
    if (site === undefined) {
      const text = strings.get(id);
      const [first = ''] = text.split('\n');
      const number = this.#shownSites.size + 1;
      site = `#${number} ${first.slice(0, SHOWN_CHARACTERS)}`;
      this.#shownSites.set(id, site);
      this.add(rowOf({ ph: 'M', pid: 1, name: 'site', args: { id: number, site: text } }));
    }
    return { site };
  }

  #placeOf({ devices }: EventBatch, i: number): { readonly [key: string]: number } {
    return { pid: 1, tid: devices?.[i] ?? 0, ts: this.#ns / NS_PER_US };
  }

  /** Writes the counters after the last event of one time, before the first of another. */
  #writeCounters(): void {
    if (this.#ns < 0) return;
    const cached = Math.max(0, this.#reserved - this.#live);
    const counters = this.#reserved > 0 ? { live: this.#live, cached, reserved: this.#reserved } : { live: this.#live };
    for (const [name, bytes] of Object.entries(counters)) {
      this.add(rowOf({ ph: 'C', pid: 1, name: `${name} bytes`, ts: this.#ns / NS_PER_US, args: { bytes } }));
    }
  }
}

/** The stream and the names of an event; what is 0 or '' is left out. */
function namesOf(batch: EventBatch, i: number): { readonly [key: string]: string | number } {
  const named = (key: string, id: number | undefined) => (id ? { [key]: batch.strings.get(id) } : {});
  return {
    ...(batch.streams?.[i] ? { stream: batch.streams[i] } : {}),
    ...(batch.pools?.[i] ? { pool: batch.pools[i] } : {}),
    ...named('manager', batch.managers?.[i]),
    ...named('step', batch.steps?.[i]),
    ...named('tag', batch.tags?.[i]),
    ...named('space', batch.spaces?.[i]),
  };
}

function rowOf(event: object): string {
  return `,\n${JSON.stringify(event)}`;
}

function blockName(batch: EventBatch, tag: number): string {
  return batch.strings.get(tag) || 'block';
}
