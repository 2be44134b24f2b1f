// Written by kernel/compile.mjs: do not edit.

/** A block, by its place in the memory of the kernel; 0 is none. */
export type Block = number;
/** A structure, by its place in the memory of the kernel. */
export type Place = number;

/** What the kernel exports; kernel/index.ts says what each function does. */
export interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer };
  allocate(source: Place, requested: number, locks: number): number;
  release(heap: Place, pointer: number, locks: number): number;
  liveBlock(heap: Place, pointer: number): number;
  isFreeAt(heap: Place, address: number): number;
  blockAt(heap: Place, address: number): number;
  createHeap(device: number): Place;
  destroyHeap(gone: Place): void;
  statisticsOf(heap: Place): Place;
  countReserved(heap: Place, bytes: number): void;
  setManual(source: Place): void;
  setExact(source: Place): void;
  setLeastRest(source: Place, bytes: number): void;
  setLimits(source: Place, recyclingBytes: number, splitBytes: number): void;
  pair(small: Place, large: Place, limitBytes: number): void;
  metadataBytes(heap: Place): number;
  blockCount(heap: Place): number;
  createBlockAt(owner: Place, address: number, bytes: number): Block;
  remove(block: Block): void;
  split(block: Block, bytes: number): Block;
  absorb(block: Block): void;
  first(heap: Place): number;
  after(heap: Place, block: Block): number;
  addressOf(block: Block): number;
  bytesOf(block: Block): number;
  requestedOf(block: Block): number;
  previousOf(block: Block): number;
  nextOf(block: Block): number;
  setOwner(block: Block, owner: Place): void;
  deviceOf(block: Block): number;
  groupOf(block: Block): number;
  stateOf(block: Block): number;
  setState(block: Block, state: number): void;
  locksOf(block: Block): number;
  setLocks(block: Block, locks: number): void;
  setHasUsers(block: Block, hasUsers: number): void;
  rowOf(block: Block): number;
  markOf(block: Block): number;
  setMark(block: Block, mark: number): void;
  handOut(block: Block, requested: number, locks: number): number;
  retire(block: Block): void;
  holdAgain(block: Block, locks: number): void;
  take(source: Place, requested: number): number;
  usable(source: Place, bytes: number): number;
  fit(source: Place, bytes: number): number;
  carve(block: Block, bytes: number): void;
  carveAligned(block: Block, bytes: number, alignment: number): Block;
  putIn(owner: Place, block: Block): void;
  takeOut(block: Block): void;
  join(owner: Place, block: Block): Block;
  flushFor(source: Place, bytes: number): number;
  deferredBytes(source: Place): number;
  setFrontBounds(source: Place, largestBytes: number, boundBytes: number): void;
  freeCount(source: Place): number;
  hasFree(source: Place): number;
  firstFreeOf(source: Place): number;
  freeBehind(source: Place, block: Block): number;
  isSound(source: Place): number;
  addFront(free: Place, largestBytes: number, boundBytes: number): void;
  createFreeBlocks(heap: Place, group: number, unitBytes: number): Place;
  cutTail(free: Place, block: Block, size: number): void;
  flush(free: Place): void;
  moveAll(from: Place, to: Place): void;
  createHoles(source: Place, idle: Place, pageBytes: number): void;
  fill(source: Place, hole: Block, address: number, bytes: number): Block;
  findGap(source: Place, bytes: number): Block;
  firstPage(source: Place, block: Block): number;
  giveHole(source: Place, hole: Block): void;
  holeCount(source: Place): number;
  keepHole(source: Place, hole: Block): void;
  punch(source: Place, block: Block): void;
  reclaimable(source: Place, bytes: number, leastBytes: number): Block;
  gapAddress(source: Place): number;
  gapBytes(source: Place): number;
  gapRoom(source: Place): number;
  wholePages(source: Place, block: Block): number;
}

export const HELD = 0;
export const FREED = 1;
export const NOT_LIVE = -1;
export const HOLE = 2;
export const INDEXED = 0;
export const DETACHED = 3;

/** Where each counter of a heap is among its doubles. */
export const COUNTERS = {
  allocatedRoom: 0,
  requestedRoom: 1,
  allocatedTotal: 2,
  requestedTotal: 3,
  blocksRoom: 4,
  blocksTotal: 5,
  allocatedPeak: 6,
  requestedPeak: 7,
  blocksPeak: 8,
  reserved: 9,
  reservedPeak: 10,
  reservedTotal: 11,
  deferred: 12,
  activePeak: 13,
  cachedPeak: 14,
  cachedPeakRoom: 15,
} as const;
