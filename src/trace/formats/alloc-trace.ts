import { idsColumn } from '../event-column.js';
import { TraceKind } from '../trace-events.js';
import { checkFile, FormatFault, quote } from './format-fault.js';
import { LineReader } from './format-parser.js';
import { IntegerScanner, integerFault } from './integer-scanner.js';
import { type ByteSink, type ColumnName, type EventRows, TextWriter } from './trace-writer.js';

const A = 0x61;
const F = 0x66;
const BLANK = 0x20;
const HEADER = /^#alloctrace v1 (\S(?:.*\S)?)$/;
const FREED = -1;
const MAX_IDS = 2 ** 28;

/** Tells whether a line is, or means to be, an allocation trace's first. */
export function isAllocTraceHeader(line: string): boolean {
  return line.startsWith('#alloctrace');
}

/**
 * Reads an allocation trace: `#alloctrace v1 <name>`, then `a <id> <bytes>` allocates, `f <id>` frees; ids count up from 0.
 * Keeps 4 bytes for each id.
 */
export class AllocTraceParser extends LineReader {
  readonly #integers = new IntegerScanner();
  readonly #slotOfId = idsColumn();
  #nextId = 0;

  protected override parse(text: Buffer, start: number, end: number, line: number): void {
    const integers = this.#integers;
    const kind = text[start + 1] === BLANK && end - start > 2 ? text[start] : undefined;
    if (line === 1) this.#header(text.toString('utf8', start, end));
    else {
      const id = kind === A || kind === F ? integers.scan(text, start + 2, end) : -1;
      const isSized = kind === A && id >= 0 && integers.at < end && text[integers.at] === BLANK;
      const bytes = isSized ? integers.scan(text, integers.at + 1, end) : -1;
      if (id < 0 || integers.at !== end || (kind === A && bytes < 0))
        throw new FormatFault(reasonFor(text.toString('latin1', start, end)));
      if (kind === A) this.#alloc(id, bytes, line);
      else this.#free(id, line);
    }
  }

  #header(line: string): void {
    this.name = HEADER.exec(line)?.[1];
    checkFile(this.name !== undefined, `${quote(line)} is no header that is known: it reads "#alloctrace v1 <name>"`);
  }

  #alloc(id: number, bytes: number, line: number): void {
    if (id < this.#nextId) throw new FormatFault(`id ${id} was allocated before`);
    if (id > this.#nextId) throw new FormatFault(`id ${id} does not count up: ${this.#nextId} comes next`);
    if (id === MAX_IDS)
      throw new FormatFault(`there are more than ${MAX_IDS} allocations, each of which takes 4 bytes to follow`);
    this.#slotOfId.set(id, this.events.alloc(bytes, line));
    this.#nextId++;
  }

  #free(id: number, line: number): void {
    if (id >= this.#nextId) throw new FormatFault(`id ${id} was never allocated`);
    const slot = this.#slotOfId.get(id);
    if (slot === FREED) throw new FormatFault(`id ${id} is already free`);
    this.events.free(slot, line);
    this.#slotOfId.set(id, FREED);
  }
}

/** Says what is wrong with a line that is no event. */
function reasonFor(line: string): string {
  const [, allocId, bytes, freeId] = /^(?:a (\S+) (\S+)|f (\S+))$/.exec(line) ?? [];
  const id = allocId ?? freeId;
  const reason = (id && integerFault('id', id)) ?? (bytes && integerFault('size', bytes));
  return reason || `${quote(line)} is no event: a line reads "a <id> <bytes>" or "f <id>"`;
}

/** Writes an allocation trace. */
export class AllocTraceWriter extends TextWriter {
  override readonly columns: readonly ColumnName[] = [];
  protected override readonly rows: EventRows<string> = {
    [TraceKind.alloc]: ({ slots, bytes }, i) => {
      this.#idOfSlot.set(slots[i]!, this.#nextId);
      return `a ${this.#nextId++} ${bytes[i]}\n`;
    },
    [TraceKind.free]: ({ slots }, i) => `f ${this.#idOfSlot.get(~slots[i]!)}\n`,
  };
  readonly #idOfSlot = idsColumn();
  #nextId = 0;

  constructor(sink: ByteSink, name: string) {
    super(sink);
    this.add(`#alloctrace v1 ${name.replace(/\s+/g, ' ').trim() || 'trace'}\n`);
  }
}
