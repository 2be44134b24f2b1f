import { allot, Block, hashOf, Heap, keyOf } from './layout';

// Blocks by address. A bucket has two slots of 8 bytes: a block's key, the low half of its address in units of 16 B, and
// the block; 0 is a free slot. Which of them it is, is found without a branch, since none could foretell it. Few buckets
// are ever full: a block whose bucket is lies in one of the next, at most `farthest` away. On a device of more than
// 64 GiB two blocks may have one key: the block tells them apart.

const BUCKET_SHIFT: usize = 4;
const BUCKET_BYTES: usize = 1 << BUCKET_SHIFT;
const SLOT_BYTES: usize = 8;
const BLOCK: usize = 4;
const INITIAL_BITS: i32 = 8;
/** What buckets begin at a multiple of, so that none lies in two cache lines. */
const LINE: usize = 64;

export function initIndex(heap: Heap): void {
  heap.bucketBits = INITIAL_BITS;
  allotBuckets(heap);
}

/** The slot of the block at an address, or 0. O(1). */
@inline
export function slotOf(heap: Heap, address: f64): usize {
  const key = keyOf(address);
  const bucket = bucketAt(heap, homeOf(heap, key));
  const slot = select(bucket + SLOT_BYTES, bucket, load<u32>(bucket, SLOT_BYTES) == key);
  if (blockIn(slot).address != address) return farSlotOf(heap, address);
  return slot;
}

/** The block of a slot; null for slot 0, where the row of null has its address, 0. */
@inline
export function blockIn(slot: usize): Block {
  return changetype<Block>(<usize>load<u32>(slot, BLOCK));
}

/** Lets a block be found, whose address heads no other that is. Amortised O(1). */
@inline
export function enter(heap: Heap, block: Block): void {
  const key = keyOf(block.address);
  const bucket = bucketAt(heap, homeOf(heap, key));
  const slot = freeSlotIn(bucket);
  if (load<u32>(slot, BLOCK) != 0) {
    enterFar(heap, block);
    return;
  }
  fillSlot(heap, slot, key, block);
}

/** A free slot of a bucket, or another one when it is full. */
@inline
function freeSlotIn(bucket: usize): usize {
  return select(bucket + SLOT_BYTES, bucket, load<u32>(bucket, SLOT_BYTES + BLOCK) == 0);
}

/** Lets the block of a slot be found no more. */
@inline
export function clearSlot(heap: Heap, slot: usize): void {
  store<u32>(slot, 0);
  store<u32>(slot, 0, BLOCK);
  heap.entryCount--;
}

@inline
function homeOf(heap: Heap, key: u32): u32 {
  return hashOf(key, heap.bucketBits);
}

@inline
function bucketAt(heap: Heap, place: u32): usize {
  return heap.buckets + (<usize>place << BUCKET_SHIFT);
}

@inline
function fillSlot(heap: Heap, slot: usize, key: u32, block: Block): void {
  store<u32>(slot, key);
  store<u32>(slot, <u32>changetype<usize>(block), BLOCK);
  if (++heap.entryCount > heap.mostEntries) widen(heap);
}

/** As {@link slotOf}, wherever the block is. */
function farSlotOf(heap: Heap, address: f64): usize {
  const home = homeOf(heap, keyOf(address));
  const mask: u32 = (1 << heap.bucketBits) - 1;
  for (let away: u32 = 0; away <= <u32>heap.farthest; away++) {
    const bucket = bucketAt(heap, (home + away) & mask);
    for (let slot = bucket; slot < bucket + BUCKET_BYTES; slot += SLOT_BYTES) {
      if (load<u32>(slot, BLOCK) != 0 && blockIn(slot).address == address) return slot;
    }
  }
  return 0;
}

/** As {@link enter}, for a block whose bucket is full. */
function enterFar(heap: Heap, block: Block): void {
  const key = keyOf(block.address);
  const home = homeOf(heap, key);
  const mask: u32 = (1 << heap.bucketBits) - 1;
  for (let away: u32 = 1; ; away++) {
    const bucket = bucketAt(heap, (home + away) & mask);
    const slot = freeSlotIn(bucket);
    if (load<u32>(slot, BLOCK) != 0) continue;
    heap.farthest = max(heap.farthest, <i32>away);
    fillSlot(heap, slot, key, block);
    return;
  }
}

/** Doubles the buckets. */
function widen(table: Heap): void {
  const memory = table.bucketMemory;
  const old = table.buckets;
  const bytes = bytesOf(table);
  table.bucketBits++;
  allotBuckets(table);
  for (let bucket = old; bucket < old + bytes; bucket += BUCKET_BYTES) {
    for (let slot = bucket; slot < bucket + BUCKET_BYTES; slot += SLOT_BYTES) if (load<u32>(slot, BLOCK) != 0) enter(table, blockIn(slot));
  }
  table.metadataBytes -= <u32>(bytes + LINE);
  heap.free(memory);
}

function allotBuckets(heap: Heap): void {
  heap.bucketMemory = allot(heap, bytesOf(heap) + LINE);
  heap.buckets = (heap.bucketMemory + LINE - 1) & ~(LINE - 1);
  heap.entryCount = 0;
  heap.farthest = 0;
  heap.mostEntries = 1 << (heap.bucketBits - 1);
}

@inline
function bytesOf(heap: Heap): usize {
  return <usize>1 << (heap.bucketBits + <i32>BUCKET_SHIFT);
}
