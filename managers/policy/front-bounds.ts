import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import { KiB } from '../../src/core/units.js';

// More in the front saves time and costs memory: these hold the utilisation of docs/performance.md on the traces.

/** No larger block is deferred, whatever the manager holds. */
const LARGEST_BYTES = 24 * KiB;
/** How many bytes may be deferred at least. */
const LEAST_BOUND_BYTES = 48 * KiB;
/** What share of the bytes that a manager holds may be deferred. */
const SHARE = 0.0051;
/** What share of the bytes that may be deferred one block may have. */
const LARGEST_SHARE = 0.16;

/** Lets as many bytes wait in the front as go with the bytes that the manager holds. */
export function boundFront(free: FreeBlocks, reservedBytes: number): void {
  const boundBytes = Math.max(LEAST_BOUND_BYTES, reservedBytes * SHARE);
  free.setFrontBounds(Math.min(LARGEST_BYTES, boundBytes * LARGEST_SHARE), boundBytes);
}
