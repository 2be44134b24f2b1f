import { choice, element, part, swatch } from './dom.js';
import { formatAddress, formatAmount, formatBytes } from './format.js';
import { MapLayout } from './map-layout.js';
import { programLines } from './node-frames.js';
import { siteCell } from './site-cell.js';
import { COLOURS, colour, SCALE_STEPS } from './theme.js';

/**
 * @import { Block } from './view.js'
 * @import { ReplayView } from './replay-view.js'
 */

const ROW_HEIGHT = 14;
const ROW_GAP = 3;
const WIDE_ROWS = 24;
const NARROW_ROWS = 32;
const NARROW = 600;
const BLOCK_GAP = 4;
/** The frame around the selected block is at least so wide, however small the block is. */
const LEAST_FRAME = 12;
const FRAME_WIDTH = 2.5;
/** Between the frame and what is beside it, in the colour of the panel. */
const HALO_WIDTH = 6;
/** How much of the others is left while a block is chosen. */
const VEIL = 0.45;

/** @typedef {'size' | 'age' | 'tag'} ColourBy */

/**
 * Draws the segments and blocks of one run at the chosen moment, and tells about the block under the pointer or the keys. A block that
 * was clicked, or gone to by keys, stays chosen until another one is, or Escape.
 */
export class AddressMap {
  #view;
  #canvas;
  /** @type {ColourBy} */
  #colourBy = 'size';
  /** @type {Block[]} by address */
  #blocks = [];
  /** @type {MapLayout} */
  #layout = new MapLayout([], 1, 1);
  /** The place of the block that is told about, among the blocks. */
  #selected = -1;
  /** Whether it stays when the pointer goes elsewhere. */
  #isChosen = false;
  /** @type {string[]} */
  #tags = [];
  #scale = { least: 1, most: 2 };

  /** @param {Pick<ReplayView, 'runs' | 'run' | 'changed' | 'blocks' | 'segments' | 'ageText'> & { chooseRun?: (run: number) => void }} view */
  constructor(view) {
    this.#view = view;
    this.#canvas = element('canvas', { tabindex: '0', role: 'img', 'aria-describedby': 'map-detail' });
    part('map-canvas').replaceChildren(this.#canvas);
    this.#controls();
    this.#canvas.addEventListener('pointermove', (event) => {
      if (!this.#isChosen) this.#select(this.#placeAt(event), false);
    });
    this.#canvas.addEventListener('click', (event) => {
      const place = this.#placeAt(event);
      this.#select(place, place !== -1);
    });
    this.#canvas.addEventListener('pointerleave', () => {
      if (!this.#isChosen) this.#select(-1, false);
    });
    this.#canvas.addEventListener('keydown', (event) => this.#onKey(event));
    new ResizeObserver(() => this.update()).observe(part('map-canvas'));
    view.changed.on(() => this.update());
  }

  /** Reads the blocks of the chosen moment and draws them. */
  update() {
    const width = part('map-canvas').clientWidth;
    if (width === 0) return;
    const selected = this.#blocks[this.#selected]?.address;
    this.#blocks = this.#view.blocks().sort((a, b) => a.address - b.address);
    this.#layout = new MapLayout(this.#view.segments(), width, width < NARROW ? NARROW_ROWS : WIDE_ROWS);
    this.#selected = selected === undefined ? -1 : this.#blocks.findIndex(({ address }) => address === selected);
    this.#isChosen &&= this.#selected !== -1;
    this.#measure();
    this.#legend();
    this.draw();
    this.#tell();
  }

  draw() {
    const { width, rows } = this.#layout;
    const height = rows * (ROW_HEIGHT + ROW_GAP) - ROW_GAP;
    const ratio = devicePixelRatio;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    this.#canvas.style.height = `${height}px`;
    const context = this.#canvas.getContext('2d');
    if (context === null) return;
    context.scale(ratio, ratio);
    context.fillStyle = colour('--map-free');
    for (const { at, start, end } of this.#layout.ranges) {
      this.#fill(context, at, at + (end - start) / this.#layout.bytesPerPixel);
    }
    let painted = -1;
    for (const block of this.#blocks) {
      const from = this.#layout.positionOf(block.address);
      if (from === undefined) continue;
      const to = from + block.bytes / this.#layout.bytesPerPixel;
      // Of blocks that share a pixel the first one shows.
      if (Math.floor(to) <= painted) continue;
      context.fillStyle = colour(this.#colourOf(block));
      this.#fill(context, Math.max(from, painted), to - from > BLOCK_GAP ? to - 1 : to);
      painted = Math.floor(to);
    }
    this.#outline(context);
    const reserved = this.#layout.ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    const live = this.#blocks.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#canvas.setAttribute(
      'aria-label',
      `Address map${this.#view.chooseRun === undefined ? '' : ` of ${this.#view.runs[this.#view.run]?.name}`}: ${formatAmount(this.#blocks.length, 'block')}, ${formatBytes(live)}, ` +
        `in ${formatBytes(reserved)} of reserved memory. Arrow keys go from block to block, Escape to none.`,
    );
  }

  #controls() {
    const colourChoice = choice(
      'colour by',
      [
        ['size', 'size'],
        ['age', 'age'],
        ['tag', 'tag'],
      ],
      (value) => {
        this.#colourBy = /** @type {ColourBy} */ (value);
        this.update();
      },
    );
    part('map-controls').replaceChildren(...this.#runChoice(), colourChoice);
  }

  /** A choice between the runs; nothing where all of them share one map. */
  #runChoice() {
    const view = this.#view;
    if (view.chooseRun === undefined) return [];
    const names = view.runs.map(({ name }, place) => /** @type {const} */ ([String(place), name]));
    const made = choice('manager', names, (value) => view.chooseRun?.(Number(value)));
    const select = made.querySelector('select');
    const show = () => {
      if (select !== null) select.value = String(view.run);
    };
    view.changed.on(show);
    show();
    return [made];
  }

  /** Finds the range of the scale, or the tags with the most bytes. */
  #measure() {
    if (this.#colourBy === 'tag') {
      /** @type {Map<string, number>} */
      const bytesOf = new Map();
      for (const { tag, bytes } of this.#blocks) if (tag !== '') bytesOf.set(tag, (bytesOf.get(tag) ?? 0) + bytes);
      this.#tags = [...bytesOf].sort((a, b) => b[1] - a[1]).map(([tag]) => tag);
      return;
    }
    let least = Number.POSITIVE_INFINITY;
    let most = 1;
    for (const block of this.#blocks) {
      const value = Math.max(1, this.#valueOf(block));
      if (value < least) least = value;
      if (value > most) most = value;
    }
    this.#scale = { least: Math.min(least, most), most };
  }

  /** @param {Block} block */
  #valueOf(block) {
    return this.#colourBy === 'age' ? block.age : block.bytes;
  }

  /** @param {Block} block */
  #colourOf(block) {
    if (this.#colourBy === 'tag') {
      const place = this.#tags.indexOf(block.tag);
      return place === -1 || place >= COLOURS ? '--map-other' : `--manager-${place}`;
    }
    const { least, most } = this.#scale;
    const share = most > least ? Math.log(Math.max(1, this.#valueOf(block)) / least) / Math.log(most / least) : 0;
    return `--scale-${Math.min(SCALE_STEPS - 1, Math.max(0, Math.floor(share * SCALE_STEPS)))}`;
  }

  #legend() {
    const entries = [entry('--map-free', 'reserved, free')];
    if (this.#colourBy === 'tag') {
      entries.push(...this.#tags.slice(0, COLOURS).map((tag, place) => entry(`--manager-${place}`, tag)));
      const other = this.#blocks.some(({ tag }) => tag === '' || this.#tags.indexOf(tag) >= COLOURS);
      if (other) entries.push(entry('--map-other', this.#tags.length === 0 ? 'block without a tag' : 'other or no tag'));
    } else if (this.#blocks.length > 0) {
      const { least, most } = this.#scale;
      const format = this.#colourBy === 'age' ? this.#view.ageText : formatBytes;
      const scale = element('span', { class: 'scale', 'aria-hidden': 'true' });
      for (let step = 0; step < SCALE_STEPS; step++) scale.append(swatch(`--scale-${step}`));
      entries.push(element('span', { class: 'entry' }, format(least), scale, format(most)));
    }
    part('map-legend').replaceChildren(...entries);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} from
   * @param {number} to
   */
  #fill(context, from, to) {
    this.#layout.stretch(from, to, (x, row, width) => context.fillRect(x, row * (ROW_HEIGHT + ROW_GAP), width, ROW_HEIGHT));
  }

  /** @param {CanvasRenderingContext2D} context */
  #outline(context) {
    const block = this.#blocks[this.#selected];
    const from = block === undefined ? undefined : this.#layout.positionOf(block.address);
    if (block === undefined || from === undefined) return;
    const to = from + block.bytes / this.#layout.bytesPerPixel;
    const { width: rowWidth } = this.#layout;
    if (this.#isChosen) {
      context.fillStyle = colour('--panel');
      context.globalAlpha = VEIL;
      context.fillRect(0, 0, rowWidth, this.#layout.rows * (ROW_HEIGHT + ROW_GAP));
      context.globalAlpha = 1;
      context.fillStyle = colour(this.#colourOf(block));
      this.#fill(context, from, to);
    }
    for (const [name, lineWidth] of /** @type {const} */ ([
      ['--panel', HALO_WIDTH],
      ['--moment', FRAME_WIDTH],
    ])) {
      context.strokeStyle = colour(name);
      context.lineWidth = lineWidth;
      this.#layout.stretch(from, to, (x, row, width) => {
        const wide = Math.max(LEAST_FRAME, width + 2);
        const left = Math.min(Math.max(x + width / 2 - wide / 2, 1), rowWidth - wide - 1);
        const top = row * (ROW_HEIGHT + ROW_GAP);
        // On the first and the last row it stays in sight.
        context.strokeRect(left, Math.max(1, top - 1), wide, ROW_HEIGHT + 2 - (top === 0 ? 2 : 0));
      });
    }
    // The halo covers a block that is narrower than it.
    context.fillStyle = colour(this.#colourOf(block));
    this.#fill(context, from, to);
  }

  /**
   * The place of the block at a point; -1 for none.
   *
   * @param {MouseEvent} event
   */
  #placeAt(event) {
    const box = this.#canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / (ROW_HEIGHT + ROW_GAP));
    const address = this.#layout.addressAt(event.clientX - box.left, row);
    if (address === undefined) return -1;
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#blocks[middle]?.address ?? 0) <= address) low = middle;
      else high = middle - 1;
    }
    const block = this.#blocks[low];
    // A block may be narrower than a pixel.
    const end = block === undefined ? 0 : block.address + Math.max(block.bytes, this.#layout.bytesPerPixel);
    return block !== undefined && block.address <= address && address < end ? low : -1;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const last = this.#blocks.length - 1;
    /** @type {Record<string, number>} */
    const places = {
      ArrowRight: Math.min(last, this.#selected + 1),
      ArrowLeft: Math.max(0, this.#selected - 1),
      ArrowDown: Math.min(last, this.#selected + Math.max(1, Math.round(last / this.#layout.rows))),
      ArrowUp: Math.max(0, this.#selected - Math.max(1, Math.round(last / this.#layout.rows))),
      Home: 0,
      End: last,
      Escape: -1,
    };
    const place = places[event.key];
    if (place === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#select(place, place !== -1);
  }

  /**
   * @param {number} place - -1 for none
   * @param {boolean} isChosen - whether it stays
   */
  #select(place, isChosen) {
    if (place === this.#selected && isChosen === this.#isChosen) return;
    this.#selected = place;
    this.#isChosen = isChosen;
    this.draw();
    this.#tell();
  }

  #tell() {
    const block = this.#blocks[this.#selected];
    part('map-site').replaceChildren(
      ...(block === undefined || !this.#isChosen || block.site === '' ? [] : [siteCell(block.site)]),
    );
    part('map-detail').textContent = block === undefined ? this.#invitation() : this.#describe(block);
  }

  #invitation() {
    return this.#layout.ranges.length === 0
      ? 'No native memory is reserved at this moment, or the run had stopped before it.'
      : 'Point at a block, click it, or press the arrow keys in the map, to see what it is.';
  }

  /** @param {Block} block */
  #describe(block) {
    const size =
      block.padding > 0
        ? `${formatBytes(block.bytes)} in a block of ${formatBytes(block.bytes + block.padding)}`
        : formatBytes(block.bytes);
    const words = [size, `at ${formatAddress(block.address)}`, `${this.#view.ageText(block.age)} old`];
    if (block.tag !== '') words.push(`tag ${block.tag}`);
    // Where it stays, its whole stack is below.
    if (block.site !== '' && !this.#isChosen) words.push(programLines(block.site).lines[0] ?? '');
    return words.join(' · ');
  }
}

/**
 * @param {string} colourName
 * @param {string} text
 */
function entry(colourName, text) {
  return element('span', { class: 'entry' }, swatch(colourName), text);
}
