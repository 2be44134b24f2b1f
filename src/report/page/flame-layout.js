/** @import { FlameNode } from './flame-tree.js' */

/** Narrower ones are not drawn, nor is what they call. */
const LEAST_WIDTH = 0.5;

/**
 * A frame on the canvas.
 *
 * @typedef {object} FlameBox
 * @property {FlameNode} node
 * @property {number} x
 * @property {number} width
 * @property {number} row
 * @property {boolean} isAbove - leads to the frame that fills the width
 */

/** Where frames stand when one of them fills the width: its callers above it, what it calls below. */
export class FlameLayout {
  /** @type {FlameBox[][]} by row, from left to right */
  rows = [];
  /** @type {Map<FlameNode, FlameBox>} */
  #boxes = new Map();

  /**
   * @param {FlameNode | null} filling
   * @param {number} width
   */
  constructor(filling, width) {
    if (filling === null) return;
    const above = [];
    for (let node = filling.parent; node !== null; node = node.parent) above.unshift(node);
    for (const [row, node] of above.entries()) this.#put({ node, x: 0, width, row, isAbove: true });
    const perByte = filling.bytes > 0 ? width / filling.bytes : 0;
    const lay = (/** @type {FlameNode} */ node, /** @type {number} */ x, /** @type {number} */ row) => {
      const box = { node, x, width: node.bytes * perByte, row, isAbove: false };
      if (box.width < LEAST_WIDTH) return;
      this.#put(box);
      let at = x;
      for (const child of node.children) {
        lay(child, at, row + 1);
        at += child.bytes * perByte;
      }
    };
    lay(filling, 0, above.length);
  }

  /** @param {FlameNode | null} node */
  boxOf(node) {
    return node === null ? undefined : this.#boxes.get(node);
  }

  /**
   * @param {number} x
   * @param {number} row
   */
  at(x, row) {
    const boxes = this.rows[row] ?? [];
    return boxes.find((box) => box.x <= x && x < box.x + box.width);
  }

  /**
   * The frame that an arrow key leads to.
   *
   * @param {FlameNode} node
   * @param {string} key
   * @returns {FlameNode | undefined} undefined for other keys
   */
  neighbour(node, key) {
    const box = this.#boxes.get(node);
    if (box === undefined) return undefined;
    const row = this.rows[box.row] ?? [];
    const place = row.indexOf(box);
    switch (key) {
      case 'ArrowUp':
        return node.parent ?? node;
      case 'ArrowDown':
        return (box.isAbove ? this.rows[box.row + 1]?.[0]?.node : node.children.find((child) => this.#boxes.has(child))) ?? node;
      case 'ArrowLeft':
        return row[Math.max(0, place - 1)]?.node;
      case 'ArrowRight':
        return row[Math.min(row.length - 1, place + 1)]?.node;
      default:
        return undefined;
    }
  }

  /** @param {FlameBox} box */
  #put(box) {
    (this.rows[box.row] ??= []).push(box);
    this.#boxes.set(box.node, box);
  }
}
