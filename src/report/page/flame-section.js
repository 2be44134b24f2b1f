import { choice, element, part, swatch, toggle } from './dom.js';
import { FlameGraph } from './flame-graph.js';
import { amountText } from './flame-text.js';
import { FlameTree, placeOf } from './flame-tree.js';
import { formatAmount, formatBytes, formatCount, formatShare } from './format.js';
import { siteCell } from './site-cell.js';
import { fillTable } from './tables.js';
import { COLOURS } from './theme.js';

/**
 * @import { SiteStacks } from '../report-data.js'
 * @import { FlameNode } from './flame-tree.js'
 */

const SHOWN_SITES = 20;
/** The last colour is near that of the others. */
const OWNER_COLOURS = COLOURS - 1;
/** @type {SiteStacks} */
const NO_STACKS = {
  measures: [],
  frames: [],
  sites: [],
  others: { bytes: [], blocks: [] },
  unknown: { bytes: [], blocks: [] },
  siteCount: 0,
};

/** Flame graphs of what allocation sites hold, with a search, and the heaviest sites as a table. */
export class FlameSection {
  #titles;
  #missing;
  #graph = new FlameGraph(part('flame-canvas'), 'flame-detail');
  #tree = new FlameTree(NO_STACKS, 0, false);
  #stacks = NO_STACKS;
  #measure;
  #withNode = false;
  #wanted = '';
  /** The colours of packages and files, which keep theirs while the page is open. @type {Map<string, number>} */
  #colours = new Map();

  /**
   * @param {Readonly<Record<string, string>>} titles - of the measures, the one that is shown first in front
   * @param {string} missing - how to get sites, where there are none; code between backticks
   */
  constructor(titles, missing) {
    this.#titles = titles;
    this.#missing = missing;
    this.#measure = Object.keys(titles)[0] ?? '';
    this.#graph.changed.on(() => this.#tell());
    part('flame-all').addEventListener('click', () => this.#graph.fill(this.#tree.root));
  }

  /** @param {SiteStacks | null} stacks - null when no site is known */
  show(stacks) {
    part('flame').hidden = stacks === null;
    part('flame-skip').hidden = stacks === null;
    part('flame-missing').hidden = stacks !== null;
    part('flame-missing').replaceChildren(...withCode(this.#missing));
    if (stacks === null) return;
    const isOther = stacks.measures.join() !== this.#stacks.measures.join();
    this.#stacks = stacks;
    if (isOther) this.#controls();
    this.#update();
  }

  /** Draws anew in the colours of another theme. */
  redraw() {
    this.#graph.draw();
  }

  #controls() {
    const measures = Object.entries(this.#titles).filter(([measure]) => this.#stacks.measures.some((known) => known === measure));
    if (!measures.some(([measure]) => measure === this.#measure)) this.#measure = measures[0]?.[0] ?? '';
    const measure = choice('bytes', measures, (value) => {
      this.#measure = value;
      this.#update();
    });
    const search = element('input', { type: 'search', placeholder: 'function or file', spellcheck: 'false' });
    search.addEventListener('input', () => {
      this.#wanted = search.value.trim().toLowerCase();
      this.#search();
    });
    const node = toggle('Node’s own frames', this.#withNode, (on) => {
      this.#withNode = on;
      this.#update();
    });
    const label = element('label', { class: 'choice' }, element('span', {}, 'search'), search);
    part('flame-controls').replaceChildren(measure, label, node);
  }

  #update() {
    const measures = /** @type {readonly string[]} */ (this.#stacks.measures);
    const place = measures.indexOf(this.#measure);
    this.#tree = new FlameTree(this.#stacks, place, this.#withNode);
    for (const owner of this.#tree.owners) {
      if (this.#colours.size < OWNER_COLOURS) this.#colours.set(owner, this.#colours.get(owner) ?? this.#colours.size);
    }
    this.#graph.show(this.#tree, (node) => this.#colourOf(node.owner));
    const { bytes, blocks } = this.#tree.root;
    const { siteCount, sites } = this.#stacks;
    const left = siteCount - sites.length;
    const rest =
      left > 0
        ? ` Of ${formatCount(siteCount)} sites the heaviest ${formatCount(sites.length)} are shown one by one, the rest as “other sites”.`
        : '';
    const what = `${formatBytes(bytes)} ${this.#titles[this.#measure]}, in ${formatAmount(blocks, 'block')}`;
    part('flame-lead').textContent =
      `${what}, by the place in the program that allocated them. A frame is as wide as its bytes, and stands below its caller.${rest}`;
    this.#graph.describe(
      `Flame graph: ${what}. Arrow keys go from frame to frame, Enter has a frame fill the width, Escape goes back. ` +
        'The table below holds the heaviest sites.',
    );
    this.#legend();
    this.#table();
    this.#search();
  }

  /** @param {string} owner */
  #colourOf(owner) {
    const place = this.#colours.get(owner);
    return place === undefined ? '--map-other' : `--manager-${place}`;
  }

  #legend() {
    const entry = (/** @type {string} */ colour, /** @type {string} */ text) =>
      element('span', { class: 'entry' }, swatch(colour), text);
    const { owners } = this.#tree;
    const named = owners.filter((owner) => this.#colours.has(owner));
    const entries = named.map((owner) => entry(this.#colourOf(owner), owner));
    part('flame-legend').replaceChildren(...entries, entry('--map-other', 'other'));
  }

  #table() {
    const all = this.#tree.root.bytes;
    fillTable(
      part('flame-table'),
      [
        { heading: 'bytes', numeric: true },
        { heading: 'share', numeric: true },
        { heading: 'blocks', numeric: true },
        { heading: 'site', wide: true },
      ],
      this.#tree.sites
        .slice(0, SHOWN_SITES)
        .map(({ bytes, blocks, text }) => [
          formatBytes(bytes),
          formatShare(all === 0 ? null : bytes / all),
          formatCount(blocks),
          siteCell(text, true),
        ]),
    );
  }

  #search() {
    const wanted = this.#wanted;
    const matches = (/** @type {FlameNode} */ node) => `${node.name} ${placeOf(node)}`.toLowerCase().includes(wanted);
    const found = part('flame-found');
    found.hidden = wanted === '';
    this.#graph.highlight(wanted === '' ? null : matches);
    if (wanted === '') return;
    const { frames, bytes } = this.#tree.sumOf(matches);
    const all = this.#tree.root.bytes;
    found.textContent =
      frames === 0
        ? 'No frame found.'
        : `${formatAmount(frames, 'frame')} found: ${formatBytes(bytes)}, ${formatShare(all === 0 ? null : bytes / all)}.`;
  }

  #tell() {
    const { selected, filling } = this.#graph;
    part('flame-all').hidden = filling === null || filling.parent === null;
    const detail = part('flame-detail');
    if (selected === null) {
      detail.textContent = 'Point at a frame, or press the arrow keys in the graph, to see what it holds. Click it to zoom.';
      return;
    }
    const place = placeOf(selected);
    const words = [selected.name, ...(place === '' ? [] : [place])];
    detail.textContent = [...words, amountText(selected, this.#tree.root.bytes)].join(' · ');
  }
}

/**
 * Text in which what stands between backticks is code.
 *
 * @param {string} text
 */
function withCode(text) {
  return text.split('`').map((words, i) => (i % 2 === 0 ? words : element('code', {}, words)));
}
