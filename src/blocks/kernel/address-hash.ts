import { allot, Block, Heap, UNUSED } from './layout';

// Open addressing with linear probing, at most half full. An entry is 8 bytes: the low half of the address in units of
// 16 B, its key, and the block. Entries of blocks that are gone stay, since the row they name tells that they do not hold,
// until a block comes to the same address, as it often does, or the table is made anew. On a device of more than 64 GiB
// two blocks may have one key: the row tells them apart, too.

const ENTRY_SHIFT: usize = 3;
const INITIAL_BITS: i32 = 7;

export function initHash(heap: Heap): void {
  heap.shift = 32 - INITIAL_BITS;
  heap.entries = allot(heap, 1 << (INITIAL_BITS + <i32>ENTRY_SHIFT));
}

@inline
function keyOf(address: i64): u32 {
  return <u32>(address >> 4);
}

@inline
function placeOf(key: u32, shift: i32): u32 {
  return (key * 0x9e3779b1) >>> shift;
}

/** The block at an address, or null. O(1). */
@inline
export function find(heap: Heap, address: i64): Block | null {
  const key = keyOf(address);
  const shift = heap.shift;
  const entries = heap.entries;
  let place = placeOf(key, shift);
  let entry = entries + (<usize>place << ENTRY_SHIFT);
  let block = changetype<Block | null>(<usize>load<u32>(entry, 4));
  while (block !== null && (load<u32>(entry) != key || block.address != address || block.state == UNUSED)) {
    place = (place + 1) & ((1 << (32 - shift)) - 1);
    entry = entries + (<usize>place << ENTRY_SHIFT);
    block = changetype<Block | null>(<usize>load<u32>(entry, 4));
  }
  return block;
}

/** Enters a block whose address heads no other. Amortised O(1). */
@inline
export function enter(heap: Heap, block: Block): void {
  const key = keyOf(block.address);
  const shift = heap.shift;
  const entries = heap.entries;
  let place = placeOf(key, shift);
  let entry = entries + (<usize>place << ENTRY_SHIFT);
  let other = changetype<Block | null>(<usize>load<u32>(entry, 4));
  while (other !== null && (load<u32>(entry) != key || isAlias(other, block, key))) {
    place = (place + 1) & ((1 << (32 - shift)) - 1);
    entry = entries + (<usize>place << ENTRY_SHIFT);
    other = changetype<Block | null>(<usize>load<u32>(entry, 4));
  }
  store<u64>(entry, (<u64>changetype<usize>(block) << 32) | key);
  if (other === null && ++heap.entryCount > 1 << (31 - shift)) renew(heap);
}

/** Tells whether the block of an entry with the same key is there, at another address. */
function isAlias(other: Block, block: Block, key: u32): bool {
  return other.state != UNUSED && other.address != block.address && keyOf(other.address) == key;
}

/** Makes the table anew without the entries that do not hold, twice as large unless that leaves much room. */
function renew(table: Heap): void {
  const old = table.entries;
  const length: usize = 1 << (32 - table.shift);
  if (<usize>table.blockCount > length >>> 4) table.shift--;
  const bytes: usize = 1 << (32 - table.shift + <i32>ENTRY_SHIFT);
  table.entries = allot(table, bytes);
  table.entryCount = 0;
  for (let i: usize = 0; i < length; i++) {
    const block = changetype<Block | null>(<usize>load<u32>(old + (i << ENTRY_SHIFT), 4));
    if (block === null || block.state == UNUSED) continue;
    // A row may have been used again for another address, which has an entry of its own.
    if (keyOf(block.address) == load<u32>(old + (i << ENTRY_SHIFT))) put(table, block);
  }
  table.metadataBytes -= <u32>(length << ENTRY_SHIFT);
  heap.free(old);
}

/** Enters a block into a table that has room; does nothing when it is in. */
function put(heap: Heap, block: Block): void {
  const mask: u32 = (1 << (32 - heap.shift)) - 1;
  const key = keyOf(block.address);
  let place = placeOf(key, heap.shift);
  for (;;) {
    const entry = heap.entries + (<usize>place << ENTRY_SHIFT);
    const other = changetype<Block | null>(<usize>load<u32>(entry, 4));
    if (other === block) return;
    if (other === null) {
      store<u64>(entry, (<u64>changetype<usize>(block) << 32) | key);
      heap.entryCount++;
      return;
    }
    place = (place + 1) & mask;
  }
}
