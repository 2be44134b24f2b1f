import type { EventBuilder } from '../event-builder.js';
import { TraceKind } from '../trace-events.js';
import { BlockTracker } from './block-tracker.js';
import { quote } from './integer-scanner.js';
import { addressIn, jsonObject, objectIn, shown, sizeIn, textIn } from './json-line.js';
import type { LineParser } from './line-parser.js';

/** Tells whether a line is an event of Umpire. */
export function isUmpireLine(line: string): boolean {
  return line.startsWith('{') && line.includes('"category"') && line.includes('"name"');
}

/**
 * Reads Umpire's replay: one JSON object a line. Allocations of each allocator are a space of their own, since a pool's
 * first block has the address of the memory below it. Events other than those that allocate, free and release are passed over.
 */
export class UmpireParser implements LineParser {
  readonly format = 'umpire';
  readonly maxLineBytes = 64 * 1024;
  name: string | undefined;
  readonly #events: EventBuilder;
  readonly #tracker: BlockTracker;
  readonly #spaces = new Map<string, number>();
  readonly #managers = new Map<string, number>();
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
        this.#enter(textIn(texts, 'allocator_ref'));
        this.#events.tag = this.#events.strings.idOf(textIn(texts, 'allocation_name'));
        this.#tracker.alloc(pointer, bytes, line);
        return undefined;
      }
      case 'deallocate': {
        const pointer = addressIn(texts, 'pointer');
        if (pointer === undefined) return `the pointer of the free is ${shown(texts, 'pointer')}, no address below 2^53`;
        this.#enter(textIn(texts, 'allocator_ref'));
        this.#tracker.free(pointer, line);
        return undefined;
      }
      case 'release':
        this.#enter(textIn(texts, 'allocator_ref'));
        this.#events.note(TraceKind.cleanup, line);
        return undefined;
      case 'make_allocator':
      case 'make_memory_resource': {
        const manager = textIn(texts, 'allocator_name') || textIn(texts, 'name');
        this.#managers.set(textIn(texts, 'allocator_ref'), this.#events.strings.idOf(manager));
        return undefined;
      }
      case 'program':
        this.name = textIn(texts, 'program') || undefined;
        return undefined;
      default:
        return undefined;
    }
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
      space = this.#spaces.size === 0 ? 0 : this.#events.strings.idOf(allocator);
      this.#spaces.set(allocator, space);
    }
    this.#tracker.space = space;
    this.#events.manager = this.#managers.get(allocator) ?? 0;
  }
}
