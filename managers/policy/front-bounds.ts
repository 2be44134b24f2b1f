import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import { KiB } from '../../src/core/units.js';

/** How much of what comes back a policy leaves in the front, unjoined. More saves time and costs memory. */
export interface FrontBounds {
  /** What share of the bytes that a manager holds may be deferred. */
  readonly share: number;
  /** What share of these one block may have. */
  readonly largestShare: number;
  /** No larger block is deferred, whatever the manager holds. */
  readonly largestBytes: number;
}

/** How many bytes may be deferred at least. */
const LEAST_BOUND_BYTES = 48 * KiB;
/** What share of the bytes that a device has left may be deferred: where memory is short, blocks are joined at once. */
const SHARE_OF_ROOM = 1 / 4;

/**
 * Lets as many bytes wait in the front as go with the bytes that the manager holds.
 *
 * @param roomBytes - what the device has left
 */
export function boundFront(free: FreeBlocks, bounds: FrontBounds, reservedBytes: number, roomBytes: number): void {
  const wishBytes = Math.max(LEAST_BOUND_BYTES, reservedBytes * bounds.share);
  const boundBytes = Math.max(0, Math.min(wishBytes, roomBytes * SHARE_OF_ROOM));
  free.setFrontBounds(Math.min(bounds.largestBytes, boundBytes * bounds.largestShare), boundBytes);
}
