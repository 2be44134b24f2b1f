import { badArgument, type MemoryError } from './errors.js';
import { nearestName } from './option-names.js';

/** A word of a configuration. */
export interface ConfToken {
  /** Empty behind the last one. */
  readonly text: string;
  /** From 1, in characters. */
  readonly place: number;
}

/**
 * Reads a configuration in the grammar of `PYTORCH_ALLOC_CONF`, `key:value,key:value`, word by word. Colons, commas and brackets
 * are words of their own; blanks between words mean nothing.
 */
export class ConfText {
  readonly #variable: string;
  readonly #text: string;
  readonly #tokens: readonly ConfToken[];
  #next = 0;

  /** @param variable - where the text is from, for messages */
  constructor(variable: string, text: string) {
    this.#variable = variable;
    this.#text = text;
    this.#tokens = Array.from(text.matchAll(/[,:[\]]|[^,:[\]\s]+/g), (match) => ({ text: match[0], place: match.index + 1 }));
  }

  /** Whether there are more words. */
  get hasMore(): boolean {
    return this.#next < this.#tokens.length;
  }

  /** The next word, which stays the next one. */
  get upcoming(): ConfToken {
    return this.#tokens[this.#next] ?? { text: '', place: this.#text.length + 1 };
  }

  take(): ConfToken {
    const token = this.upcoming;
    this.#next++;
    return token;
  }

  /** Takes all up to the next comma, colons and blanks inside it included: a size, a path. */
  takeToComma(): ConfToken {
    const { place } = this.upcoming;
    const comma = this.#text.indexOf(',', place - 1);
    const end = comma < 0 ? this.#text.length : comma;
    while (this.hasMore && this.upcoming.place <= end) this.#next++;
    return { text: this.#text.slice(place - 1, end).trim(), place };
  }

  /** Takes `True` or `False`. @throws ERR_MEM_INVALID_ARGUMENT */
  takeBoolean(): boolean {
    const token = this.take();
    if (token.text !== 'True' && token.text !== 'False') throw this.refusal(token, 'True or False');
    return token.text === 'True';
  }

  /** Takes a word that has to be there. @throws ERR_MEM_INVALID_ARGUMENT */
  expect(text: string): void {
    const token = this.take();
    if (token.text !== text) throw this.refusal(token, JSON.stringify(text));
  }

  /** The error of a word that cannot be: with its place. @param expected - in words */
  refusal(token: ConfToken, expected: string): MemoryError {
    const value = token.text === '' ? 'nothing' : JSON.stringify(token.text);
    return badArgument(`${this.#variable}, character ${token.place}`, value, expected);
  }

  /**
   * The error of a key that nobody reads, with the nearest one.
   *
   * @param keys - that are known
   * @param advice - which ones there are, in words
   */
  unknownKey({ text, place }: ConfToken, keys: readonly string[], advice: string): MemoryError {
    const [name = '', ...rest] = text.split('=');
    if (rest.length > 0) {
      return this.refusal({ text: '=', place: place + name.length }, `a colon, as in ${name}:${rest.join('=')}`);
    }
    return this.unknownName({ text, place }, keys, 'a key', advice);
  }

  /** The error of a name that nobody has, with the nearest one. @param what - it has to be */
  unknownName(token: ConfToken, names: readonly string[], what: string, advice: string): MemoryError {
    const near = nearestName(token.text, names);
    const hint = near === undefined ? '' : `did you mean "${near}"? `;
    return this.refusal(token, `${what}: ${hint}${advice}`);
  }
}
