import { TraceKind } from '../trace-events.js';
import { BlockTracker } from './block-tracker.js';
import { FormatFault } from './format-fault.js';
import { LineReader } from './line-reader.js';
import { addressIn, isMissing, jsonObject, objectIn, type ParsedObject, sizeIn, textIn } from './parsed-values.js';

/** Reallocations of one allocator that run at once, each on a thread; older ones have failed. */
const MAX_BEGUN = 64;
const MAX_ALLOCATORS = 2 ** 16;

/** Tells whether a line is an event of Umpire. */
export function isUmpireLine(line: string): boolean {
  return line.startsWith('{') && line.includes('"category"') && line.includes('"name"');
}

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
  override readonly format = 'umpire';
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
    const numbers = objectIn(event, 'numeric_args');
    const allocator = textIn(texts, 'allocator_ref');
    this.#tick(event['timestamp']);
    switch (textIn(event, 'name')) {
      case 'allocate':
      case 'named_allocate':
        this.#allocate(allocator, numbers, texts, line);
        break;
      case 'deallocate':
        this.#deallocate(allocator, texts, line);
        break;
      case 'reallocate':
        if (isMissing(texts, 'new_ptr')) this.#beginReallocation(allocator, numbers, texts);
        else this.#endReallocation(allocator, texts, line);
        break;
      case 'release':
        this.#enter(allocator);
        this.events.other(TraceKind.cleanup, line);
        break;
      case 'make_allocator':
      case 'make_memory_resource':
        // Older files of this library have the name among the arguments.
        this.#name(allocator, textIn(objectIn(event, 'tags'), 'allocator_name') || textIn(texts, 'allocator_name'));
        break;
      case 'program':
        this.name = textIn(texts, 'program') || undefined;
    }
  }

  #allocate(allocator: string, numbers: ParsedObject, texts: ParsedObject, line: number): void {
    const bytes = sizeIn(numbers, 'size', 'the size of the allocation');
    const pointer = addressIn(texts, 'pointer', 'the pointer of the allocation');
    if (pointer === 0 && bytes > 0) throw new FormatFault(`an allocation of ${bytes} bytes has no pointer`);
    this.#enter(allocator);
    this.events.tag = this.events.strings.idOf(textIn(texts, 'allocation_name'));
    for (const begun of this.#reallocations.get(allocator) ?? []) begun.freed ||= begun.pointer === pointer;
    this.#tracker.alloc(pointer, bytes, line);
  }

  #deallocate(allocator: string, texts: ParsedObject, line: number): void {
    const pointer = addressIn(texts, 'pointer', 'the pointer of the free');
    this.#enter(allocator);
    // The allocator makes the new block itself, and has logged that.
    this.#takeReallocation(allocator, (begun) => begun.pointer === pointer && !begun.freed);
    this.#tracker.free(pointer, line);
  }

  #name(allocator: string, manager: string): void {
    this.#managers.set(allocator, this.events.strings.idOf(manager));
    checkCount(this.#managers);
  }

  #beginReallocation(allocator: string, numbers: ParsedObject, texts: ParsedObject): void {
    const bytes = sizeIn(numbers, 'size', 'the size of the reallocation');
    const pointer = addressIn(texts, 'current_ptr', 'the pointer of the reallocation');
    // Without a block before it, it is an allocation, which is logged as one.
    if (pointer === 0) return;
    const begun = this.#reallocations.get(allocator) ?? [];
    if (begun.push({ pointer, bytes, freed: false }) > MAX_BEGUN) begun.shift();
    this.#reallocations.set(allocator, begun);
  }

  #endReallocation(allocator: string, texts: ParsedObject, line: number): void {
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
    checkCount(this.#spaces);
    this.#tracker.space = space;
    this.events.manager = this.#managers.get(allocator) ?? 0;
  }
}

function checkCount({ size }: ReadonlyMap<string, number>): void {
  if (size > MAX_ALLOCATORS) throw new FormatFault(`there are more than ${MAX_ALLOCATORS} allocators`);
}
