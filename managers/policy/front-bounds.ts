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

/** What share of the bytes that a device has left may be deferred: where memory is short, blocks are joined at once. */
const SHARE_OF_ROOM = 1 / 16;

/**
 * Lets as many bytes wait in the front as go with the bytes that the manager holds.
 *
 * @param roomBytes - what the device has left
 */
export function boundFront(free: FreeBlocks, reservedBytes: number, roomBytes: number): void {
  const wishBytes = Math.max(LEAST_BOUND_BYTES, reservedBytes * SHARE);
  const boundBytes = Math.max(0, Math.min(wishBytes, roomBytes * SHARE_OF_ROOM));
  free.setFrontBounds(Math.min(LARGEST_BYTES, boundBytes * LARGEST_SHARE), boundBytes);
}
