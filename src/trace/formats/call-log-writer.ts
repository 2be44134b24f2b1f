import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { LivePointers } from './live-pointers.js';
import { ALL_KINDS, type ColumnName, TextWriter } from './trace-writer.js';

/** Writes a call log as the slot does, every block with the user's lock. */
export class CallLogWriter extends TextWriter {
  override readonly format = 'call log';
  override readonly kinds = ALL_KINDS.filter((kind) => kind !== TraceKind.swap);
  override readonly columns: readonly ColumnName[] = ['pointers'];
  readonly #addresses = new BlockAddresses(false);
  readonly #segments = new LivePointers();

  protected override textOf(batch: EventBatch, i: number, kind: TraceKind): string {
    const bytes = batch.bytes[i]!;
    const pointer = batch.pointers?.[i] ?? 0;
    switch (kind) {
      case TraceKind.alloc:
        return `alloc ${bytes} 1 ${this.#addresses.take(batch, i)} \n`;
      case TraceKind.free:
        return `unlock ${this.#addresses.give(batch, i)} 1 \n`;
      case TraceKind.nativeAlloc:
        this.#segments.add(pointer, bytes);
        return `nativeAlloc ${bytes} ${pointer} \n`;
      case TraceKind.nativeFree:
        // A line has no size: what is given back must be what was got.
        if (this.#segments.slotOf(pointer) !== bytes) return this.drop('partial native free');
        this.#segments.free(pointer);
        return `nativeFree ${pointer} \n`;
      case TraceKind.cleanup:
        return 'signalMemoryCleanup \n';
      case TraceKind.outOfMemory:
        return `alloc ${bytes} 1 0 \n`;
      default:
        return '';
    }
  }
}
