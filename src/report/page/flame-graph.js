import { element } from './dom.js';
import { FlameLayout } from './flame-layout.js';
import { FlameTip } from './flame-text.js';
import { pathOf } from './flame-tree.js';
import { colour } from './theme.js';
import { Signal } from './view.js';

/**
 * @import { FlameBox } from './flame-layout.js'
 * @import { FlameNode, FlameTree } from './flame-tree.js'
 */

const FRAME_HEIGHT = 20;
const LABEL_INSET = 5;
const LEAST_LABEL = 24;
const EDGE_WIDTH = 2;
const LEAST_SHOWN = 0.5;
/** Their colour over the panel's: labels stay readable. */
const BOX_ALPHA = 0.3;
const FAINT_ALPHA = 0.12;
const MATCH_ALPHA = 0.45;
const LABEL_FONT = '12px system-ui, sans-serif';

/** Draws a tree of frames, each as wide as its bytes: callers above, what they call below. */
export class FlameGraph {
  /** Sent when another frame is told about, or fills the width. */
  changed = new Signal();
  /** @type {FlameNode | null} the frame that is told about */
  selected = null;
  /** @type {FlameNode | null} the frame that fills the width */
  filling = null;
  #canvas;
  #tip = new FlameTip();
  /** @type {FlameTree | null} */
  #tree = null;
  #layout = new FlameLayout(null, 0);
  /** @type {(node: FlameNode) => string} */
  #colourOf = () => '--map-other';
  /** @type {((node: FlameNode) => boolean) | null} */
  #matches = null;
  /** @type {string[][]} those that filled the width before */
  #before = [];

  /**
   * @param {HTMLElement} place
   * @param {string} described - the id of the part that tells about the selected frame
   */
  constructor(place, described) {
    this.#canvas = element('canvas', { tabindex: '0', role: 'img', 'aria-label': 'Flame graph', 'aria-describedby': described });
    place.replaceChildren(this.#canvas);
    this.#canvas.addEventListener('pointermove', (event) => this.#point(event));
    this.#canvas.addEventListener('pointerleave', () => this.#tip.hide());
    this.#canvas.addEventListener('click', (event) => this.fill(this.#at(event)));
    this.#canvas.addEventListener('keydown', (event) => this.#onKey(event));
    new ResizeObserver(() => this.#lay()).observe(place);
  }

  /**
   * Shows another tree. Stays at the same frames where it has them.
   *
   * @param {FlameTree} tree
   * @param {(node: FlameNode) => string} colourOf - the name of a frame's colour in the style sheet
   */
  show(tree, colourOf) {
    const [filling, selected] = [this.filling, this.selected].map((node) => (node === null ? [] : pathOf(node)));
    const hadSelection = this.selected !== null;
    this.#tree = tree;
    this.#colourOf = colourOf;
    this.filling = tree.find(filling ?? []);
    this.selected = hadSelection ? tree.find(selected ?? []) : null;
    this.#tip.hide();
    this.#lay();
  }

  /** @param {((node: FlameNode) => boolean) | null} matches - null for no search */
  highlight(matches) {
    this.#matches = matches;
    this.draw();
  }

  /** @param {FlameNode | undefined} node */
  fill(node) {
    if (node === undefined || this.filling === null) return;
    if (node !== this.filling) this.#before.push(pathOf(this.filling));
    this.filling = node;
    this.selected = node;
    this.#lay();
  }

  /** Goes back to what filled the width before. */
  back() {
    if (this.#tree === null) return;
    this.filling = this.#tree.find(this.#before.pop() ?? []);
    this.#lay();
  }

  draw() {
    const width = this.#canvas.parentElement?.clientWidth ?? 0;
    const height = Math.max(1, this.#layout.rows.length) * FRAME_HEIGHT;
    const context = this.#canvas.getContext('2d');
    if (width === 0 || context === null) return;
    const ratio = devicePixelRatio;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    this.#canvas.style.height = `${height}px`;
    context.scale(ratio, ratio);
    context.font = LABEL_FONT;
    context.textBaseline = 'middle';
    for (const boxes of this.#layout.rows) for (const box of boxes) this.#drawBox(context, box);
    const box = this.#layout.boxOf(this.selected);
    if (box === undefined) return;
    context.strokeStyle = colour('--text');
    context.lineWidth = 2;
    context.strokeRect(box.x + 1, box.row * FRAME_HEIGHT + 1, Math.max(1, box.width - 3), FRAME_HEIGHT - 3);
  }

  /** @param {string} text - what the picture shows */
  describe(text) {
    this.#canvas.setAttribute('aria-label', text);
  }

  #lay() {
    this.#layout = new FlameLayout(this.filling, this.#canvas.parentElement?.clientWidth ?? 0);
    this.draw();
    this.changed.send();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {FlameBox} box
   */
  #drawBox(context, { node, x, width, row, isAbove }) {
    const top = row * FRAME_HEIGHT;
    const shown = Math.max(LEAST_SHOWN, width - 1);
    const isMatch = this.#matches?.(node) === true;
    const isFaint = isAbove || (this.#matches !== null && !isMatch);
    context.fillStyle = colour(this.#colourOf(node));
    context.globalAlpha = isMatch ? MATCH_ALPHA : isFaint ? FAINT_ALPHA : BOX_ALPHA;
    context.fillRect(x, top, shown, FRAME_HEIGHT - 1);
    context.globalAlpha = isFaint ? BOX_ALPHA : 1;
    if (width > 2 * EDGE_WIDTH) context.fillRect(x, top, EDGE_WIDTH, FRAME_HEIGHT - 1);
    context.globalAlpha = 1;
    if (width < LEAST_LABEL) return;
    context.fillStyle = colour(isFaint ? '--text-soft' : '--text');
    const text = fitted(context, node.name, width - 2 * LABEL_INSET);
    context.fillText(text, x + LABEL_INSET, top + FRAME_HEIGHT / 2);
  }

  /** @param {MouseEvent} event */
  #at(event) {
    const box = this.#canvas.getBoundingClientRect();
    return this.#layout.at(event.clientX - box.left, Math.floor((event.clientY - box.top) / FRAME_HEIGHT))?.node;
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const node = this.#at(event);
    this.#canvas.style.cursor = node === undefined ? 'default' : 'pointer';
    if (node === undefined || this.#tree === null) this.#tip.hide();
    else {
      this.#tip.show(node, this.#tree.root.bytes, event);
      this.#select(node);
    }
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.#tree === null) return;
    const from = this.#layout.boxOf(this.selected) === undefined ? null : this.selected;
    if (event.key === 'Enter' && from !== null) this.fill(from);
    else if (event.key === 'Escape') this.back();
    else {
      const node = this.#placeOfKey(this.#tree.root, from, event.key);
      if (node === undefined || node === null) return;
      this.#select(node);
    }
    event.preventDefault();
    this.#tip.hide();
  }

  /**
   * @param {FlameNode} root
   * @param {FlameNode | null} from
   * @param {string} key
   */
  #placeOfKey(root, from, key) {
    if (key === 'Home') return root;
    if (from !== null) return this.#layout.neighbour(from, key);
    return key.startsWith('Arrow') ? this.filling : null;
  }

  /** @param {FlameNode} node */
  #select(node) {
    if (node === this.selected) return;
    this.selected = node;
    this.draw();
    this.changed.send();
  }
}

/**
 * The beginning of a text that fits into a width.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} width
 */
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let [fits, tooLong] = [0, text.length];
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) fits = middle;
    else tooLong = middle;
  }
  return fits === 0 ? '' : `${text.slice(0, fits)}…`;
}
