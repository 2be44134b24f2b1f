import { element } from './dom.js';
import { placeOf } from './flame-tree.js';
import { formatAmount, formatBytes, formatShare } from './format.js';

/** @import { FlameNode } from './flame-tree.js' */

const TIP_DISTANCE = 14;

/**
 * What a frame has, in words.
 *
 * @param {FlameNode} node
 * @param {number} allBytes
 * @returns {string}
 */
export function amountText(node, allBytes) {
  const share = allBytes === 0 ? '' : `, ${formatShare(node.bytes / allBytes)}`;
  const own = node.ownBytes > 0 && node.ownBytes < node.bytes ? `; ${formatBytes(node.ownBytes)} in this very frame` : '';
  return `${formatBytes(node.bytes)}${share}, in ${formatAmount(node.blocks, 'block')}${own}`;
}

/** Tells about the frame under the pointer, beside it. */
export class FlameTip {
  #box = element('div', { class: 'hint-text flame-tip', 'aria-hidden': 'true' });

  constructor() {
    this.#box.hidden = true;
    document.body.append(this.#box);
    document.addEventListener('scroll', () => this.hide(), { passive: true, capture: true });
  }

  /**
   * @param {FlameNode} node
   * @param {number} allBytes
   * @param {PointerEvent} event
   */
  show(node, allBytes, { clientX, clientY }) {
    const place = placeOf(node);
    const lines = [element('strong', {}, node.name), ...(place === '' ? [] : [element('div', {}, place)])];
    // Where it does not become narrower than its text.
    this.#box.style.left = '0';
    this.#box.replaceChildren(...lines, element('div', {}, amountText(node, allBytes)));
    this.#box.hidden = false;
    const { width, height } = this.#box.getBoundingClientRect();
    const below = clientY + TIP_DISTANCE;
    const top = below + height < innerHeight ? below : clientY - TIP_DISTANCE - height;
    this.#box.style.left = `${Math.max(0, Math.min(clientX + TIP_DISTANCE, document.documentElement.clientWidth - width))}px`;
    this.#box.style.top = `${Math.max(0, top)}px`;
  }

  hide() {
    this.#box.hidden = true;
  }
}
