// The structures of the kernel, as they lie in its memory. All links are addresses there; null is 0.

/** Nobody holds the block and it is in its free blocks' bins. */
export const INDEXED: u32 = 0;
/** In the deferred front. */
export const DEFERRED: u32 = 1;
/** Addresses without memory behind them. */
export const HOLE: u32 = 2;
/** Nobody holds the block and no bins hold it: the policy has it, or a stream still works on it. */
export const DETACHED: u32 = 3;
/** Held, by one lock or more. */
export const LIVE: u32 = 4;
/** A row that is no block. */
export const UNUSED: u32 = 5;

/**
 * A part of a segment: a row of 64 bytes, one cache line. Sizes and addresses are doubles, as JavaScript has them.
 *
 * The row at address 0, null, is no block; it is larger than any and never free, so that the ends of lists and segments
 * need no test where only that counts, and its links may be written.
 */
@unmanaged
export class Block {
  address: f64;
  bytes: f64;
  /** What the holder asked for. */
  requested: f64;
  /** Neighbours in the segment; `next` of an unused row is the next unused one. */
  previous: Block | null;
  next: Block | null;
  /** State, locks << 8, and whether other streams than its own are users << 16: written whole, to be read at once. */
  status: u32;
  /** Of its owner. */
  group: i32;
  /** Where it was taken from, and where it goes. */
  owner: FreeBlocks;
  /** Links in a bin, a tree, the front. */
  lower: Block | null;
  higher: Block | null;
  parent: Block | null;
  /** The policy's own number. */
  mark: i32;
  /** The row's number among those of its heap. */
  row: i32;
}

/** The row at address 0. */
export const EDGE: usize = 0;

/** All blocks of one device, found by address, and what is made for them. */
@unmanaged
export class Heap {
  device: i32;
  statistics: Statistics;
  /** The free blocks that were made last; each knows those before it. */
  freeBlocks: FreeBlocks | null;
  unused: Block | null;
  chunks: Chunk | null;
  /** The address index: `1 << bucketBits` buckets, in memory got at `bucketMemory`. */
  buckets: usize;
  bucketMemory: usize;
  bucketBits: i32;
  entryCount: i32;
  mostEntries: i32;
  /** How many buckets away from its own a block is at most. */
  farthest: i32;
  rowCount: i32;
  metadataBytes: u32;
}

/** Rows that were got at once. */
@unmanaged
export class Chunk {
  next: Chunk | null;
  memory: usize;
  rows: usize;
  rowCount: i32;
}

/** Blocks taken from here may be split as long as what is left has `leastRest` bytes; sizes are multiples of a unit. */
@unmanaged
export class FreeBlocks {
  /** Blocks of up to `smallLimit` bytes go to `small`, others to `large`: either may be these free blocks themselves. */
  smallLimit: f64;
  small: FreeBlocks;
  large: FreeBlocks;
  /** A size plus `roundUp` plus `rounder` minus `rounder` is the size as a multiple of the unit. */
  roundUp: f64;
  rounder: f64;
  leastRest: f64;
  splitLimit: f64;
  recyclingLimit: f64;
  heap: Heap;
  statistics: Statistics;
  /** Those of the heap that were made before. */
  earlier: FreeBlocks | null;
  front: Front | null;
  /** What these free blocks are besides, when they are holes. */
  holes: Holes | null;
  /** Neighbours are joined within a group. */
  group: i32;
  /** 1: exact best fit. 0: good fit. */
  isExact: i32;
  /** 1: freed blocks go to the policy, not to the bins. */
  isManual: i32;
  /** The state of blocks in the bins: INDEXED, or HOLE. */
  inside: u32;
  /** Bit w is set when word w of the bins' bits is not 0. */
  filledWords: i32;
}

/**
 * Counters of one device, as `MemoryStats` reads them. What changes with every block is kept as its room, how far it is
 * below its peak: a new peak is seen by a sign.
 */
@unmanaged
export class Statistics {
  allocatedRoom: f64;
  requestedRoom: f64;
  allocatedTotal: f64;
  requestedTotal: f64;
  blocksRoom: f64;
  blocksTotal: f64;
  allocatedPeak: f64;
  requestedPeak: f64;
  blocksPeak: f64;
  reserved: f64;
  reservedPeak: f64;
  reservedTotal: f64;
  /** Freed, and a stream still uses them. */
  deferred: f64;
  activePeak: f64;
  cachedPeak: f64;
  /** The room of allocated bytes beyond which more bytes are cached than ever. */
  cachedPeakRoom: f64;
}

/** Blocks that came back and wait for a request of their size. */
@unmanaged
export class Front {
  bytes: f64;
  boundBytes: f64;
  /** Larger blocks are not deferred. */
  largestBytes: f64;
  clockHand: i32;
}

/** Parts of address ranges without memory. */
@unmanaged
export class Holes {
  /** The free blocks beside them. */
  idle: FreeBlocks;
  count: i32;
  pageBytes: f64;
  /** The gap: where memory is to come to, `gapBytes` in a hole. */
  gapAt: f64;
  gapBytes: f64;
  hole: Block | null;
  /** Free blocks beside the gap that stay as they are meanwhile. */
  left: Block | null;
  right: Block | null;
  /** The spot: where a block is to begin, and what it takes of pages in which nothing is live. */
  spotAt: f64;
  touched: f64;
}

/** A state and locks; streams are no users. */
@inline
export function statusOf(state: u32, locks: u32): u32 {
  return state | (locks << 8);
}

@inline
export function setStatus(block: Block, state: u32, locks: u32): void {
  block.status = statusOf(state, locks);
}

@inline
export function stateOf(block: Block): u32 {
  return block.status & 0xff;
}

@inline
export function locksOf(block: Block): u32 {
  return (block.status >>> 8) & 0xff;
}

@inline
export function hasUsers(block: Block): bool {
  return block.status >>> 16 != 0;
}

/** Tells whether a block is in the bins of a group. */
@inline
export function isJoinable(block: Block, group: i32): bool {
  return block.status == INDEXED && block.group == group;
}

/** Doubles from here on are multiples of 1. */
export const WHOLE: f64 = 4503599627370496.0;

/** The low bits of an address or a size in units of 16 B. Addresses from {@link WHOLE} on lose their lowest. */
@inline
export function keyOf(bytes: f64): u32 {
  return <u32>(reinterpret<u64>(bytes + WHOLE) >>> 4);
}

/** The highest `bits` bits of a scrambled key. */
@inline
export function hashOf(key: u32, bits: i32): u32 {
  return (key * 0x9e3779b1) >>> (32 - bits);
}

/** The order of free blocks: by size, then by address. */
@inline
export function isBefore(block: Block, other: Block): bool {
  if (block.bytes < other.bytes) return true;
  return block.bytes == other.bytes && block.address < other.address;
}

/** Gets zeroed memory for a heap's tables. */
export function allot(owner: Heap, bytes: usize): usize {
  const at = zeroed(bytes);
  owner.metadataBytes += <u32>bytes;
  return at;
}

/** Gets zeroed memory. */
export function zeroed(bytes: usize): usize {
  const at = heap.alloc(bytes);
  memory.fill(at, 0, bytes);
  return at;
}
