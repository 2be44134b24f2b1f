import type { EventBuilder } from '../event-builder.js';
import { TraceKind } from '../trace-events.js';
import { BlockTracker } from './block-tracker.js';
import { quote } from './integer-scanner.js';
import type { LineParser } from './line-parser.js';

export const RMM_HEADER = 'Thread,Time,Action,Pointer,Size,Stream';
const NS_PER_US = 1000;
const US_PER_DAY = 86_400e6;
const TIME = /^(\d{1,2}):([0-5]\d):([0-5]\d)(?:[.:](\d{1,6}))?$/;
const EXPECTED = 'a line reads "<thread>,<hh:mm:ss.us>,allocate|free|allocate failure,<pointer>,<bytes>,<stream>"';

/** Tells whether a line is the header of an RMM log. */
export function isRmmHeader(line: string): boolean {
  return line.replace(/\r$/, '') === RMM_HEADER;
}

/** Reads the CSV log of RMM's logging adaptor. Times count from its first line; one that is earlier is of the next day. */
export class RmmParser implements LineParser {
  readonly format = 'rmm';
  readonly #events: EventBuilder;
  readonly #tracker: BlockTracker;
  #firstUs: number | undefined;
  #lastUs = 0;
  #days = 0;

  constructor(events: EventBuilder) {
    this.#events = events;
    this.#tracker = new BlockTracker(events);
  }

  parse(text: Buffer, start: number, end: number, line: number): string | undefined {
    const row = text.toString('latin1', start, end).replace(/\r$/, '');
    if (line === 1) return isRmmHeader(row) ? undefined : `${quote(row)} is not the header "${RMM_HEADER}"`;
    const cells = row.split(',');
    if (cells.length !== 6) return `${quote(row)} is no row of a log: ${EXPECTED}`;
    const [thread, time, action, pointerText, sizeText, streamText] = cells as [string, string, string, string, string, string];
    const pointer = pointerText === '(nil)' ? 0 : hexOf(pointerText);
    const bytes = /^\d+$/.test(sizeText) ? safe(Number(sizeText)) : undefined;
    const stream = hexOf(streamText);
    if (!/^\d+$/.test(thread)) return `the thread ${quote(thread)} is not an integer`;
    if (pointer === undefined) return `the pointer ${quote(pointerText)} is no address below 2^53`;
    if (bytes === undefined) return `the size ${quote(sizeText)} is not an integer below 2^53`;
    if (stream === undefined) return `the stream ${quote(streamText)} is no number below 2^53`;
    if (!this.#tick(time)) return `the time ${quote(time)} is not hh:mm:ss.us`;
    this.#events.stream = stream;
    switch (action) {
      case 'allocate':
        if (pointer === 0 && bytes > 0) return `an allocation of ${bytes} bytes has no pointer`;
        this.#tracker.alloc(pointer, bytes, line);
        return undefined;
      case 'free':
        this.#tracker.free(pointer, line);
        return undefined;
      case 'allocate failure':
        this.#events.note(TraceKind.outOfMemory, line, bytes);
        return undefined;
      default:
        return `the action ${quote(action)} is not known: ${EXPECTED}`;
    }
  }

  #tick(time: string): boolean {
    const [, hours, minutes, seconds, fraction = ''] = TIME.exec(time) ?? [];
    if (hours === undefined || Number(hours) > 23) return false;
    const us = (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1e6 + Number(fraction.padEnd(6, '0'));
    // Threads may write out of order: only a step of half a day back is midnight.
    if (us < this.#lastUs - US_PER_DAY / 2) this.#days++;
    this.#lastUs = us;
    this.#firstUs ??= us;
    this.#events.time = Math.max(this.#events.time, (us + this.#days * US_PER_DAY - this.#firstUs) * NS_PER_US);
    return true;
  }
}

/** Reads a hexadecimal number, with or without `0x`: the adaptor writes pointers and streams as such; undefined from 2^53 on. */
function hexOf(text: string): number | undefined {
  return /^(?:0x)?[\da-f]+$/i.test(text) ? safe(Number.parseInt(text, 16)) : undefined;
}

function safe(value: number): number | undefined {
  return Number.isSafeInteger(value) ? value : undefined;
}
