// The structures of the kernel, as they lie in its memory. All links are addresses there; null is 0.

/** Nobody holds the block and it is in its free blocks' bins. */
export const INDEXED: u8 = 0;
/** As INDEXED, and in the list of open blocks: beside a hole, or a whole segment. */
export const OPEN: u8 = 1;
/** In the deferred front. */
export const DEFERRED: u8 = 2;
/** Addresses without memory behind them. */
export const HOLE: u8 = 3;
/** Nobody holds the block and no bins hold it: the policy has it, or a stream still works on it. */
export const LOOSE: u8 = 4;
/** Held, by one lock or more. */
export const LIVE: u8 = 5;
/** A row that is no block. */
export const UNUSED: u8 = 6;

/** A part of a segment: a row of 64 bytes, one cache line. */
@unmanaged
export class Block {
  address: i64;
  bytes: i64;
  /** What the holder asked for. */
  requested: i64;
  /** Neighbours in the segment; `next` of an unused row is the next unused one. */
  previous: Block | null;
  next: Block | null;
  /** Where it was taken from, and where it goes. */
  home: FreeBlocks;
  state: u8;
  locks: u8;
  /** 1: other streams than its own were recorded as users. */
  hasUsers: u8;
  /** Links in a bin, a tree, the front. */
  lower: Block | null;
  higher: Block | null;
  parent: Block | null;
  bin: i32;
  /** The policy's own number. */
  mark: i32;
  /** The row's number among those of its heap. */
  row: i32;
}

/** All blocks of a manager, found by address. */
@unmanaged
export class Heap {
  unused: Block | null;
  chunks: Chunk | null;
  /** Entries of 8 bytes: the low half of the address in units of 16 B, then the block. */
  entries: usize;
  entryCount: i32;
  /** `hash * 2^32 >> shift` is an entry's place; `1 << (32 - shift)` entries. */
  shift: i32;
  blockCount: i32;
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
  heap: Heap;
  statistics: Statistics;
  device: i32;
  /** Neighbours are joined within a group. */
  group: i32;
  /** 1: exact best fit. 0: good fit in O(1). */
  isExact: i32;
  /** 1: freed blocks go to the policy, not to the bins. */
  isManual: i32;
  /** The state of blocks in the bins: INDEXED, or HOLE. */
  inside: i32;
  unitMask: i64;
  leastRest: i64;
  splitLimit: i64;
  recyclingLimit: i64;
  /** Blocks of up to `smallLimit` bytes go to `small`, others to `large`: either may be these free blocks themselves. */
  smallLimit: i64;
  small: FreeBlocks;
  large: FreeBlocks;
  front: Front | null;
  open: OpenBlocks | null;
  count: i32;
  /** Bit w is set when word w of the bins' bits is not 0. */
  filledWords: i32;
}

/** Counters of one device, as `MemoryStats` reads them. */
@unmanaged
export class Statistics {
  requested: f64;
  requestedPeak: f64;
  requestedTotal: f64;
  allocated: f64;
  allocatedPeak: f64;
  allocatedTotal: f64;
  reserved: f64;
  reservedPeak: f64;
  reservedTotal: f64;
  blocks: f64;
  blocksPeak: f64;
  blocksTotal: f64;
  /** Freed, and a stream still uses them. */
  deferred: f64;
  activePeak: f64;
  cachedPeak: f64;
}

/** Blocks that came back and wait for a request of their size. */
@unmanaged
export class Front {
  bytes: i64;
  boundBytes: i64;
  /** Larger blocks are not deferred. */
  largestBytes: i64;
  hand: i32;
}

/** A few of the free blocks, in the order of size, then address: a sorted array. */
@unmanaged
export class OpenBlocks {
  sorted: usize;
  capacity: i32;
  count: i32;
  /** 1: those beside a hole are open. 0: whole segments are. */
  hasHoles: i32;
}

/** Sets a block's state and locks, without users: one word in memory. */
@inline
export function setLocksAndState(block: Block, state: u8, locks: i32): void {
  store<u32>(changetype<usize>(block), <u32>state | (<u32>locks << 8), offsetof<Block>('state'));
}

/** The order of free blocks: by size, then by address. */
@inline
export function isBefore(block: Block, other: Block): bool {
  return block.bytes == other.bytes ? block.address < other.address : block.bytes < other.bytes;
}

/** Gets zeroed memory for a manager's tables. */
export function allot(owner: Heap, bytes: usize): usize {
  owner.metadataBytes += <u32>bytes;
  return zeroed(bytes);
}

/** Gets zeroed memory. */
export function zeroed(bytes: usize): usize {
  const at = heap.alloc(bytes);
  memory.fill(at, 0, bytes);
  return at;
}
