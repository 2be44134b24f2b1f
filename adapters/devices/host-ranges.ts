import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, GiB } from '../../src/core/units.js';
import { koffi } from '../ffi/koffi.js';
import { discardPages, replacePages } from '../os/mapping.js';
import { type LiveRange, LiveRanges } from './live-ranges.js';

// One byte more aborts the process. Measured with koffi 3.3.4 on Node 20.20.
const MAX_VIEW_BYTES = 4 * GiB;
// Windows overlap by half: a range of up to 2 GiB lies in one of them wherever it starts.
const WINDOW_STEP_BYTES = MAX_VIEW_BYTES / 2;

/** A live range of memory that this process can touch. */
export abstract class HostRange implements LiveRange {
  readonly base: DevicePtr;
  readonly bytes: number;
  /** Whether JavaScript may still hold arrays over it. Its addresses must then stay mapped for ever. */
  viewed = false;
  // A view costs 1 us to 0.3 ms, so each window is made once and sliced.
  #windows: (ArrayBuffer | undefined)[] | undefined;

  constructor(base: DevicePtr, bytes: number) {
    this.base = base;
    this.bytes = bytes;
  }

  abstract checkUsable(offset: number, bytes: number): void;

  /** Makes every byte of the range safe to touch, before the first view. */
  protected abstract prepareView(): void;

  /**
   * Gives bytes of the range without a copy.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB
   */
  view(offset: number, bytes: number): Uint8Array {
    if (bytes > MAX_VIEW_BYTES) {
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
        name: 'bytes',
        value: `${bytes}`,
        expected: 'at most 4 GiB in one view',
      });
    }
    if (!this.viewed) {
      this.prepareView();
      this.viewed = true;
    }
    const window = this.bytes <= MAX_VIEW_BYTES ? 0 : Math.floor(offset / WINDOW_STEP_BYTES);
    const start = window * WINDOW_STEP_BYTES;
    const end = Math.min(start + MAX_VIEW_BYTES, this.bytes);
    if (offset + bytes > end) return new Uint8Array(koffi().view(this.base + offset, bytes));
    this.#windows ??= [];
    let buffer = this.#windows[window];
    if (buffer === undefined) {
      buffer = koffi().view(this.base + start, end - start);
      this.#windows[window] = buffer;
    }
    return new Uint8Array(buffer, offset - start, bytes);
  }
}

/** The live ranges of memory that the host sees, and what became of those that were viewed. */
export class HostRanges extends LiveRanges<HostRange> {
  #retiredBytes = 0;

  /** Bytes of address space that stay mapped, without memory, because arrays may still point there. */
  get retiredBytes(): number {
    return this.#retiredBytes;
  }

  /** Gives the memory of whole pages back and keeps their addresses mapped and out of use. */
  retire(base: DevicePtr, bytes: number): void {
    try {
      replacePages(base, bytes);
    } catch {
      // The process has no mapping left to split off (vm.max_map_count): this needs none.
      discardPages(base, bytes);
    }
    this.#retiredBytes += bytes;
  }
}
