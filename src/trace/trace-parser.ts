import { basename } from 'node:path';
import { MemoryError } from '../core/errors.js';
import { EventBuilder } from './event-builder.js';
import { checkFile, FormatFault } from './formats/format-fault.js';
import type { FormatParser } from './formats/format-parser.js';
import { recognise } from './formats/formats.js';
import type { TraceFormat, TraceOrigin } from './trace-events.js';

// The name is shown on terminals.
const CONTROL = /\p{Cc}/gu;
const NOTHING = Buffer.alloc(0);

/**
 * Takes the bytes of a trace piece by piece and records its events. Its first bytes tell the format.
 * What it throws is ERR_MEM_BAD_INPUT with file, place and reason; nothing can be pushed afterwards.
 */
export class TraceParser implements TraceOrigin {
  readonly events = new EventBuilder();
  /** Whether the bytes come from gzip data that lacks its end. */
  packedCutOff = false;
  #parser: FormatParser | undefined;
  #head: Buffer = NOTHING;

  /** @param file - the name for messages */
  constructor(readonly file: string) {}

  /** The line that comes next, from 1; 0 in a format without lines. */
  get line(): number {
    return this.#parser?.line ?? 1;
  }

  get name(): string {
    return (this.#parser?.name ?? basename(this.file)).replace(CONTROL, '?');
  }

  /** Known from the first line on. */
  get format(): TraceFormat {
    return this.#parser?.format ?? 'alloctrace';
  }

  get cutOff(): string | undefined {
    const packed = this.line > 0 ? `the gzip data was cut off after line ${this.line - 1}` : 'the gzip data was cut off';
    return this.#parser?.cutOff ?? (this.packedCutOff ? packed : undefined);
  }

  /** Reads all that is complete. Cost: O(bytes). @throws ERR_MEM_BAD_INPUT */
  push(chunk: Buffer): void {
    this.#guarded(() => {
      if (this.#parser !== undefined) this.#parser.push(chunk);
      else this.#begin(this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]), false);
    });
  }

  /** Reads what is left. @throws ERR_MEM_BAD_INPUT */
  end(): void {
    this.#guarded(() => {
      if (this.#parser === undefined) {
        checkFile(this.#head.length > 0, 'the file is empty');
        this.#begin(this.#head, true);
      }
      this.#parser?.end();
      // A recording says itself that it is whole; a text without allocations is not what it was taken for.
      if (this.events.allocations === 0 && this.format !== 'stowage') {
        throw new FormatFault('the file ends here, and there are no allocations in it', Math.max(0, this.line - 1));
      }
    });
  }

  #begin(head: Buffer, last: boolean): void {
    this.#head = head;
    this.#parser = recognise(head, last, this.events);
    if (this.#parser === undefined) return;
    this.#head = NOTHING;
    this.#parser.push(head);
  }

  #guarded(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof FormatFault)) throw error;
      throw new MemoryError('ERR_MEM_BAD_INPUT', {
        file: this.file,
        line: error.line || (this.#parser?.line ?? 0),
        reason: this.packedCutOff ? `the gzip data is cut off: ${error.message}` : error.message,
      });
    }
  }
}
