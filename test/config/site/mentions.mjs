import { Comment, CommentTag } from 'typedoc';

/** More would hide what a page is about. */
const MOST_LINKS = 5;

/** Which pages name which symbols, and how much. */
export class Mentions {
  /** symbol => tag => page => weight */
  #bySymbol = new Map();

  /**
   * @param tag - what the page is: '@guides', '@examples'
   * @param weight - how much it adds to the page's place among the others of the symbol
   */
  add(tag, symbol, page, weight) {
    const weights = entryOf(entryOf(this.#bySymbol, symbol), tag);
    weights.set(page, (weights.get(page) ?? 0) + weight);
  }

  /** Writes the pages that name a symbol into its comment, and into those of a function's signatures. */
  write() {
    for (const [symbol, byTag] of this.#bySymbol) {
      const tags = Array.from(byTag, ([tag, weights]) => new CommentTag(tag, linksTo(weights)));
      for (const { comment } of (symbol.signatures ?? [symbol]).map(withComment))
        comment.blockTags.push(...tags.map((tag) => tag.clone()));
    }
  }
}

function entryOf(map, key) {
  if (!map.has(key)) map.set(key, new Map());
  return map.get(key);
}

function withComment(reflection) {
  reflection.comment ??= new Comment();
  return reflection;
}

function linksTo(weights) {
  const pages = [...weights].sort(([, a], [, b]) => b - a).slice(0, MOST_LINKS);
  return pages.flatMap(([page], i) => [
    { kind: 'text', text: i === 0 ? '' : ', ' },
    { kind: 'inline-tag', tag: '@link', text: page.name, target: page },
  ]);
}
