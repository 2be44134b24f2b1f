import { type BlockTable, ensure, NONE } from './block-table.js';

// A constant of the module's own: an imported one costs a memory read at each use.
const NO_BLOCK: number = NONE;

// A treap: blocks in the order of size, then address, from left to right, and ranks that fall from the root down.
// The ranks are a block's number, scrambled, so that a tree of n blocks is O(log n) deep in expectation whatever the
// order they come in. All functions work on the links that a block table keeps for free blocks.

/** Adds a block, in O(log n). @returns the new root */
export function insertIntoTree(blocks: BlockTable, root: number, block: number): number {
  let parent = NO_BLOCK;
  let isLower = false;
  for (let at = root; at !== NO_BLOCK; at = isLower ? blocks.lowerOf(at) : blocks.higherOf(at)) {
    parent = at;
    isLower = blocks.isBefore(block, at);
  }
  blocks.setLower(block, NO_BLOCK);
  blocks.setHigher(block, NO_BLOCK);
  blocks.setParent(block, parent);
  if (parent === NO_BLOCK) return block;
  if (isLower) blocks.setLower(parent, block);
  else blocks.setHigher(parent, block);
  const rank = rankOf(block);
  while (parent !== NO_BLOCK && rankOf(parent) < rank) {
    rotateUp(blocks, block);
    parent = blocks.parentOf(block);
  }
  return parent === NO_BLOCK ? block : root;
}

/** Takes a block out, in O(1) expected. @returns the new root, or {@link NONE} */
export function removeFromTree(blocks: BlockTable, root: number, block: number): number {
  let top = root;
  let lower = blocks.lowerOf(block);
  let higher = blocks.higherOf(block);
  while (lower !== NO_BLOCK && higher !== NO_BLOCK) {
    const child = rankOf(lower) > rankOf(higher) ? lower : higher;
    rotateUp(blocks, child);
    if (top === block) top = child;
    lower = blocks.lowerOf(block);
    higher = blocks.higherOf(block);
  }
  const child = lower === NO_BLOCK ? higher : lower;
  const parent = blocks.parentOf(block);
  if (child !== NO_BLOCK) blocks.setParent(child, parent);
  if (parent === NO_BLOCK) return child;
  setChild(blocks, parent, block, child);
  return top;
}

/** The first block of a tree that is not empty, in O(log n). */
export function lowestOf(blocks: BlockTable, root: number): number {
  let at = root;
  for (let lower = at; lower !== NO_BLOCK; lower = blocks.lowerOf(at)) at = lower;
  return at;
}

/** The first block of at least `bytes`, or {@link NONE}; in O(log n). */
export function bestFitInTree(blocks: BlockTable, root: number, bytes: number): number {
  let best = NO_BLOCK;
  let at = root;
  while (at !== NO_BLOCK) {
    if (blocks.bytesOf(at) >= bytes) {
      best = at;
      at = blocks.lowerOf(at);
    } else {
      at = blocks.higherOf(at);
    }
  }
  return best;
}

/** The block behind another one, or {@link NONE}; O(1) amortised over a walk. */
export function successorOf(blocks: BlockTable, block: number): number {
  const higher = blocks.higherOf(block);
  if (higher !== NO_BLOCK) return lowestOf(blocks, higher);
  let at = block;
  let parent = blocks.parentOf(at);
  while (parent !== NO_BLOCK && blocks.higherOf(parent) === at) {
    at = parent;
    parent = blocks.parentOf(at);
  }
  return parent;
}

/** Checks links and ranks, in O(n). @throws ERR_MEM_INVARIANT */
export function checkTree(blocks: BlockTable, root: number): void {
  ensure(blocks.parentOf(root) === NO_BLOCK, `root ${root} has no parent`);
  for (let at = lowestOf(blocks, root); at !== NO_BLOCK; at = successorOf(blocks, at)) {
    for (const child of [blocks.lowerOf(at), blocks.higherOf(at)]) {
      ensure(child === NO_BLOCK || blocks.parentOf(child) === at, `parent(${child}) == ${at}`);
      ensure(child === NO_BLOCK || rankOf(child) < rankOf(at), `rank(${child}) < rank(${at})`);
    }
  }
}

/** A bijection, so that no two blocks have one rank. @see Source: MurmurHash3, fmix32 */
function rankOf(block: number): number {
  const mixed = Math.imul(block ^ (block >>> 16), 0x85ebca6b);
  const rank = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return rank ^ (rank >>> 16);
}

/** Exchanges a block with its parent; the order stays. */
function rotateUp(blocks: BlockTable, block: number): void {
  const parent = blocks.parentOf(block);
  const grandparent = blocks.parentOf(parent);
  let inner: number;
  if (blocks.lowerOf(parent) === block) {
    inner = blocks.higherOf(block);
    blocks.setLower(parent, inner);
    blocks.setHigher(block, parent);
  } else {
    inner = blocks.lowerOf(block);
    blocks.setHigher(parent, inner);
    blocks.setLower(block, parent);
  }
  if (inner !== NO_BLOCK) blocks.setParent(inner, parent);
  blocks.setParent(parent, block);
  blocks.setParent(block, grandparent);
  if (grandparent !== NO_BLOCK) setChild(blocks, grandparent, parent, block);
}

function setChild(blocks: BlockTable, parent: number, before: number, now: number): void {
  if (blocks.lowerOf(parent) === before) blocks.setLower(parent, now);
  else blocks.setHigher(parent, now);
}
