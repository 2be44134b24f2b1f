import type { ByteSink } from './trace-writer.js';

const CHUNK_CHARACTERS = 64 * 1024;

/** Joins many short texts into few long ones. */
export class TextOutput {
  readonly #sink: ByteSink;
  #text = '';

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  add(text: string): void {
    this.#text += text;
    if (this.#text.length >= CHUNK_CHARACTERS) this.flush();
  }

  flush(): void {
    if (this.#text === '') return;
    this.#sink.write(this.#text);
    this.#text = '';
  }
}
