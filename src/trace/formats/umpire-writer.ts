import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { type ByteSink, type ColumnName, TextWriter } from './trace-writer.js';

type Texts = Readonly<Record<string, string>>;

/** Writes Umpire's replay: one JSON object a line, an allocator for each manager and space. */
export class UmpireWriter extends TextWriter {
  override readonly format = 'umpire';
  override readonly kinds = [TraceKind.alloc, TraceKind.free, TraceKind.cleanup];
  override readonly columns: readonly ColumnName[] = ['times', 'pointers', 'managers', 'tags'];
  readonly #addresses = new BlockAddresses(false);
  /** The reference of the allocator of each pair of manager and space. */
  readonly #allocators = new Map<string, string>();
  readonly #allocatorOfSlot: string[] = [];

  constructor(sink: ByteSink, name: string) {
    super(sink);
    this.add(lineOf('metadata', 'program', 0, { program: name }));
  }

  protected override textOf(batch: EventBatch, i: number, kind: TraceKind): string {
    const time = batch.times?.[i] ?? 0;
    const slot = batch.slots[i]!;
    switch (kind) {
      case TraceKind.alloc: {
        const allocator_ref = this.#allocator(batch, i);
        const tag = batch.strings.get(batch.tags?.[i] ?? 0);
        const pointer = hex(this.#addresses.take(batch, i));
        this.#allocatorOfSlot[slot] = allocator_ref;
        const texts = { allocator_ref, pointer, ...(tag === '' ? {} : { allocation_name: tag }) };
        return lineOf('operation', tag === '' ? 'allocate' : 'named_allocate', time, texts, batch.bytes[i]);
      }
      case TraceKind.free: {
        const allocator_ref = this.#allocatorOfSlot[~slot] ?? '';
        return lineOf('operation', 'deallocate', time, { allocator_ref, pointer: hex(this.#addresses.give(batch, i)) });
      }
      case TraceKind.cleanup:
        return lineOf('operation', 'release', time, { allocator_ref: this.#allocator(batch, i) });
      default:
        return '';
    }
  }

  #allocator(batch: EventBatch, i: number): string {
    const manager = batch.managers?.[i] ?? 0;
    const key = `${manager} ${batch.spaces?.[i] ?? 0}`;
    const known = this.#allocators.get(key);
    if (known !== undefined) return known;
    const allocator_ref = hex(this.#allocators.size + 1);
    const tags = { allocator_name: batch.strings.get(manager) };
    this.#allocators.set(key, allocator_ref);
    this.add(lineOf('operation', 'make_allocator', batch.times?.[i] ?? 0, { allocator_ref }, undefined, tags));
    return allocator_ref;
  }
}

function lineOf(category: string, name: string, timestamp: number, string_args: Texts, size?: number, more: Texts = {}): string {
  const numbers = size === undefined ? {} : { numeric_args: { size } };
  const tags = { ...more, replay: 'true' };
  return `${JSON.stringify({ category, name, ...numbers, string_args, tags, timestamp })}\n`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
