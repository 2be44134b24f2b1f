import type { EventBuilder } from '../event-builder.js';
import { TraceKind } from '../trace-events.js';
import { BlockTracker } from './block-tracker.js';
import { FormatFault } from './format-parser.js';
import { quote } from './integer-scanner.js';
import { addressIn, isMissing, type JsonObject, jsonObject, objectIn, shown, sizeIn, textIn } from './json-line.js';
import type { LineParser } from './line-parser.js';

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
export class UmpireParser implements LineParser {
  readonly format = 'umpire';
  readonly maxLineBytes = 64 * 1024;
  name: string | undefined;
  readonly #events: EventBuilder;
  readonly #tracker: BlockTracker;
  readonly #spaces = new Map<string, number>();
  readonly #managers = new Map<string, number>();
  /** By allocator, the last that began last. One that failed has no second line. */
  readonly #reallocations = new Map<string, Reallocation[]>();
  #firstNs: number | undefined;

  constructor(events: EventBuilder) {
    this.#events = events;
    this.#tracker = new BlockTracker(events);
  }

  parse(text: Buffer, start: number, end: number, line: number): string | undefined {
    const row = text.toString('utf8', start, end);
    const event = jsonObject(row);
    if (event === undefined) return `${quote(row)} is no JSON object`;
    const texts = objectIn(event, 'string_args');
    this.#tick(event['timestamp']);
    switch (textIn(event, 'name')) {
      case 'allocate':
      case 'named_allocate': {
        const numbers = objectIn(event, 'numeric_args');
        const bytes = sizeIn(numbers, 'size');
        const pointer = addressIn(texts, 'pointer');
        if (bytes === undefined) return `the size of the allocation is ${shown(numbers, 'size')}, no integer below 2^53`;
        if (pointer === undefined) return `the pointer of the allocation is ${shown(texts, 'pointer')}, no address below 2^53`;
        if (pointer === 0 && bytes > 0) return `an allocation of ${bytes} bytes has no pointer`;
        const allocator = textIn(texts, 'allocator_ref');
        this.#enter(allocator);
        this.#events.tag = this.#events.strings.idOf(textIn(texts, 'allocation_name'));
        for (const begun of this.#reallocations.get(allocator) ?? []) begun.freed ||= begun.pointer === pointer;
        this.#tracker.alloc(pointer, bytes, line);
        return undefined;
      }
      case 'deallocate': {
        const pointer = addressIn(texts, 'pointer');
        if (pointer === undefined) return `the pointer of the free is ${shown(texts, 'pointer')}, no address below 2^53`;
        const allocator = textIn(texts, 'allocator_ref');
        this.#enter(allocator);
        // The allocator makes the new block itself, and has logged that.
        this.#takeReallocation(allocator, (begun) => begun.pointer === pointer && !begun.freed);
        this.#tracker.free(pointer, line);
        return undefined;
      }
      case 'reallocate':
        return this.#reallocate(event, texts, line);
      case 'release':
        this.#enter(textIn(texts, 'allocator_ref'));
        this.#events.note(TraceKind.cleanup, line);
        return undefined;
      case 'make_allocator':
      case 'make_memory_resource': {
        // Older files of this library have the name among the arguments.
        const manager = textIn(objectIn(event, 'tags'), 'allocator_name') || textIn(texts, 'allocator_name');
        this.#managers.set(textIn(texts, 'allocator_ref'), this.#events.strings.idOf(manager));
        return this.#managers.size > MAX_ALLOCATORS ? `there are more than ${MAX_ALLOCATORS} allocators` : undefined;
      }
      case 'program':
        this.name = textIn(texts, 'program') || undefined;
        return undefined;
      default:
        return undefined;
    }
  }

  #reallocate(event: JsonObject, texts: JsonObject, line: number): string | undefined {
    const allocator = textIn(texts, 'allocator_ref');
    if (isMissing(texts, 'new_ptr')) {
      const numbers = objectIn(event, 'numeric_args');
      const bytes = sizeIn(numbers, 'size');
      const pointer = addressIn(texts, 'current_ptr');
      if (bytes === undefined) return `the size of the reallocation is ${shown(numbers, 'size')}, no integer below 2^53`;
      if (pointer === undefined)
        return `the pointer of the reallocation is ${shown(texts, 'current_ptr')}, no address below 2^53`;
      // Without a block before it, it is an allocation, which is logged as one.
      if (pointer === 0) return undefined;
      const begun = this.#reallocations.get(allocator) ?? [];
      if (begun.push({ pointer, bytes, freed: false }) > MAX_BEGUN) begun.shift();
      this.#reallocations.set(allocator, begun);
      return undefined;
    }
    const pointer = addressIn(texts, 'new_ptr');
    if (pointer === undefined) return `the new pointer of the reallocation is ${shown(texts, 'new_ptr')}, no address below 2^53`;
    const begun =
      this.#takeReallocation(allocator, (one) => one.pointer === pointer) ?? this.#takeReallocation(allocator, () => true);
    if (begun === undefined) return undefined;
    this.#enter(allocator);
    if (!begun.freed) this.#tracker.free(begun.pointer, line);
    this.#tracker.alloc(pointer, begun.bytes, line);
    return undefined;
  }

  /** Takes the last reallocation of an allocator that a condition holds for. */
  #takeReallocation(allocator: string, condition: (begun: Reallocation) => boolean): Reallocation | undefined {
    const begun = this.#reallocations.get(allocator);
    const at = begun?.findLastIndex(condition) ?? -1;
    if (begun === undefined || at < 0) return undefined;
    const [taken] = begun.splice(at, 1);
    if (begun.length === 0) this.#reallocations.delete(allocator);
    return taken;
  }

  #tick(timestamp: unknown): void {
    if (typeof timestamp !== 'number' || !Number.isFinite(timestamp)) return;
    // A timestamp since 1970 is above 2^53: its last digits are lost when it is read, some 256 ns.
    this.#firstNs ??= timestamp;
    const since = Math.round(timestamp - this.#firstNs);
    if (Number.isSafeInteger(since)) this.#events.time = Math.max(this.#events.time, since);
  }

  /** Sets manager and space. */
  #enter(allocator: string): void {
    let space = this.#spaces.get(allocator);
    if (space === undefined) {
      if (this.#spaces.size === MAX_ALLOCATORS) throw new FormatFault(`there are more than ${MAX_ALLOCATORS} allocators`);
      space = this.#spaces.size === 0 ? 0 : this.#events.strings.idOf(allocator);
      this.#spaces.set(allocator, space);
    }
    this.#tracker.space = space;
    this.#events.manager = this.#managers.get(allocator) ?? 0;
  }
}
