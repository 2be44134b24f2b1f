import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { BlockTracker } from './block-tracker.js';
import { checkFile, FormatFault } from './format-fault.js';
import { LineReader } from './format-parser.js';
import { addressIn, isMissing, jsonObject, objectIn, type ParsedObject, sizeIn, textIn } from './parsed-values.js';
import { type ByteSink, type ColumnName, type EventRows, TextWriter } from './trace-writer.js';

/** Reallocations of one allocator that run at once, each on a thread; older ones have failed. */
const MAX_BEGUN = 64;
const MAX_ALLOCATORS = 2 ** 16;
const TOO_MANY_ALLOCATORS = `there are more than ${MAX_ALLOCATORS} allocators`;

/** Tells whether a line is an event of Umpire. */
export function isUmpireLine(line: string): boolean {
  return line.startsWith('{') && line.includes('"category"') && line.includes('"name"');
}

/** The arguments of an event. */
interface UmpireEvent extends Readonly<Record<'texts' | 'numbers' | 'tags', ParsedObject>> {
  readonly allocator: string;
  readonly line: number;
}

type ReadEvent = (replay: UmpireParser, event: UmpireEvent) => void;

/** A `reallocate` that has begun: its second line tells the new address. */
interface Reallocation {
  readonly pointer: number;
  readonly bytes: number;
  /** Whether the block is gone already: its address was given to another one meanwhile. */
  freed: boolean;
}

/**
 * Reads Umpire's replay: one JSON object a line. Allocations of each allocator are a space of their own, since a pool's
 * first block has the address of the memory below it.
 *
 * `reallocate` stands in two lines, with the size and with the new address. An allocator that makes a new block, copies and
 * frees the old one logs both in between; one whose resource does it (`realloc`) logs nothing else.
 * `copy`, `memset`, `coalesce` change nothing that is live, and `move` logs its own `allocate` and `deallocate`. Memory that
 * is only registered (`register_external_allocation`) is not allocated by Umpire: these events are passed over.
 *
 * @see Source: Umpire, ResourceManager.cpp and event/json_file_store.cpp
 */
export class UmpireParser extends LineReader {
  /** How the events that matter are read, by name. */
  static readonly #READERS = new Map<string, ReadEvent>([
    ['allocate', (replay, event) => replay.#allocate(event)],
    ['named_allocate', (replay, event) => replay.#allocate(event)],
    ['deallocate', (replay, event) => replay.#deallocate(event)],
    [
      'reallocate',
      (replay, event) => {
        if (isMissing(event.texts, 'new_ptr')) replay.#beginReallocation(event);
        else replay.#endReallocation(event);
      },
    ],
    [
      'release',
      (replay, { allocator, line }) => {
        replay.#enter(allocator);
        replay.events.other(TraceKind.cleanup, line);
      },
    ],
    ['make_allocator', (replay, event) => replay.#nameAllocator(event)],
    ['make_memory_resource', (replay, event) => replay.#nameAllocator(event)],
    ['program', (replay, { texts }) => (replay.name = textIn(texts, 'program') || undefined)],
  ]);
  protected override readonly maxLineBytes = 64 * 1024;
  readonly #tracker = new BlockTracker(this.events);
  readonly #spaces = new Map<string, number>();
  readonly #managers = new Map<string, number>();
  /** By allocator, the last that began last. One that failed has no second line. */
  readonly #reallocations = new Map<string, Reallocation[]>();
  #firstNs: number | undefined;

  protected override parse(text: Buffer, start: number, end: number, line: number): void {
    const event = jsonObject(text.toString('utf8', start, end));
    const texts = objectIn(event, 'string_args');
    this.#tick(event['timestamp']);
    UmpireParser.#READERS.get(textIn(event, 'name'))?.(this, {
      allocator: textIn(texts, 'allocator_ref'),
      texts,
      numbers: objectIn(event, 'numeric_args'),
      tags: objectIn(event, 'tags'),
      line,
    });
  }

  #allocate({ allocator, numbers, texts, line }: UmpireEvent): void {
    const bytes = sizeIn(numbers, 'size', 'the size of the allocation');
    const pointer = addressIn(texts, 'pointer', 'the pointer of the allocation');
    if (pointer === 0 && bytes > 0) throw new FormatFault(`an allocation of ${bytes} bytes has no pointer`);
    this.#enter(allocator);
    this.events.tag = this.events.strings.idOf(textIn(texts, 'allocation_name'));
    for (const begun of this.#reallocations.get(allocator) ?? []) begun.freed ||= begun.pointer === pointer;
    this.#tracker.alloc(pointer, bytes, line);
  }

  #deallocate({ allocator, texts, line }: UmpireEvent): void {
    const pointer = addressIn(texts, 'pointer', 'the pointer of the free');
    this.#enter(allocator);
    // The allocator makes the new block itself, and has logged that.
    this.#takeReallocation(allocator, (begun) => begun.pointer === pointer && !begun.freed);
    this.#tracker.free(pointer, line);
  }

  #nameAllocator({ allocator, texts, tags }: UmpireEvent): void {
    // Older files of this library have the name among the arguments.
    const manager = textIn(tags, 'allocator_name') || textIn(texts, 'allocator_name');
    this.#managers.set(allocator, this.events.strings.idOf(manager));
    checkFile(this.#managers.size <= MAX_ALLOCATORS, TOO_MANY_ALLOCATORS);
  }

  #beginReallocation({ allocator, numbers, texts }: UmpireEvent): void {
    const bytes = sizeIn(numbers, 'size', 'the size of the reallocation');
    const pointer = addressIn(texts, 'current_ptr', 'the pointer of the reallocation');
    // Without a block before it, it is an allocation, which is logged as one.
    if (pointer === 0) return;
    const begun = this.#reallocations.get(allocator) ?? [];
    if (begun.push({ pointer, bytes, freed: false }) > MAX_BEGUN) begun.shift();
    this.#reallocations.set(allocator, begun);
  }

  #endReallocation({ allocator, texts, line }: UmpireEvent): void {
    const pointer = addressIn(texts, 'new_ptr', 'the new pointer of the reallocation');
    const begun =
      this.#takeReallocation(allocator, (one) => one.pointer === pointer) ?? this.#takeReallocation(allocator, () => true);
    if (begun === undefined) return;
    this.#enter(allocator);
    if (!begun.freed) this.#tracker.free(begun.pointer, line);
    this.#tracker.alloc(pointer, begun.bytes, line);
  }

  /** Takes the last reallocation of an allocator that a condition holds for. */
  #takeReallocation(allocator: string, condition: (begun: Reallocation) => boolean): Reallocation | undefined {
    const begun = this.#reallocations.get(allocator) ?? [];
    const at = begun.findLastIndex(condition);
    const [taken] = at < 0 ? [] : begun.splice(at, 1);
    if (begun.length === 0) this.#reallocations.delete(allocator);
    return taken;
  }

  #tick(timestamp: unknown): void {
    if (typeof timestamp !== 'number' || !Number.isFinite(timestamp)) return;
    // A timestamp since 1970 is above 2^53: its last digits are lost when it is read, some 256 ns.
    this.#firstNs ??= timestamp;
    const since = Math.round(timestamp - this.#firstNs);
    if (Number.isSafeInteger(since)) this.events.time = Math.max(this.events.time, since);
  }

  /** Sets manager and space. */
  #enter(allocator: string): void {
    const space = this.#spaces.get(allocator) ?? (this.#spaces.size === 0 ? 0 : this.events.strings.idOf(allocator));
    this.#spaces.set(allocator, space);
    checkFile(this.#spaces.size <= MAX_ALLOCATORS, TOO_MANY_ALLOCATORS);
    this.#tracker.enter(space);
    this.events.manager = this.#managers.get(allocator) ?? 0;
  }
}

type Texts = Readonly<Record<string, string>>;

/** Writes Umpire's replay: one JSON object a line, an allocator for each manager and space. */
export class UmpireWriter extends TextWriter {
  override readonly columns: readonly ColumnName[] = ['times', 'pointers', 'managers', 'tags'];
  protected override readonly rows: EventRows<string> = {
    [TraceKind.alloc]: (batch, i) => {
      const allocator_ref = this.#allocator(batch, i);
      const tag = batch.strings.get(batch.tags?.[i] ?? 0);
      const pointer = hex(this.#addresses.take(batch, i));
      this.#allocatorOfSlot[batch.slots[i]!] = allocator_ref;
      const texts = { allocator_ref, pointer, ...(tag === '' ? {} : { allocation_name: tag }) };
      return operation(tag === '' ? 'allocate' : 'named_allocate', batch, i, texts, { size: batch.bytes[i]! });
    },
    [TraceKind.free]: (batch, i) => {
      const allocator_ref = this.#allocatorOfSlot[~batch.slots[i]!] ?? '';
      return operation('deallocate', batch, i, { allocator_ref, pointer: hex(this.#addresses.give(batch, i)) });
    },
    [TraceKind.cleanup]: (batch, i) => operation('release', batch, i, { allocator_ref: this.#allocator(batch, i) }),
  };
  readonly #addresses = new BlockAddresses(false);
  /** The reference of the allocator of each pair of manager and space. */
  readonly #allocators = new Map<string, string>();
  readonly #allocatorOfSlot: string[] = [];

  constructor(sink: ByteSink, name: string) {
    super(sink);
    this.add(lineOf({ category: 'metadata', name: 'program', string_args: { program: name }, tags: REPLAY, timestamp: 0 }));
  }

  #allocator(batch: EventBatch, i: number): string {
    const manager = batch.managers?.[i] ?? 0;
    const key = `${manager} ${batch.spaces?.[i] ?? 0}`;
    const known = this.#allocators.get(key);
    if (known !== undefined) return known;
    const allocator_ref = hex(this.#allocators.size + 1);
    const tags = { allocator_name: batch.strings.get(manager) };
    this.#allocators.set(key, allocator_ref);
    this.add(operation('make_allocator', batch, i, { allocator_ref }, undefined, tags));
    return allocator_ref;
  }
}

const REPLAY = { replay: 'true' };

/** A line about event `i` of a batch. */
function operation(name: string, batch: EventBatch, i: number, string_args: Texts, numeric_args?: object, tags?: Texts): string {
  const numbers = numeric_args && { numeric_args };
  const about = { tags: { ...tags, ...REPLAY }, timestamp: batch.times?.[i] ?? 0 };
  return lineOf({ category: 'operation', name, ...numbers, string_args, ...about });
}

function lineOf(event: object): string {
  return `${JSON.stringify(event)}\n`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
