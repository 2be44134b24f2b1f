import { type DevicePtr, GiB } from '../../src/core/units.js';
import { HeldAddresses } from '../os/held-addresses.js';
import { discardPages, replacePages } from '../os/mapping.js';
import { nativeView } from '../os/native-view.js';
import { ViewWindows } from '../os/view-windows.js';
import { LiveRange, LiveRanges } from './live-ranges.js';
import { RetiredRanges } from './retired-ranges.js';

// A process has some 128 TiB of addresses. Code that never lets the event loop turn has none of them back by the collector.
const WAITING_LIMIT_BYTES = 1024 * GiB;

/** A live range of memory that this process can touch. */
export class HostRange extends LiveRange {
  /** Whether JavaScript may still hold arrays over it. Its addresses must then stay mapped. */
  viewed = false;
  #held: HeldAddresses | undefined;
  #windows: ViewWindows | undefined;

  /** Knows of the arrays over it. */
  get held(): HeldAddresses {
    this.#held ??= new HeldAddresses();
    return this.#held;
  }

  /** Makes every byte of the range safe to touch, before the first view. */
  protected prepareView(): void {}

  /** Gives bytes of the range without a copy. @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB */
  view(offset: number, bytes: number): Uint8Array {
    if (!this.viewed) {
      this.prepareView();
      this.viewed = true;
    }
    this.#windows ??= new ViewWindows(this.bytes, (start, length) => {
      const buffer = nativeView(this.base + start, length);
      this.held.add(buffer);
      return buffer;
    });
    return this.#windows.at(offset, bytes);
  }

  /** Takes the place of a range that was freed while arrays over it existed. */
  replace(held: HeldAddresses): void {
    held.resume();
    this.#held = held;
    this.viewed = true;
  }
}

/** The live ranges of memory that the host sees, and what became of those that were viewed. */
export class HostRanges extends LiveRanges<HostRange> {
  /** Whole pages that were freed: they have no memory, and their addresses wait for the garbage collector. */
  readonly retired = new RetiredRanges(WAITING_LIMIT_BYTES);

  /**
   * Gives the memory of whole pages back, and their addresses when no array over them is left.
   *
   * @param key - of ranges that can stand for one another
   * @throws ERR_MEM_NATIVE
   */
  retire(range: HostRange, key: string, bytes: number, release: (base: DevicePtr) => void): void {
    try {
      discardPages(range.base, bytes);
    } catch {
      // The process has locked all its memory.
      replacePages(range.base, bytes);
    }
    this.retired.put(range, key, bytes, release);
  }
}
