import { enter } from './address-hash';
import { allot, Block, Chunk, FreeBlocks, Heap, LOOSE, setLocksAndState, UNUSED } from './layout';

const FIRST_ROWS: i32 = 64;
const MOST_ROWS: i32 = 4096;
const ROW_BYTES: usize = 64;

/** Makes a block that is in no bins. Amortised O(1). */
export function createBlock(home: FreeBlocks, address: i64, bytes: i64): Block {
  const block = takeRow(home.heap);
  block.address = address;
  block.bytes = bytes;
  block.previous = null;
  block.next = null;
  block.home = home;
  setLocksAndState(block, LOOSE, 0);
  block.mark = 0;
  enter(home.heap, block);
  return block;
}

/** Ends a block's existence; neighbours are not told. */
export function removeBlock(heap: Heap, block: Block): void {
  setLocksAndState(block, UNUSED, 0);
  block.next = heap.unused;
  heap.unused = block;
  heap.blockCount--;
}

/** Cuts a block in two and returns the second part, which is in no bins. Amortised O(1). */
export function splitBlock(block: Block, bytes: i64): Block {
  const heap = block.home.heap;
  const rest = takeRow(heap);
  const next = block.next;
  rest.address = block.address + bytes;
  rest.bytes = block.bytes - bytes;
  rest.previous = block;
  rest.next = next;
  rest.home = block.home;
  setLocksAndState(rest, LOOSE, 0);
  rest.mark = block.mark;
  block.bytes = bytes;
  block.next = rest;
  if (next !== null) next.previous = rest;
  enter(heap, rest);
  return rest;
}

/** Joins a block with the one behind it, which ceases to exist. */
export function absorbNext(block: Block): void {
  const gone = block.next!;
  const next = gone.next;
  block.bytes += gone.bytes;
  block.next = next;
  if (next !== null) next.previous = block;
  removeBlock(block.home.heap, gone);
}

@inline
function takeRow(heap: Heap): Block {
  if (heap.unused === null) addRows(heap);
  const row = heap.unused!;
  heap.unused = row.next;
  heap.blockCount++;
  return row;
}

function addRows(heap: Heap): void {
  const last = heap.chunks;
  const count = last === null ? FIRST_ROWS : min(last.rowCount * 2, MOST_ROWS);
  const chunk = changetype<Chunk>(allot(heap, offsetof<Chunk>()));
  // A row of its own in front lets the rows begin at a multiple of their size: one cache line each.
  const memory = allot(heap, (<usize>count + 1) * ROW_BYTES);
  chunk.memory = memory;
  chunk.rows = (memory + ROW_BYTES - 1) & ~(ROW_BYTES - 1);
  chunk.rowCount = count;
  chunk.next = last;
  heap.chunks = chunk;
  for (let i = count - 1; i >= 0; i--) {
    const row = changetype<Block>(chunk.rows + <usize>i * ROW_BYTES);
    row.state = UNUSED;
    row.row = heap.rowCount + i;
    row.next = heap.unused;
    heap.unused = row;
  }
  heap.rowCount += count;
}

/** The first block of a walk over all, or null. */
export function firstBlock(heap: Heap): Block | null {
  return heap.chunks === null ? null : usedFrom(heap.chunks!, 0);
}

/** The block behind another one in a walk over all, or null; O(chunks) to find its chunk. */
export function blockAfter(heap: Heap, block: Block): Block | null {
  for (let chunk = heap.chunks; chunk !== null; chunk = chunk!.next) {
    const at = changetype<usize>(block);
    if (at >= chunk.rows && at < chunk.rows + <usize>chunk.rowCount * ROW_BYTES) {
      return usedFrom(chunk, <i32>((at - chunk.rows) / ROW_BYTES) + 1);
    }
  }
  return null;
}

function usedFrom(start: Chunk, index: i32): Block | null {
  let i = index;
  for (let chunk: Chunk | null = start; chunk !== null; chunk = chunk.next) {
    for (; i < chunk.rowCount; i++) {
      const row = changetype<Block>(chunk.rows + <usize>i * ROW_BYTES);
      if (row.state != UNUSED) return row;
    }
    i = 0;
  }
  return null;
}
