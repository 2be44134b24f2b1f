/** The number of no block. */
export const NO_BLOCK = -1;

/**
 * A range of native memory that one rule carves into blocks. Blocks have numbers in it; what is told of a number that is
 * no block's has no meaning.
 */
export interface CarvedRegion {
  readonly base: number;
  readonly bytes: number;
  /** The device that it lies on. */
  readonly device: number;
  /** Blocks that somebody holds. */
  readonly live: number;
  /** Bytes of its own tables. */
  readonly metadataBytes: number;

  /**
   * Makes a block.
   *
   * @param bytes - positive
   * @param alignment - bytes, or 0
   * @param lock - who holds it
   * @returns its number, or NO_BLOCK when there is no room
   */
  take(bytes: number, alignment: number, lock: number): number;

  /** The block, live or free, that begins at an address anywhere in memory; NO_BLOCK when there is none. */
  find(address: number): number;

  /** Clears the locks of a block and takes it back. */
  give(block: number): void;

  addressOf(block: number): number;
  /** The bytes it has; at least those requested. */
  bytesOf(block: number): number;
  requestedOf(block: number): number;
  /** Changes what the holder asks for: at most what the block has. */
  setRequested(block: number, bytes: number): void;
  /** Who holds it; 0 for a free block. */
  locksOf(block: number): number;
  setLocks(block: number, locks: number): void;

  /** Numbers of the live blocks, in order. For checks. */
  liveBlocks(): number[];
  /** Checks the invariants in O(blocks). @throws ERR_MEM_INVARIANT */
  checkInvariants(): void;
}

/** Rounds up to a multiple of a power of two. */
export function roundUp(bytes: number, step: number): number {
  const rounded = bytes + step - 1;
  // Within 31 bits a mask does it, beyond them a division.
  return rounded <= 0x7fffffff ? rounded & -step : Math.ceil(bytes / step) * step;
}
