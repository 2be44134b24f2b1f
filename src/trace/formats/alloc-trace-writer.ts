import { idsColumn } from '../event-column.js';
import { type EventBatch, TraceKind } from '../trace-events.js';
import { type ByteSink, type ColumnName, TextWriter } from './trace-writer.js';

/** Writes `#alloctrace v1 <name>` and its lines. */
export class AllocTraceWriter extends TextWriter {
  override readonly format = 'alloctrace';
  override readonly kinds = [TraceKind.alloc, TraceKind.free];
  override readonly columns: readonly ColumnName[] = [];
  readonly #idOfSlot = idsColumn();
  #nextId = 0;

  constructor(sink: ByteSink, name: string) {
    super(sink);
    this.add(`#alloctrace v1 ${name.replace(/\s+/g, ' ').trim() || 'trace'}\n`);
  }

  protected override textOf({ slots, bytes }: EventBatch, i: number, kind: TraceKind): string {
    if (kind === TraceKind.free) return `f ${this.#idOfSlot.get(~slots[i]!)}\n`;
    if (kind !== TraceKind.alloc) return '';
    this.#idOfSlot.set(slots[i]!, this.#nextId);
    return `a ${this.#nextId++} ${bytes[i]}\n`;
  }
}
