/** What an {@link AddressTree} holds: a range of addresses. */
export interface AddressRange {
  readonly base: number;
  readonly bytes: number;
}

interface Node<R> {
  // The range's own, here so that a search touches one object a level.
  readonly base: number;
  readonly range: R;
  readonly priority: number;
  left: Node<R> | undefined;
  right: Node<R> | undefined;
}

/**
 * Address ranges that do not overlap, found by any address in them.
 *
 * A treap: the order is by base, and random priorities keep it shallow. A Map of addresses would slow down as they come
 * and go, and cannot find the range of an inner address.
 */
export class AddressTree<R extends AddressRange> {
  #root: Node<R> | undefined;

  /** The range with the greatest base that is not above `address`. Cost: O(log n). */
  floor(address: number): R | undefined {
    let found: R | undefined;
    let node = this.#root;
    while (node !== undefined) {
      if (node.base <= address) {
        found = node.range;
        node = node.right;
      } else {
        node = node.left;
      }
    }
    return found;
  }

  /** The range that starts at `base`. Cost: O(log n). */
  at(base: number): R | undefined {
    const range = this.floor(base);
    return range !== undefined && range.base === base ? range : undefined;
  }

  /** Adds a range, which overlaps no other. Cost: O(log n). */
  insert(range: R): void {
    const { base } = range;
    const priority = Math.random();
    let parent: Node<R> | undefined;
    let below = this.#root;
    while (below !== undefined && below.priority >= priority) {
      parent = below;
      below = base < below.base ? below.left : below.right;
    }
    const [left, right] = split(below, base);
    this.#put(parent, base, { base, range, priority, left, right });
  }

  /** Takes the range that starts at `base` out. Cost: O(log n). */
  remove(base: number): R | undefined {
    let parent: Node<R> | undefined;
    let node = this.#root;
    while (node !== undefined && node.base !== base) {
      parent = node;
      node = base < node.base ? node.left : node.right;
    }
    if (node === undefined) return undefined;
    this.#put(parent, base, merge(node.left, node.right));
    return node.range;
  }

  /** All ranges by address. */
  *[Symbol.iterator](): Generator<R> {
    const stack: Node<R>[] = [];
    let node = this.#root;
    while (node !== undefined || stack.length > 0) {
      while (node !== undefined) {
        stack.push(node);
        node = node.left;
      }
      const next = stack.pop() as Node<R>;
      yield next.range;
      node = next.right;
    }
  }

  /** Hangs a tree under `parent`, on the side of `base`. */
  #put(parent: Node<R> | undefined, base: number, tree: Node<R> | undefined): void {
    if (parent === undefined) this.#root = tree;
    else if (base < parent.base) parent.left = tree;
    else parent.right = tree;
  }
}

/** Parts a tree into the ranges below `base` and the others. */
function split<R extends AddressRange>(node: Node<R> | undefined, base: number): [Node<R> | undefined, Node<R> | undefined] {
  if (node === undefined) return [undefined, undefined];
  if (node.base < base) {
    const [left, right] = split(node.right, base);
    node.right = left;
    return [node, right];
  }
  const [left, right] = split(node.left, base);
  node.left = right;
  return [left, node];
}

/** Joins two trees, all of the first below all of the second. */
function merge<R extends AddressRange>(left: Node<R> | undefined, right: Node<R> | undefined): Node<R> | undefined {
  if (left === undefined) return right;
  if (right === undefined) return left;
  if (left.priority > right.priority) {
    left.right = merge(left.right, right);
    return left;
  }
  right.left = merge(left, right.left);
  return right;
}
