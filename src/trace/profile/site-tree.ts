import type { Frame } from '../site-frames.js';
import type { SiteAmount } from './site-profile.js';

/** A frame of the sites that lead through it. */
export interface SiteTreeNode {
  readonly frame: Frame;
  /** What was allocated in this very frame. */
  ownBlocks: number;
  ownBytes: number;
  /** The frames that it calls. */
  readonly children: readonly SiteTreeNode[];
}

/** A file may hold any text as a site; a tree is walked by calls. */
const MAX_FRAMES = 256;
const ROOT: Frame = { name: '(root)', filename: '', line: 0 };
const UNKNOWN: Frame = { name: '(unknown site)', filename: '', line: 0 };

class TreeNode implements SiteTreeNode {
  ownBlocks = 0;
  ownBytes = 0;
  readonly #byText = new Map<string, TreeNode>();

  constructor(readonly frame: Frame) {}

  get children(): readonly TreeNode[] {
    return [...this.#byText.values()];
  }

  child(frame: Frame): TreeNode {
    const text = `${frame.line}\n${frame.name}\n${frame.filename}`;
    let node = this.#byText.get(text);
    if (node === undefined) {
      node = new TreeNode(frame);
      this.#byText.set(text, node);
    }
    return node;
  }
}

/**
 * Joins sites whose outer frames are the same. Cost: O(frames of all sites)
 *
 * @param framesOf - the innermost first
 * @returns the root, which calls the outermost frames
 */
export function siteTree(amounts: readonly SiteAmount[], framesOf: (site: string) => Frame[]): SiteTreeNode {
  const root = new TreeNode(ROOT);
  for (const { site, blocks, bytes } of amounts) {
    let node = root;
    const frames = framesOf(site).slice(0, MAX_FRAMES).reverse();
    for (const frame of frames.length === 0 ? [UNKNOWN] : frames) node = node.child(frame);
    node.ownBlocks += blocks;
    node.ownBytes += bytes;
  }
  return root;
}
