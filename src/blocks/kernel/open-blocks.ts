import { allot, Block, Heap, isBefore, OpenBlocks } from './layout';

// Finding is O(log n), insertion and removal move O(n) small integers: 4 KiB for 1000 blocks.

const INITIAL_CAPACITY: i32 = 32;

export function createOpenBlocks(heap: Heap, hasHoles: i32): OpenBlocks {
  const open = changetype<OpenBlocks>(allot(heap, offsetof<OpenBlocks>()));
  open.sorted = allot(heap, 4 * <usize>INITIAL_CAPACITY);
  open.capacity = INITIAL_CAPACITY;
  open.hasHoles = hasHoles;
  return open;
}

/** The block at a position in the order, from 0. */
export function openAt(open: OpenBlocks, position: i32): Block {
  return changetype<Block>(<usize>load<u32>(open.sorted + ((<usize>position) << 2)));
}

/** The position of the first block of at least `bytes`; the count when there is none. */
export function openPositionOf(open: OpenBlocks, bytes: i64): i32 {
  let low = 0;
  let high = open.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (openAt(open, middle).bytes < bytes) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function enterOpen(heap_: Heap, open: OpenBlocks, block: Block): void {
  if (open.count == open.capacity) {
    const wider = allot(heap_, 8 * <usize>open.capacity);
    memory.copy(wider, open.sorted, 4 * <usize>open.capacity);
    heap.free(open.sorted);
    heap_.metadataBytes -= 4 * open.capacity;
    open.sorted = wider;
    open.capacity *= 2;
  }
  const at = positionOf(open, block);
  const entry = open.sorted + ((<usize>at) << 2);
  memory.copy(entry + 4, entry, (<usize>(open.count - at)) << 2);
  store<u32>(entry, <u32>changetype<usize>(block));
  open.count++;
}

/** Takes a block out whose size and address are as they were when it came in. */
export function leaveOpen(open: OpenBlocks, block: Block): void {
  const at = positionOf(open, block);
  const entry = open.sorted + ((<usize>at) << 2);
  open.count--;
  memory.copy(entry, entry + 4, (<usize>(open.count - at)) << 2);
}

/** Tells whether the order is as it should be, in O(n). */
export function areOpenBlocksSound(open: OpenBlocks): bool {
  for (let i = 1; i < open.count; i++) if (!isBefore(openAt(open, i - 1), openAt(open, i))) return false;
  return true;
}

function positionOf(open: OpenBlocks, block: Block): i32 {
  let low = 0;
  let high = open.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(openAt(open, middle), block)) low = middle + 1;
    else high = middle;
  }
  return low;
}
