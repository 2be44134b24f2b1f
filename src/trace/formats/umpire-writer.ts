import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { TextOutput } from './text-output.js';
import type { ByteSink, ColumnName, TraceWriter } from './trace-writer.js';

interface Texts {
  readonly [key: string]: string;
}

/** Writes Umpire's replay: one JSON object a line, an allocator for each manager and space. */
export class UmpireWriter implements TraceWriter {
  readonly format = 'umpire';
  readonly kinds = [TraceKind.alloc, TraceKind.free, TraceKind.cleanup];
  readonly columns: readonly ColumnName[] = ['times', 'pointers', 'managers', 'tags'];
  readonly #out: TextOutput;
  readonly #addresses = new BlockAddresses(false);
  /** The reference of the allocator of each pair of manager and space. */
  readonly #allocators = new Map<string, string>();
  readonly #allocatorOfSlot: string[] = [];

  constructor(sink: ByteSink, name: string) {
    this.#out = new TextOutput(sink);
    this.#add('metadata', 'program', 0, { program: name });
  }

  write(batch: EventBatch): void {
    const { kinds, slots, bytes, tags, strings, length } = batch;
    for (let i = 0; i < length; i++) {
      const time = batch.times?.[i] ?? 0;
      switch (kinds[i]) {
        case TraceKind.alloc: {
          const allocator_ref = this.#allocator(batch, i);
          const tag = strings.get(tags?.[i] ?? 0);
          const pointer = hex(this.#addresses.take(batch, i));
          this.#allocatorOfSlot[slots[i]!] = allocator_ref;
          const texts = { allocator_ref, pointer, ...(tag === '' ? {} : { allocation_name: tag }) };
          this.#add('operation', tag === '' ? 'allocate' : 'named_allocate', time, texts, bytes[i]);
          break;
        }
        case TraceKind.free: {
          const allocator_ref = this.#allocatorOfSlot[~slots[i]!] ?? '';
          this.#add('operation', 'deallocate', time, { allocator_ref, pointer: hex(this.#addresses.give(batch, i)) });
          break;
        }
        case TraceKind.cleanup:
          this.#add('operation', 'release', time, { allocator_ref: this.#allocator(batch, i) });
          break;
      }
    }
  }

  end(): void {
    this.#out.flush();
  }

  #allocator(batch: EventBatch, i: number): string {
    const manager = batch.managers?.[i] ?? 0;
    const space = batch.spaces?.[i] ?? 0;
    const key = `${manager} ${space}`;
    let reference = this.#allocators.get(key);
    if (reference === undefined) {
      reference = hex(this.#allocators.size + 1);
      this.#allocators.set(key, reference);
      const allocator_name = batch.strings.get(manager);
      this.#add('operation', 'make_allocator', batch.times?.[i] ?? 0, { allocator_ref: reference }, undefined, {
        allocator_name,
      });
    }
    return reference;
  }

  #add(category: string, name: string, timestamp: number, string_args: Texts, size?: number, more: Texts = {}): void {
    const numbers = size === undefined ? {} : { numeric_args: { size } };
    const tags = { ...more, replay: 'true' };
    this.#out.add(`${JSON.stringify({ category, name, ...numbers, string_args, tags, timestamp })}\n`);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
