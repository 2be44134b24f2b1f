import { type EventBatch, NS_PER_US, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { BlockTracker } from './block-tracker.js';
import { FormatFault, quote } from './format-fault.js';
import { LineReader } from './format-parser.js';
import { type ByteSink, type ColumnName, type EventRows, TextWriter } from './trace-writer.js';

const RMM_HEADER = 'Thread,Time,Action,Pointer,Size,Stream';
const US_PER_DAY = 86_400e6;
const TIME = /^(\d{1,2}):([0-5]\d):([0-5]\d)(?:[.:](\d{1,6}))?$/;
const EXPECTED = 'a line reads "<thread>,<hh:mm:ss.us>,allocate|free|allocate failure,<pointer>,<bytes>,<stream>"';

/** Tells whether a line is the header of an RMM log. */
export function isRmmHeader(line: string): boolean {
  return line.replace(/\r$/, '') === RMM_HEADER;
}

/** Reads the CSV log of RMM's logging adaptor. Times count from its first line; an earlier one belongs to the next day. */
export class RmmParser extends LineReader {
  readonly #tracker = new BlockTracker(this.events);
  #firstUs: number | undefined;
  #lastUs = 0;
  #days = 0;

  protected override parse(text: Buffer, start: number, end: number, line: number): void {
    const row = text.toString('latin1', start, end).replace(/\r$/, '');
    const cells = row.split(',');
    if (line === 1 && !isRmmHeader(row)) throw new FormatFault(`${quote(row)} is not the header "${RMM_HEADER}"`);
    if (line === 1) return;
    if (cells.length !== 6) throw new FormatFault(`${quote(row)} is no row of a log: ${EXPECTED}`);
    const [thread, time, action, pointerText, sizeText, streamText] = cells as [string, string, string, string, string, string];
    if (!/^\d+$/.test(thread)) throw new FormatFault(`the thread ${quote(thread)} is not an integer`);
    const pointer = pointerText === '(nil)' ? 0 : numberOf(pointerText, 16, 'the pointer', 'no address below 2^53');
    const bytes = numberOf(sizeText, 10, 'the size', 'not an integer below 2^53');
    this.events.stream = numberOf(streamText, 16, 'the stream', 'no number below 2^53');
    this.#tick(time);
    if (action === 'free') this.#tracker.free(pointer, line);
    else if (action === 'allocate failure') this.events.other(TraceKind.outOfMemory, line, bytes);
    else if (action !== 'allocate') throw new FormatFault(`the action ${quote(action)} is not known: ${EXPECTED}`);
    else if (pointer === 0 && bytes > 0) throw new FormatFault(`an allocation of ${bytes} bytes has no pointer`);
    else this.#tracker.alloc(pointer, bytes, line);
  }

  #tick(time: string): void {
    const [, hours, minutes, seconds, fraction = ''] = TIME.exec(time) ?? [];
    if (hours === undefined || Number(hours) > 23) throw new FormatFault(`the time ${quote(time)} is not hh:mm:ss.us`);
    const us = (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1e6 + Number(fraction.padEnd(6, '0'));
    // Threads may write out of order: only a step back of half a day is midnight.
    if (us < this.#lastUs - US_PER_DAY / 2) this.#days++;
    this.#lastUs = us;
    this.#firstUs ??= us;
    this.events.time = Math.max(this.events.time, (us + this.#days * US_PER_DAY - this.#firstUs) * NS_PER_US);
  }
}

/** Reads a number. The adaptor writes pointers and streams in hexadecimal, with or without `0x`. */
function numberOf(text: string, base: 10 | 16, what: string, wrong: string): number {
  const isNumber = base === 10 ? /^\d+$/.test(text) : /^(?:0x)?[\da-f]+$/i.test(text);
  const value = isNumber ? Number.parseInt(text, base) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new FormatFault(`${what} ${quote(text)} is ${wrong}`);
  return value;
}

/** Writes the CSV log of RMM's logging adaptor, all of it by thread 1; its time of day is midnight at the first event. */
export class RmmWriter extends TextWriter {
  override readonly columns: readonly ColumnName[] = ['times', 'pointers', 'streams'];
  protected override readonly rows: EventRows<string> = {
    [TraceKind.alloc]: (batch, i) => row(batch, i, 'allocate', this.#addresses.take(batch, i)),
    [TraceKind.free]: (batch, i) => row(batch, i, 'free', this.#addresses.give(batch, i)),
    [TraceKind.outOfMemory]: (batch, i) => row(batch, i, 'allocate failure', 0),
  };
  readonly #addresses = new BlockAddresses(false);

  constructor(sink: ByteSink) {
    super(sink);
    this.add(`${RMM_HEADER}\n`);
  }
}

function row(batch: EventBatch, i: number, action: string, pointer: number): string {
  const address = pointer === 0 ? '(nil)' : `0x${pointer.toString(16)}`;
  const stream = batch.streams?.[i] ?? 0;
  return `1,${timeOfDay(batch.times?.[i] ?? 0)},${action},${address},${batch.bytes[i]},0x${stream.toString(16)}\n`;
}

function timeOfDay(nanoseconds: number): string {
  const us = Math.floor(nanoseconds / NS_PER_US);
  const seconds = Math.floor(us / 1e6);
  const two = (value: number) => String(value).padStart(2, '0');
  const clock = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(':');
  return `${clock}.${String(us % 1e6).padStart(6, '0')}`;
}
