import type { BufferPart } from '../../src/core/typed-array.js';
import { type DevicePtr, GiB } from '../../src/core/units.js';
import { discardPages, replacePages } from '../os/mapping.js';
import { HeldAddresses } from '../os/native-memory.js';
import { nativeView, ViewWindows } from '../os/native-view.js';
import { LiveRange, LiveRanges } from './live-ranges.js';

/** A range that was freed while JavaScript held arrays over it. */
interface RetiredRange {
  readonly base: DevicePtr;
  readonly held: HeldAddresses;
}

/**
 * Ranges that were freed and wait until the garbage collector has found their arrays. When many bytes wait, the oldest
 * serve again: an array that is still there shows the data of the new owner then.
 */
export class RetiredRanges {
  readonly #byKey = new Map<string, Set<RetiredRange>>();
  /** Bytes that wait. */
  bytes = 0;

  /** @param limitBytes - above it waiting ranges are used again */
  constructor(readonly limitBytes: number) {}

  /**
   * Takes a range in.
   *
   * @param key - of ranges that can stand for one another
   * @param release - gives the addresses back when no array over them is left, which may be now
   */
  put({ base, held }: RetiredRange, key: string, bytes: number, release: (base: DevicePtr) => void): void {
    const range = { base, held };
    const ranges = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, ranges.add(range));
    this.bytes += bytes;
    held.end(() => {
      this.#remove(range, key, bytes);
      release(base);
    });
  }

  /** Gives a range that can be used again, the oldest first. */
  take(key: string, bytes: number): RetiredRange | undefined {
    if (this.bytes <= this.limitBytes) return undefined;
    const [range] = this.#byKey.get(key) ?? [];
    if (range !== undefined) this.#remove(range, key, bytes);
    return range;
  }

  #remove(range: RetiredRange, key: string, bytes: number): void {
    const ranges = this.#byKey.get(key) as Set<RetiredRange>;
    ranges.delete(range);
    if (ranges.size === 0) this.#byKey.delete(key);
    this.bytes -= bytes;
  }
}

// A process has some 128 TiB of addresses. Code that never yields to the event loop gets none of them back from the garbage
// collector.
const WAITING_LIMIT_BYTES = 1024 * GiB;

/** A live range of memory that this process can touch. */
export class HostRange extends LiveRange {
  /** Whether JavaScript may still hold arrays over it. Its addresses must then stay mapped. */
  viewed = false;
  #held: HeldAddresses | undefined;
  #windows: ViewWindows | undefined;

  /** Knows of the arrays over it. */
  get held(): HeldAddresses {
    return (this.#held ??= new HeldAddresses());
  }

  /** Makes every byte of the range safe to touch, before the first view. */
  protected prepareView(): void {}

  /** Gives bytes of the range without a copy. @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB */
  view(offset: number, bytes: number): Uint8Array {
    const { buffer, byteOffset } = this.bufferAt(offset, bytes);
    return new Uint8Array(buffer, byteOffset, bytes);
  }

  /** Tells where bytes of the range lie in a buffer. @throws as {@link view} */
  bufferAt(offset: number, bytes: number): BufferPart {
    if (!this.viewed) this.prepareView();
    this.#windows ??= new ViewWindows(this.bytes, (start, length) => {
      const buffer = nativeView(this.base + start, length);
      this.viewed = true;
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
