import { checkArgument } from '../../src/core/errors.js';
import { MAX_VIEW_BYTES } from './native-view.js';

// Windows overlap by half: a range of up to 2 GiB lies in one of them wherever it starts.
const WINDOW_STEP_BYTES = MAX_VIEW_BYTES / 2;

/**
 * Shows parts of a range of any size as bytes. A view of native memory spans 4 GiB at most and costs up to some ms, so a
 * few large ones are made once and sliced.
 */
export class ViewWindows {
  readonly #bytes: number;
  readonly #make: (offset: number, bytes: number) => ArrayBufferLike;
  readonly #windows: (ArrayBufferLike | undefined)[] = [];

  /** @param make - makes a buffer over a part */
  constructor(bytes: number, make: (offset: number, bytes: number) => ArrayBufferLike) {
    this.#bytes = bytes;
    this.#make = make;
  }

  /**
   * Gives a part that lies in the range. Cost: that of a `Uint8Array`, once its window was made.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB
   */
  at(offset: number, bytes: number): Uint8Array {
    checkArgument(bytes <= MAX_VIEW_BYTES, 'bytes', bytes, 'at most 4 GiB in one view');
    const window = this.#bytes <= MAX_VIEW_BYTES ? 0 : Math.floor(offset / WINDOW_STEP_BYTES);
    const start = window * WINDOW_STEP_BYTES;
    const end = Math.min(start + MAX_VIEW_BYTES, this.#bytes);
    if (offset + bytes > end) return new Uint8Array(this.#make(offset, bytes));
    const buffer = (this.#windows[window] ??= this.#make(start, end - start));
    return new Uint8Array(buffer, offset - start, bytes);
  }

  /** Lets go of the windows. */
  clear(): void {
    this.#windows.length = 0;
  }
}
