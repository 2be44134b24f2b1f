import { idsColumn } from '../event-column.js';
import { type EventBatch, TraceKind } from '../trace-events.js';
import { TextOutput } from './text-output.js';
import type { ByteSink, ColumnName, TraceWriter } from './trace-writer.js';

/** Writes `#alloctrace v1 <name>` and its lines. */
export class AllocTraceWriter implements TraceWriter {
  readonly format = 'alloctrace';
  readonly kinds = [TraceKind.alloc, TraceKind.free];
  readonly columns: readonly ColumnName[] = [];
  readonly #out: TextOutput;
  readonly #idOfSlot = idsColumn();
  #nextId = 0;

  constructor(sink: ByteSink, name: string) {
    this.#out = new TextOutput(sink);
    this.#out.add(`#alloctrace v1 ${name.replace(/\s+/g, ' ').trim() || 'trace'}\n`);
  }

  write(batch: EventBatch): void {
    const { kinds, slots, bytes, length } = batch;
    for (let i = 0; i < length; i++) {
      if (kinds[i] === TraceKind.alloc) {
        this.#idOfSlot.writeValue(slots[i]!, Math.max(slots[i]! + 1, batch.slotCount), this.#nextId);
        this.#out.add(`a ${this.#nextId++} ${bytes[i]}\n`);
      } else if (kinds[i] === TraceKind.free) {
        this.#out.add(`f ${this.#idOfSlot.get(~slots[i]!)}\n`);
      }
    }
  }

  end(): void {
    this.#out.flush();
  }
}
