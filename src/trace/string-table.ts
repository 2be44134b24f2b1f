import { FormatFault } from './formats/format-fault.js';

const MAX_TEXTS = 2 ** 22;

/** Texts by id and ids by text. Id 0 is the empty text. */
export class StringTable {
  readonly #texts: string[] = [''];
  readonly #ids = new Map<string, number>([['', 0]]);
  #characters = 0;

  /** @param mostCharacters - of all texts together: a small file can unpack to many long ones */
  constructor(protected readonly mostCharacters = Number.POSITIVE_INFINITY) {}

  /** All texts, by id. */
  get texts(): readonly string[] {
    return this.#texts;
  }

  /** How many texts there are, the empty one included. */
  get size(): number {
    return this.#texts.length;
  }

  /** The id of a text; one that is new gets the next id. Cost: O(length). @throws FormatFault when there are too many */
  idOf(text: string): number {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    if (this.#characters + text.length > this.mostCharacters || this.size === MAX_TEXTS) {
      throw new FormatFault(`there are more names and allocation sites than are held: ${this.size}`);
    }
    this.#characters += text.length;
    this.#ids.set(text, this.size);
    return this.#texts.push(text) - 1;
  }

  /** The text of an id, '' for one that is not known. */
  get(id: number): string {
    return this.#texts[id] ?? '';
  }
}
