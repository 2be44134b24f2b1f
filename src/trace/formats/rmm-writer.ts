import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { RMM_HEADER } from './rmm-parser.js';
import { type ByteSink, type ColumnName, TextWriter } from './trace-writer.js';

const NS_PER_US = 1000;
const THREAD = 1;

/** Writes the CSV log of RMM's logging adaptor, its time of day counted from midnight at the first event. */
export class RmmWriter extends TextWriter {
  override readonly format = 'rmm';
  override readonly kinds = [TraceKind.alloc, TraceKind.free, TraceKind.outOfMemory];
  override readonly columns: readonly ColumnName[] = ['times', 'pointers', 'streams'];
  readonly #addresses = new BlockAddresses(false);

  constructor(sink: ByteSink) {
    super(sink);
    this.add(`${RMM_HEADER}\n`);
  }

  protected override textOf(batch: EventBatch, i: number, kind: TraceKind): string {
    switch (kind) {
      case TraceKind.alloc:
        return row(batch, i, 'allocate', this.#addresses.take(batch, i));
      case TraceKind.free:
        return row(batch, i, 'free', this.#addresses.give(batch, i));
      case TraceKind.outOfMemory:
        return row(batch, i, 'allocate failure', 0);
      default:
        return '';
    }
  }
}

function row(batch: EventBatch, i: number, action: string, pointer: number): string {
  const address = pointer === 0 ? '(nil)' : `0x${pointer.toString(16)}`;
  const stream = `0x${(batch.streams?.[i] ?? 0).toString(16)}`;
  return `${THREAD},${timeOfDay(batch.times?.[i] ?? 0)},${action},${address},${batch.bytes[i]},${stream}\n`;
}

function timeOfDay(nanoseconds: number): string {
  const us = Math.floor(nanoseconds / NS_PER_US);
  const seconds = Math.floor(us / 1e6);
  const two = (value: number) => String(value).padStart(2, '0');
  const clock = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(':');
  return `${clock}.${String(us % 1e6).padStart(6, '0')}`;
}
