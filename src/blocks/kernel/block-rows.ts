import { allot, Block, Chunk, FreeBlocks, Heap, HOLE, DETACHED, setStatus, stateOf, UNUSED } from './layout';

const FIRST_ROWS: i32 = 64;
const MOST_ROWS: i32 = 4096;
const ROW_BYTES: usize = 64;

/** Makes a block that is in no bins. Amortised O(1). */
export function createBlock(owner: FreeBlocks, address: f64, bytes: f64): Block {
  const block = takeRow(owner.heap);
  block.address = address;
  block.bytes = bytes;
  block.previous = null;
  block.next = null;
  setStatus(block, DETACHED, 0);
  block.group = owner.group;
  block.owner = owner;
  block.mark = 0;
  return block;
}

/** Ends a block's existence; neighbours are not told. */
@inline
export function removeBlock(heap: Heap, block: Block): void {
  setStatus(block, UNUSED, 0);
  block.next = heap.unused;
  heap.unused = block;
}

/** Cuts a block in two and returns the second part, which is in no bins. Amortised O(1). */
@inline
export function splitBlock(block: Block, bytes: f64): Block {
  const owner = block.owner;
  const rest = takeRow(owner.heap);
  const next = block.next;
  rest.address = block.address + bytes;
  rest.bytes = block.bytes - bytes;
  rest.previous = block;
  rest.next = next;
  setStatus(rest, DETACHED, 0);
  rest.group = block.group;
  rest.owner = owner;
  rest.mark = block.mark;
  block.bytes = bytes;
  block.next = rest;
  next!.previous = rest;
  return rest;
}

/** Joins a block with the one behind it, which ceases to exist. */
@inline
export function absorbNext(block: Block): void {
  const gone = block.next!;
  const next = gone.next;
  block.bytes += gone.bytes;
  block.next = next;
  next!.previous = block;
  removeBlock(block.owner.heap, gone);
}

/** Takes a row that is no block. Amortised O(1). */
export function takeRow(heap: Heap): Block {
  const row = heap.unused;
  if (row === null) return addRows(heap);
  heap.unused = row.next;
  return row;
}

@inline
function rowIn(chunk: Chunk, index: i32): Block {
  return changetype<Block>(chunk.rows + <usize>index * ROW_BYTES);
}

/** Gets rows, and takes one. */
function addRows(heap: Heap): Block {
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
    const row = rowIn(chunk, i);
    setStatus(row, UNUSED, 0);
    row.row = heap.rowCount + i;
    row.next = heap.unused;
    heap.unused = row;
  }
  heap.rowCount += count;
  const first = heap.unused!;
  heap.unused = first.next;
  return first;
}

/** The row behind another one in a walk over all, blocks or not; the first one behind null, and null behind the last. O(chunks) at most. */
function nextRow(heap: Heap, row: Block | null): Block | null {
  let chunk = heap.chunks;
  if (row === null) return chunk === null ? null : rowIn(chunk, 0);
  const at = changetype<usize>(row);
  while (at < chunk!.rows || at >= chunk!.rows + <usize>chunk!.rowCount * ROW_BYTES) chunk = chunk!.next;
  const index = <i32>((at - chunk!.rows) / ROW_BYTES) + 1;
  if (index < chunk!.rowCount) return rowIn(chunk!, index);
  return chunk!.next === null ? null : rowIn(chunk!.next!, 0);
}

/** The block behind another one in a walk over all; the first one behind null, and null behind the last. */
export function nextBlock(heap: Heap, block: Block | null): Block | null {
  let row = nextRow(heap, block);
  while (row !== null && stateOf(row) == UNUSED) row = nextRow(heap, row);
  return row;
}

/** How many blocks there are. O(rows). */
export function countBlocks(heap: Heap): i32 {
  let count = 0;
  for (let chunk = heap.chunks; chunk !== null; chunk = chunk!.next) {
    for (let i = 0; i < chunk.rowCount; i++) count += <i32>(stateOf(rowIn(chunk, i)) != UNUSED);
  }
  return count;
}

/** Tells whether memory begins at an address, live or free. O(rows). */
export function isBlockAt(heap: Heap, address: f64): bool {
  for (let chunk = heap.chunks; chunk !== null; chunk = chunk!.next) {
    for (let i = 0; i < chunk.rowCount; i++) {
      const row = rowIn(chunk, i);
      if (row.address == address && stateOf(row) != UNUSED && stateOf(row) != HOLE) return true;
    }
  }
  return false;
}

/** What JavaScript calls a block: its address in the kernel's memory, 0 for none. */
@inline
export function idOf(block: Block | null): i32 {
  return <i32>changetype<usize>(block);
}
