import '../core/disposable.js';
import { MemoryError } from '../core/errors.js';
import { isSameFile } from './call-log-file.js';
import { OutputFile } from './output-file.js';

/** The file of a page that a run makes: opened before the run, so that a bad path shows at once. */
export class PageFile {
  readonly #file: OutputFile;
  #open = true;

  /**
   * @param source - the file that the run reads, which the page must not replace
   * @throws ERR_MEM_BAD_INPUT when the path cannot be written or is the source
   */
  constructor(path: string, source: string) {
    if (isSameFile(path, source)) {
      throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason: 'the report would overwrite the trace' });
    }
    this.#file = new OutputFile(path);
  }

  /** Writes the page and puts it in its place. */
  write(html: string): void {
    this.#file.write(html);
    this.#file.finish();
    this.#open = false;
  }

  /** Leaves nothing behind of a page that was not written. */
  [Symbol.dispose](): void {
    if (this.#open) this.#file.abandon();
  }
}
