/** @import { Segment } from './view.js' */

const SEGMENT_GAP = 3;
const MIN_SEGMENT_WITH_GAP = 9;

/**
 * Lays native memory out like text: segment after segment by address, wrapped into rows. Pages that touch go on without
 * a gap. Positions are pixels from the start of the text.
 */
export class MapLayout {
  /** @type {{ start: number, end: number, at: number }[]} */
  ranges = [];
  rows;
  width;
  bytesPerPixel;

  /**
   * @param {readonly Segment[]} segments - by address
   * @param {number} width
   * @param {number} rows
   */
  constructor(segments, width, rows) {
    this.width = width;
    this.rows = rows;
    for (const { start, bytes, paged } of segments) {
      const last = this.ranges.at(-1);
      if (paged && last?.end === start) last.end += bytes;
      else this.ranges.push({ start, end: start + bytes, at: 0 });
    }
    const total = this.ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    // Gaps only where segments are wide enough to spare them.
    const gaps = (width * rows) / Math.max(1, this.ranges.length) > MIN_SEGMENT_WITH_GAP ? SEGMENT_GAP : 0;
    const room = Math.max(1, width * rows - gaps * this.ranges.length);
    this.bytesPerPixel = Math.max(total / room, 1 / 64);
    let at = 0;
    for (const range of this.ranges) {
      range.at = at;
      at += (range.end - range.start) / this.bytesPerPixel + gaps;
    }
  }

  /**
   * Where an address is, in pixels; undefined when no native memory has it.
   *
   * @param {number} address
   */
  positionOf(address) {
    const range = this.#rangeAt(address);
    return range === undefined ? undefined : range.at + (address - range.start) / this.bytesPerPixel;
  }

  /**
   * The address at a pixel; undefined in a gap or behind the end.
   *
   * @param {number} x
   * @param {number} row
   */
  addressAt(x, row) {
    const position = row * this.width + x;
    let low = 0;
    let high = this.ranges.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.ranges[middle]?.at ?? 0) <= position) low = middle;
      else high = middle - 1;
    }
    const range = this.ranges[low];
    if (range === undefined) return undefined;
    const address = range.start + (position - range.at) * this.bytesPerPixel;
    return address < range.end ? address : undefined;
  }

  /**
   * Cuts a stretch into the rectangles that it has on the rows.
   *
   * @param {number} from - pixels
   * @param {number} to - pixels
   * @param {(x: number, row: number, width: number) => void} draw
   */
  stretch(from, to, draw) {
    let start = Math.floor(from);
    const end = Math.max(start + 1, Math.floor(to));
    while (start < end) {
      const row = Math.floor(start / this.width);
      const stop = Math.min(end, (row + 1) * this.width);
      draw(start - row * this.width, row, stop - start);
      start = stop;
    }
  }

  /** @param {number} address */
  #rangeAt(address) {
    let low = 0;
    let high = this.ranges.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.ranges[middle]?.start ?? 0) <= address) low = middle;
      else high = middle - 1;
    }
    const range = this.ranges[low];
    return range !== undefined && range.start <= address && address < range.end ? range : undefined;
  }
}
