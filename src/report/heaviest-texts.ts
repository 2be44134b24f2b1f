import { formatBytes } from '../core/units.js';

/**
 * Gives the texts of a page numbers, from 1; 0 is no text. A file may have as many sites as blocks, so those that hold the most have numbers
 * of their own, and the others one together.
 */
export class HeaviestTexts {
  readonly #bytesOf = new Map<string, number>();
  readonly #kept = new Map<string, number>();
  /** The number of all others; 0 while there is none. */
  #others = 0;
  #isRanked = false;

  /** @param most - how many have numbers of their own @param what - they are, in the plural */
  constructor(
    readonly most: number,
    readonly what: string,
  ) {}

  /** Counts bytes for a text. All are counted before the first number is asked for. */
  add(text: string, bytes: number): void {
    if (text !== '') this.#bytesOf.set(text, (this.#bytesOf.get(text) ?? 0) + bytes);
  }

  /** The number of a text, which may be that of all others. */
  idOf(text: string): number {
    if (text === '') return 0;
    this.#rank();
    return this.#kept.get(text) ?? this.#others;
  }

  /** The number of a text that gets one of its own, whatever it holds. */
  keep(text: string): number {
    if (text === '') return 0;
    this.#rank();
    const known = this.#kept.get(text);
    if (known !== undefined) return known;
    const id = this.#kept.size + 1 + (this.#others === 0 ? 0 : 1);
    this.#kept.set(text, id);
    return id;
  }

  /** All that have a number, by their numbers from 1. */
  get texts(): string[] {
    this.#rank();
    const texts = new Array<string>(this.#kept.size + (this.#others === 0 ? 0 : 1));
    for (const [text, id] of this.#kept) texts[id - 1] = text;
    if (this.#others > 0) texts[this.#others - 1] = this.#othersText();
    return texts;
  }

  /** Cost: O(texts log texts), once. */
  #rank(): void {
    if (this.#isRanked) return;
    this.#isRanked = true;
    const heaviest = [...this.#bytesOf].sort(([, a], [, b]) => b - a).slice(0, this.most);
    for (const [text] of heaviest) this.#kept.set(text, this.#kept.size + 1);
    if (this.#bytesOf.size > heaviest.length) this.#others = heaviest.length + 1;
  }

  #othersText(): string {
    const others = [...this.#bytesOf].filter(([text]) => !this.#kept.has(text));
    const bytes = others.reduce((sum, [, held]) => sum + held, 0);
    return `one of ${others.length.toLocaleString('en-US')} more ${this.what}: ${formatBytes(bytes)} together`;
  }
}
