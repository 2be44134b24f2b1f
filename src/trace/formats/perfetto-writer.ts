import { idsColumn } from '../event-column.js';
import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { TextOutput } from './text-output.js';
import { ALL_COLUMNS, ALL_KINDS, type ByteSink, type TraceWriter } from './trace-writer.js';

const NS_PER_US = 1000;
/** What instants are called; the parser knows them by these names. */
export const INSTANT_NAMES: readonly string[] = ['', '', 'native alloc', 'native free', 'swap', 'cleanup', 'out of memory'];

/**
 * Writes the JSON trace format of Chrome and Perfetto: each block an async slice, the rest instants, and counters of live,
 * reserved and cached bytes. An event a line. A trace without times gets a microsecond for each event.
 */
export class PerfettoWriter implements TraceWriter {
  readonly format = 'perfetto';
  readonly kinds = ALL_KINDS;
  readonly columns = ALL_COLUMNS;
  readonly #out: TextOutput;
  readonly #name: string;
  readonly #addresses = new BlockAddresses(true);
  readonly #idOfSlot = idsColumn();
  readonly #nameOfSlot = idsColumn();
  #timed: boolean | undefined;
  #events = 0;
  #nextId = 1;
  #live = 0;
  #reserved = 0;
  #countersAt = -1;

  constructor(sink: ByteSink, name: string) {
    this.#out = new TextOutput(sink);
    this.#name = name;
  }

  write(batch: EventBatch): void {
    for (let i = 0; i < batch.length; i++) {
      if (this.#timed === undefined) this.#begin(batch.times !== undefined || batch.length === 0);
      // A trace whose first events are at 0 has its times from the second batch on, maybe: 0 is right for those.
      const ns = this.#timed ? (batch.times?.[i] ?? 0) : this.#events * NS_PER_US;
      this.#events++;
      if (ns !== this.#countersAt) this.#counters(ns);
      this.#event(batch, i, batch.kinds[i] as TraceKind, ns / NS_PER_US);
    }
  }

  end(): void {
    if (this.#timed === undefined) this.#begin(true);
    this.#counters(this.#countersAt);
    this.#out.add('\n]}\n');
    this.#out.flush();
  }

  #begin(timed: boolean): void {
    this.#timed = timed;
    const about = { format: 'stowage 1', name: this.#name, clock: timed ? 'ns' : 'events' };
    this.#out.add(`{"displayTimeUnit":"ns","otherData":${JSON.stringify(about)},"traceEvents":[\n`);
    this.#out.add(JSON.stringify({ ph: 'M', pid: 1, name: 'process_name', args: { name: this.#name } }));
  }

  #event(batch: EventBatch, i: number, kind: TraceKind, ts: number): void {
    const bytes = batch.bytes[i]!;
    const tid = batch.devices?.[i] ?? 0;
    if (kind === TraceKind.alloc) {
      const slot = batch.slots[i]!;
      const slots = Math.max(slot + 1, batch.slotCount);
      const tag = batch.tags?.[i] ?? 0;
      const id = this.#nextId++;
      this.#idOfSlot.writeValue(slot, slots, id);
      this.#nameOfSlot.writeValue(slot, slots, tag);
      this.#live += bytes;
      const args = { pointer: this.#addresses.take(batch, i), bytes, ...this.#names(batch, i) };
      this.#add({ ph: 'b', cat: 'block', id, name: blockName(batch, tag), pid: 1, tid, ts, args });
    } else if (kind === TraceKind.free) {
      const slot = ~batch.slots[i]!;
      this.#live -= bytes;
      this.#addresses.give(batch, i);
      const name = blockName(batch, this.#nameOfSlot.get(slot));
      const id = this.#idOfSlot.get(slot);
      this.#add({ ph: 'e', cat: 'block', id, name, pid: 1, tid, ts, args: this.#names(batch, i) });
    } else {
      if (kind === TraceKind.nativeAlloc) this.#reserved += bytes;
      if (kind === TraceKind.nativeFree) this.#reserved -= bytes;
      const args = { pointer: batch.pointers?.[i] ?? 0, bytes, ...this.#names(batch, i) };
      this.#add({ ph: 'i', s: 'p', cat: 'memory', name: INSTANT_NAMES[kind], pid: 1, tid, ts, args });
    }
  }

  /** What an event belongs to; what is 0 or '' is left out. */
  #names(batch: EventBatch, i: number): { [key: string]: string | number } {
    const { strings } = batch;
    const names: { [key: string]: string | number } = {};
    if (batch.streams?.[i]) names['stream'] = batch.streams[i];
    if (batch.managers?.[i]) names['manager'] = strings.get(batch.managers[i]);
    if (batch.tags?.[i]) names['tag'] = strings.get(batch.tags[i]);
    if (batch.sites?.[i]) names['site'] = strings.get(batch.sites[i]);
    if (batch.spaces?.[i]) names['space'] = strings.get(batch.spaces[i]);
    return names;
  }

  /** Writes what the counters are after all events of one time, before the first of another. */
  #counters(nextNs: number): void {
    if (this.#countersAt >= 0) {
      const ts = this.#countersAt / NS_PER_US;
      const cached = Math.max(0, this.#reserved - this.#live);
      const counters = this.#reserved > 0 ? { live: this.#live, cached, reserved: this.#reserved } : { live: this.#live };
      for (const [name, bytes] of Object.entries(counters)) {
        this.#add({ ph: 'C', pid: 1, name: `${name} bytes`, ts, args: { bytes } });
      }
    }
    this.#countersAt = nextNs;
  }

  #add(event: object): void {
    this.#out.add(`,\n${JSON.stringify(event)}`);
  }
}

function blockName(batch: EventBatch, tag: number): string {
  return batch.strings.get(tag) || 'block';
}
