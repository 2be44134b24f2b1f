import type { EventBuilder } from '../event-builder.js';
import { IntegerScanner, integerFault, quote } from './integer-scanner.js';
import type { LineParser } from './line-parser.js';

const A = 0x61;
const F = 0x66;
const BLANK = 0x20;
const FREED = -1;
const INITIAL_IDS = 16_384;

/**
 * Reads the lines after `#alloctrace v1 <name>`: `a <id> <bytes>` allocates, `f <id>` frees; ids count up from 0.
 * Keeps 4 bytes for each id.
 */
export class AllocTraceParser implements LineParser {
  readonly format = 'alloctrace';
  readonly #events: EventBuilder;
  readonly #integers = new IntegerScanner();
  #slotOfId = new Int32Array(INITIAL_IDS);
  #nextId = 0;

  constructor(events: EventBuilder) {
    this.#events = events;
  }

  parse(text: Buffer, start: number, end: number, line: number): string | undefined {
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

  #alloc(id: number, bytes: number, line: number): string | undefined {
    if (id !== this.#nextId) {
      return id < this.#nextId ? `id ${id} was allocated before` : `id ${id} does not count up: ${this.#nextId} comes next`;
    }
    if (id === this.#slotOfId.length) {
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
