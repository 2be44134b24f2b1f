/** Numbers names from 1 in the order in which they first come; 0 is no name. */
export class NameNumbers {
  /** Number `n` stands at place `n - 1`. */
  readonly names: string[] = [];
  readonly #numbers = new Map<string, number>();

  numberOf(name: string): number {
    if (name === '') return 0;
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.names.push(name);
    this.#numbers.set(name, number);
    return number;
  }
}
