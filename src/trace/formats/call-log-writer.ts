import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { LivePointers } from './live-pointers.js';
import { TextOutput } from './text-output.js';
import type { ByteSink, ColumnName, TraceWriter } from './trace-writer.js';

/** Writes a call log as the slot does, every block with the user's lock. */
export class CallLogWriter implements TraceWriter {
  readonly format = 'call log';
  readonly kinds = [
    TraceKind.alloc,
    TraceKind.free,
    TraceKind.nativeAlloc,
    TraceKind.nativeFree,
    TraceKind.cleanup,
    TraceKind.outOfMemory,
  ];
  readonly columns: readonly ColumnName[] = ['pointers'];
  readonly dropped = new Map<string, number>();
  readonly #out: TextOutput;
  readonly #addresses = new BlockAddresses(false);
  readonly #segments = new LivePointers();

  constructor(sink: ByteSink) {
    this.#out = new TextOutput(sink);
  }

  write(batch: EventBatch): void {
    const { kinds, bytes, pointers, length } = batch;
    for (let i = 0; i < length; i++) {
      switch (kinds[i]) {
        case TraceKind.alloc:
          this.#out.add(`alloc ${bytes[i]} 1 ${this.#addresses.take(batch, i)} \n`);
          break;
        case TraceKind.free:
          this.#out.add(`unlock ${this.#addresses.give(batch, i)} 1 \n`);
          break;
        case TraceKind.nativeAlloc:
          this.#segments.add(pointers?.[i] ?? 0, bytes[i]!);
          this.#out.add(`nativeAlloc ${bytes[i]} ${pointers?.[i] ?? 0} \n`);
          break;
        case TraceKind.nativeFree:
          this.#nativeFree(pointers?.[i] ?? 0, bytes[i]!);
          break;
        case TraceKind.cleanup:
          this.#out.add('signalMemoryCleanup \n');
          break;
        case TraceKind.outOfMemory:
          this.#out.add(`alloc ${bytes[i]} 1 0 \n`);
          break;
      }
    }
  }

  end(): void {
    this.#out.flush();
  }

  /** A line has no size: what is given back must be what was got. */
  #nativeFree(pointer: number, bytes: number): void {
    if (this.#segments.slotOf(pointer) === bytes) {
      this.#segments.free(pointer);
      this.#out.add(`nativeFree ${pointer} \n`);
    } else {
      const what = 'partial native free';
      this.dropped.set(what, (this.dropped.get(what) ?? 0) + 1);
    }
  }
}
