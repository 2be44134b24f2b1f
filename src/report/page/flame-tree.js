import { isNodesOwn } from './node-frames.js';

/**
 * @import { SiteFrame, SiteStacks } from '../report-data.js'
 *
 * A frame of the graph, with all that was allocated in it and in what it calls.
 *
 * @typedef {object} FlameNode
 * @property {string} name
 * @property {string} file - '' where there is none
 * @property {Set<number>} lines - of the calls, or of the allocation
 * @property {string} key - tells it from the other children of its caller
 * @property {string} owner - the package or file that it belongs to; '' for what has none
 * @property {FlameNode | null} parent
 * @property {FlameNode[]} children - the frames that it calls, the most bytes first
 * @property {number} bytes
 * @property {number} blocks
 * @property {number} ownBytes - allocated in this very frame
 *
 * A site as the table shows it.
 *
 * @typedef {object} FlameSite
 * @property {string} text - a line a frame, the innermost first
 * @property {number} bytes
 * @property {number} blocks
 */

const PACKAGE = /^.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/;
/** Functions without a name are told apart by their lines. */
const ANONYMOUS = '(anonymous)';
const SHOWN_LINES = 4;
/** @type {readonly SiteFrame[]} shown for a site that has Node's own frames alone */
const INSIDE_NODE = [['inside Node', '', 0]];

/**
 * @param {string} file
 * @returns {string} its package, or the end of its path
 */
function ownerOf(file) {
  return PACKAGE.exec(file)?.[1]?.replaceAll('\\', '/') ?? file.split(/[\\/]/).slice(-2).join('/');
}

/** The sites of one measure as a tree, the outermost frames on top. Calls of one function by one caller are one frame. */
export class FlameTree {
  root = nodeOf(null, 'all', ['all', '', 0]);
  /** @type {FlameSite[]} the most bytes first */
  sites = [];
  /** @type {string[]} packages and files, those with the most bytes first */
  owners;
  /** @type {Map<FlameNode, Map<string, FlameNode>>} */
  #children = new Map();

  /**
   * @param {SiteStacks} stacks
   * @param {number} measure - its place among the measures
   * @param {boolean} withNode - whether Node's own frames are shown
   */
  constructor(stacks, measure, withNode) {
    /** @type {Map<string, FlameSite>} */
    const sites = new Map();
    /** @type {Map<string, number>} */
    const bytesOf = new Map();
    for (const { stack, bytes, blocks } of stacks.sites) {
      const amount = { bytes: bytes[measure] ?? 0, blocks: blocks[measure] ?? 0 };
      if (amount.blocks === 0) continue;
      const frames = stack.map((place) => stacks.frames[place]).filter((frame) => frame !== undefined);
      const program = withNode ? frames : frames.filter((frame) => !isNodesOwn(frame));
      const shown = program.length === 0 ? INSIDE_NODE : program;
      for (const owner of new Set(this.#add(shown, amount))) bytesOf.set(owner, (bytesOf.get(owner) ?? 0) + amount.bytes);
      // Sites may differ in frames that are left out.
      const text = shown.map(([name, file, line]) => (file === '' ? name : `${name} (${file}:${line})`)).join('\n');
      const known = sites.get(text) ?? { text, bytes: 0, blocks: 0 };
      sites.set(text, { text, bytes: known.bytes + amount.bytes, blocks: known.blocks + amount.blocks });
    }
    for (const [name, { bytes, blocks }] of /** @type {const} */ ([
      ['unknown site', stacks.unknown],
      ['other sites', stacks.others],
    ])) {
      if ((blocks[measure] ?? 0) > 0) this.#add([[name, '', 0]], { bytes: bytes[measure] ?? 0, blocks: blocks[measure] ?? 0 });
    }
    for (const node of this.#children.keys()) node.children.sort((a, b) => b.bytes - a.bytes);
    this.sites = [...sites.values()].sort((a, b) => b.bytes - a.bytes);
    bytesOf.delete('');
    this.owners = [...bytesOf].sort((a, b) => b[1] - a[1]).map(([owner]) => owner);
  }

  /**
   * Adds a site.
   *
   * @param {readonly SiteFrame[]} frames - the innermost first
   * @param {{ bytes: number, blocks: number }} amount
   * @returns {string[]} the owners of its frames
   */
  #add(frames, { bytes, blocks }) {
    const path = [this.root];
    let node = this.root;
    for (let i = frames.length - 1; i >= 0; i--) {
      node = this.#child(node, /** @type {SiteFrame} */ (frames[i]), i === 0);
      path.push(node);
    }
    node.ownBytes += bytes;
    for (const each of path) {
      each.bytes += bytes;
      each.blocks += blocks;
    }
    return path.map(({ owner }) => owner);
  }

  /**
   * @param {FlameNode} parent
   * @param {SiteFrame} frame
   * @param {boolean} isInnermost - lines of allocations are told apart
   */
  #child(parent, frame, isInnermost) {
    const [name, file, line] = frame;
    const key = `${name}\n${file}\n${isInnermost || name === ANONYMOUS ? line : ''}`;
    const known = this.#children.get(parent) ?? new Map();
    this.#children.set(parent, known);
    let node = known.get(key);
    if (node === undefined) {
      node = nodeOf(parent, key, frame);
      known.set(key, node);
      parent.children.push(node);
    }
    node.lines.add(line);
    return node;
  }

  /**
   * The frame that a path leads to, in this tree: as far as it is there.
   *
   * @param {readonly string[]} path - what {@link pathOf} gave, maybe of another tree
   */
  find(path) {
    let node = this.root;
    for (const key of path) {
      const next = node.children.find((child) => child.key === key);
      if (next === undefined) break;
      node = next;
    }
    return node;
  }

  /**
   * What the frames that match have, each byte counted once.
   *
   * @param {(node: FlameNode) => boolean} matches
   */
  sumOf(matches) {
    const sum = { frames: 0, bytes: 0, blocks: 0 };
    const visit = (/** @type {FlameNode} */ node, /** @type {boolean} */ counted) => {
      const isMatch = matches(node);
      if (isMatch) sum.frames++;
      if (isMatch && !counted) {
        sum.bytes += node.bytes;
        sum.blocks += node.blocks;
      }
      for (const next of node.children) visit(next, counted || isMatch);
    };
    for (const node of this.root.children) visit(node, false);
    return sum;
  }
}

/**
 * The way from the root to a frame.
 *
 * @param {FlameNode} node
 * @returns {string[]}
 */
export function pathOf(node) {
  const path = [];
  for (let at = node; at.parent !== null; at = at.parent) path.push(at.key);
  return path.reverse();
}

/**
 * Where a frame is: file and lines.
 *
 * @param {FlameNode} node
 * @returns {string} '' where it is not known
 */
export function placeOf({ file, lines }) {
  if (file === '') return '';
  const shown = [...lines].sort((a, b) => a - b).slice(0, SHOWN_LINES);
  return `${file}:${shown.join(', ')}${lines.size > SHOWN_LINES ? ', …' : ''}`;
}

/**
 * @param {FlameNode | null} parent
 * @param {string} key
 * @param {SiteFrame} frame
 * @returns {FlameNode}
 */
function nodeOf(parent, key, frame) {
  const [name, file] = frame;
  const owner = file === '' || isNodesOwn(frame) ? '' : ownerOf(file);
  return { name, file, lines: new Set(), key, owner, parent, children: [], bytes: 0, blocks: 0, ownBytes: 0 };
}
