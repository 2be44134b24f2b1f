import type { DevicePtr } from './units.js';

const FREED = -1;
const SLACK = 1024;

/** What one manager has got from its device and not given back: counts, bytes, and the addresses themselves. */
export class NativeLedger {
  allocs = 0;
  frees = 0;
  commits = 0;
  decommits = 0;
  reservedBytes = 0;
  peakReservedBytes = 0;
  #live = 0;
  // An entry is overwritten, never deleted: V8 keeps deleted keys in the bucket's chain, so that a Map whose
  // addresses come and go becomes slow. Dead entries are dropped by copying, at an amortised O(1).
  #bytes = new Map<number, number>();

  allocated(ptr: DevicePtr, bytes: number): void {
    this.allocs++;
    this.#live++;
    this.#bytes.set(ptr, bytes);
    this.#grow(bytes);
  }

  /** @returns the bytes that were given back, 0 when the segment is not known */
  freed(ptr: DevicePtr): number {
    const bytes = this.#bytes.get(ptr);
    this.frees++;
    if (bytes === undefined || bytes === FREED) return 0;
    this.#bytes.set(ptr, FREED);
    this.#live--;
    this.reservedBytes -= bytes;
    if (this.#bytes.size > 2 * this.#live + SLACK) {
      this.#bytes = new Map([...this.#bytes].filter(([, size]) => size !== FREED));
    }
    return bytes;
  }

  /** Counts pages that were committed in a reserved range. */
  committed(bytes: number): void {
    this.commits++;
    this.#grow(bytes);
  }

  /** Counts pages that were decommitted. */
  decommitted(bytes: number): void {
    this.decommits++;
    this.reservedBytes -= bytes;
  }

  /** The segments that are still out. */
  outstanding(): DevicePtr[] {
    return [...this.#bytes].filter(([, size]) => size !== FREED).map(([ptr]) => ptr as DevicePtr);
  }

  #grow(bytes: number): void {
    this.reservedBytes += bytes;
    if (this.reservedBytes > this.peakReservedBytes) this.peakReservedBytes = this.reservedBytes;
  }
}
