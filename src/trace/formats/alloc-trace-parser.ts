import type { EventBuilder } from '../event-builder.js';
import { IntegerScanner, integerFault, quote } from './integer-scanner.js';
import type { LineParser } from './line-parser.js';

const A = 0x61;
const F = 0x66;
const BLANK = 0x20;
const HEADER = /^#alloctrace v1 (\S(?:.*\S)?)$/;
const FREED = -1;
const INITIAL_IDS = 16_384;
const MAX_IDS = 2 ** 28;

/** Tells whether a line is, or means to be, an allocation trace's first. */
export function isAllocTraceHeader(line: string): boolean {
  return line.startsWith('#alloctrace');
}

/**
 * Reads an allocation trace: `#alloctrace v1 <name>`, then `a <id> <bytes>` allocates, `f <id>` frees; ids count up from 0.
 * Keeps 4 bytes for each id.
 */
export class AllocTraceParser implements LineParser {
  readonly format = 'alloctrace';
  name: string | undefined;
  readonly #events: EventBuilder;
  readonly #integers = new IntegerScanner();
  #slotOfId = new Int32Array(INITIAL_IDS);
  #nextId = 0;

  constructor(events: EventBuilder) {
    this.#events = events;
  }

  parse(text: Buffer, start: number, end: number, line: number): string | undefined {
    if (line === 1) return this.#header(text.toString('utf8', start, end));
    const integers = this.#integers;
    const kind = text[start];
    if (text[start + 1] === BLANK && end - start > 2) {
      const id = integers.scan(text, start + 2, end);
      if (id >= 0 && kind === F && integers.at === end) return this.#free(id, line);
      if (id >= 0 && kind === A && integers.at < end && text[integers.at] === BLANK) {
        const bytes = integers.scan(text, integers.at + 1, end);
        if (bytes >= 0 && integers.at === end) return this.#alloc(id, bytes, line);
      }
    }
    return fault(text.toString('latin1', start, end));
  }

  #header(line: string): string | undefined {
    this.name = HEADER.exec(line)?.[1];
    return this.name === undefined ? `${quote(line)} is no header that is known: it reads "#alloctrace v1 <name>"` : undefined;
  }

  #alloc(id: number, bytes: number, line: number): string | undefined {
    if (id !== this.#nextId) {
      return id < this.#nextId ? `id ${id} was allocated before` : `id ${id} does not count up: ${this.#nextId} comes next`;
    }
    if (id === this.#slotOfId.length) {
      if (id === MAX_IDS) return `there are more than ${MAX_IDS} allocations, each of which takes 4 bytes to follow`;
      const larger = new Int32Array(id * 2);
      larger.set(this.#slotOfId);
      this.#slotOfId = larger;
    }
    this.#slotOfId[id] = this.#events.alloc(bytes, line);
    this.#nextId++;
    return undefined;
  }

  #free(id: number, line: number): string | undefined {
    if (id >= this.#nextId) return `id ${id} was never allocated`;
    const slot = this.#slotOfId[id]!;
    if (slot === FREED) return `id ${id} is already free`;
    this.#events.free(slot, line);
    this.#slotOfId[id] = FREED;
    return undefined;
  }
}

/** Says what is wrong with a line that is no event. */
function fault(line: string): string {
  const event = /^(?:a (\S+) (\S+)|f (\S+))$/.exec(line);
  if (event !== null) {
    const [, allocId, bytes, freeId] = event;
    const reason = integerFault('id', allocId ?? freeId ?? '') ?? (bytes === undefined ? undefined : integerFault('size', bytes));
    if (reason !== undefined) return reason;
  }
  return `${quote(line)} is no event: a line reads "a <id> <bytes>" or "f <id>"`;
}
