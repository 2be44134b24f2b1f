import { idsColumn } from '../event-column.js';
import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { ALL_COLUMNS, ALL_KINDS, type ByteSink, TextWriter } from './trace-writer.js';

const NS_PER_US = 1000;
/** What instants are called; the parser knows them by these names. */
export const INSTANT_NAMES: readonly string[] = ['', '', 'native alloc', 'native free', 'swap', 'cleanup', 'out of memory'];

/**
 * Writes the JSON trace format of Chrome and Perfetto: each block an async slice, the rest instants, and counters of live,
 * reserved and cached bytes. An event a line. A trace without times gets a microsecond for each event.
 */
export class PerfettoWriter extends TextWriter {
  override readonly format = 'perfetto';
  override readonly kinds = ALL_KINDS;
  override readonly columns = ALL_COLUMNS;
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
    super(sink);
    this.#name = name;
  }

  protected override textOf(batch: EventBatch, i: number, kind: TraceKind): string {
    if (this.#timed === undefined) this.#begin(batch.times !== undefined);
    // A trace whose first events are at 0 has its times from the second batch on, maybe: 0 is right for those.
    const ns = this.#timed ? (batch.times?.[i] ?? 0) : this.#events * NS_PER_US;
    this.#events++;
    if (ns !== this.#countersAt) this.#counters(ns);
    return rowOf(this.#eventOf(batch, i, kind, { pid: 1, tid: batch.devices?.[i] ?? 0, ts: ns / NS_PER_US }));
  }

  override end(): void {
    if (this.#timed === undefined) this.#begin(true);
    this.#counters(this.#countersAt);
    this.add('\n]}\n');
    super.end();
  }

  #begin(timed: boolean): void {
    this.#timed = timed;
    const about = { format: 'stowage 1', name: this.#name, clock: timed ? 'ns' : 'events' };
    this.add(`{"displayTimeUnit":"ns","otherData":${JSON.stringify(about)},"traceEvents":[\n`);
    this.add(JSON.stringify({ ph: 'M', pid: 1, name: 'process_name', args: { name: this.#name } }));
  }

  #eventOf(batch: EventBatch, i: number, kind: TraceKind, place: { readonly [key: string]: number }): object {
    const bytes = batch.bytes[i]!;
    const slot = batch.slots[i]!;
    const args = namesOf(batch, i);
    if (kind === TraceKind.alloc) {
      const tag = batch.tags?.[i] ?? 0;
      const id = this.#nextId++;
      this.#idOfSlot.set(slot, id);
      this.#nameOfSlot.set(slot, tag);
      this.#live += bytes;
      const pointer = this.#addresses.take(batch, i);
      return { ph: 'b', cat: 'block', id, name: blockName(batch, tag), ...place, args: { pointer, bytes, ...args } };
    }
    if (kind === TraceKind.free) {
      this.#live -= bytes;
      this.#addresses.give(batch, i);
      const name = blockName(batch, this.#nameOfSlot.get(~slot));
      return { ph: 'e', cat: 'block', id: this.#idOfSlot.get(~slot), name, ...place, args };
    }
    if (kind === TraceKind.nativeAlloc) this.#reserved += bytes;
    if (kind === TraceKind.nativeFree) this.#reserved -= bytes;
    const pointer = batch.pointers?.[i] ?? 0;
    return { ph: 'i', s: 'p', cat: 'memory', name: INSTANT_NAMES[kind], ...place, args: { pointer, bytes, ...args } };
  }

  /** Writes what the counters are after all events of one time, before the first of another. */
  #counters(nextNs: number): void {
    if (this.#countersAt >= 0) {
      const ts = this.#countersAt / NS_PER_US;
      const cached = Math.max(0, this.#reserved - this.#live);
      const counters = this.#reserved > 0 ? { live: this.#live, cached, reserved: this.#reserved } : { live: this.#live };
      for (const [name, bytes] of Object.entries(counters)) {
        this.add(rowOf({ ph: 'C', pid: 1, name: `${name} bytes`, ts, args: { bytes } }));
      }
    }
    this.#countersAt = nextNs;
  }
}

/** What an event belongs to; what is 0 or '' is left out. */
function namesOf(batch: EventBatch, i: number): { readonly [key: string]: string | number } {
  const named = (key: string, id: number | undefined) => (id ? { [key]: batch.strings.get(id) } : {});
  return {
    ...(batch.streams?.[i] ? { stream: batch.streams[i] } : {}),
    ...named('manager', batch.managers?.[i]),
    ...named('tag', batch.tags?.[i]),
    ...named('site', batch.sites?.[i]),
    ...named('space', batch.spaces?.[i]),
  };
}

function rowOf(event: object): string {
  return `,\n${JSON.stringify(event)}`;
}

function blockName(batch: EventBatch, tag: number): string {
  return batch.strings.get(tag) || 'block';
}
