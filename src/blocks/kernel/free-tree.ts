import { Block, isBefore } from './layout';

// A treap: blocks in the order of size, then address, from left to right, and ranks that fall from the root down.
// The ranks are a block's place in memory, scrambled, so that a tree of n blocks is O(log n) deep in expectation whatever
// the order they come in.

/** Adds a block, in O(log n). @returns the new root */
export function insertIntoTree(root: Block | null, block: Block): Block {
  let parent: Block | null = null;
  let isLower = false;
  for (let at = root; at !== null; at = isLower ? at!.lower : at!.higher) {
    parent = at;
    isLower = isBefore(block, at);
  }
  block.lower = null;
  block.higher = null;
  block.parent = parent;
  if (parent === null) return block;
  if (isLower) parent.lower = block;
  else parent.higher = block;
  const rank = rankOf(block);
  while (parent !== null && rankOf(parent) < rank) {
    rotateUp(block);
    parent = block.parent;
  }
  return parent === null ? block : root!;
}

/** Takes a block out, in O(1) expected. @returns the new root, or null */
export function removeFromTree(root: Block, block: Block): Block | null {
  let top = root;
  let lower = block.lower;
  let higher = block.higher;
  while (lower !== null && higher !== null) {
    const child = rankOf(lower) > rankOf(higher) ? lower : higher;
    rotateUp(child);
    if (top === block) top = child;
    lower = block.lower;
    higher = block.higher;
  }
  const child = lower === null ? higher : lower;
  const parent = block.parent;
  if (child !== null) child.parent = parent;
  if (parent === null) return child;
  if (parent.lower === block) parent.lower = child;
  else parent.higher = child;
  return top;
}

/** The first block of a tree, in O(log n). */
export function lowestOf(root: Block): Block {
  let at = root;
  for (let lower = at.lower; lower !== null; lower = at.lower) at = lower;
  return at;
}

/** The first block of at least `bytes`, or null; in O(log n). */
export function bestFitInTree(root: Block, bytes: f64): Block | null {
  let best: Block | null = null;
  let at: Block | null = root;
  while (at !== null) {
    if (at.bytes >= bytes) {
      best = at;
      at = at.lower;
    } else {
      at = at.higher;
    }
  }
  return best;
}

/** The block behind another one, or null; O(1) amortised over a walk. */
export function successorOf(block: Block): Block | null {
  if (block.higher !== null) return lowestOf(block.higher!);
  let at = block;
  let parent = block.parent;
  while (parent !== null && parent.higher === at) {
    at = parent;
    parent = at.parent;
  }
  return parent;
}

/** Tells whether links and ranks below a block are as they should be, in O(n). */
export function isTreeSound(root: Block): bool {
  if (root.parent !== null) return false;
  for (let at: Block | null = lowestOf(root); at !== null; at = successorOf(at)) {
    const lower = at.lower;
    const higher = at.higher;
    if (lower !== null && (lower.parent !== at || rankOf(lower) >= rankOf(at))) return false;
    if (higher !== null && (higher.parent !== at || rankOf(higher) >= rankOf(at))) return false;
  }
  return true;
}

/** A bijection, so that no two blocks have one rank. @see Source: MurmurHash3, fmix32 */
function rankOf(block: Block): u32 {
  let rank = <u32>changetype<usize>(block);
  rank = (rank ^ (rank >>> 16)) * 0x85ebca6b;
  rank = (rank ^ (rank >>> 13)) * 0xc2b2ae35;
  return rank ^ (rank >>> 16);
}

/** Exchanges a block with its parent; the order stays. */
function rotateUp(block: Block): void {
  const parent = block.parent!;
  const grandparent = parent.parent;
  let inner: Block | null;
  if (parent.lower === block) {
    inner = block.higher;
    parent.lower = inner;
    block.higher = parent;
  } else {
    inner = block.lower;
    parent.higher = inner;
    block.lower = parent;
  }
  if (inner !== null) inner.parent = parent;
  parent.parent = block;
  block.parent = grandparent;
  if (grandparent === null) return;
  if (grandparent.lower === parent) grandparent.lower = block;
  else grandparent.higher = block;
}
