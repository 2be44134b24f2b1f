/** @import { Column } from '../report-data.js' */

const ARRAYS = { f64: Float64Array, u32: Uint32Array, u16: Uint16Array };

/** The unpacked binary columns of a page. */
export class Columns {
  #buffer;

  /** @param {ArrayBuffer} buffer */
  constructor(buffer) {
    this.#buffer = buffer;
  }

  /**
   * Unpacks what the page carries.
   *
   * @param {string} base64 - columns, compressed
   */
  static async unpack(base64) {
    const text = atob(base64.trim());
    const packed = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
    return new Columns(await new Response(stream).arrayBuffer());
  }

  /**
   * A view of one column.
   *
   * @param {Column} column
   * @returns {Float64Array | Uint32Array | Uint16Array}
   */
  get(column) {
    return new ARRAYS[column.type](this.#buffer, column.offset, column.length);
  }
}
