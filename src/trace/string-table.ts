/** Texts by id and ids by text. Id 0 is the empty text. */
export class StringTable {
  readonly #texts: string[] = [''];
  readonly #ids = new Map<string, number>([['', 0]]);

  /** How many texts there are, the empty one included. */
  get size(): number {
    return this.#texts.length;
  }

  /** The id of a text; one that is new gets the next id. Cost: O(length). */
  idOf(text: string): number {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    const id = this.#texts.push(text) - 1;
    this.#ids.set(text, id);
    return id;
  }

  /** The text of an id, '' for one that is not known. */
  get(id: number): string {
    return this.#texts[id] ?? '';
  }
}
