// Written by kernel/compile.mjs: do not edit.

/** A block, by its place in the memory of the kernel; 0 is none. */
export type Block = number;
/** A structure, by its address in the memory of the kernel. */
export type KernelAddress = number;

/** What the kernel exports; kernel/index.ts says what each function does. */
export interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer };
  allocate(source: KernelAddress, requested: number, locks: number): number;
  release(heap: KernelAddress, pointer: number, locks: number): number;
  liveBlock(heap: KernelAddress, pointer: number): number;
  isFreeAt(heap: KernelAddress, address: number): number;
  blockAt(heap: KernelAddress, address: number): number;
  createHeap(device: number): KernelAddress;
  destroyHeap(gone: KernelAddress): void;
  statisticsOf(heap: KernelAddress): KernelAddress;
  countReserved(heap: KernelAddress, bytes: number): void;
  setManual(source: KernelAddress): void;
  setExact(source: KernelAddress): void;
  setLeastRest(source: KernelAddress, bytes: number): void;
  setLimits(source: KernelAddress, recyclingBytes: number, splitBytes: number): void;
  pair(small: KernelAddress, large: KernelAddress, limitBytes: number): void;
  metadataBytes(heap: KernelAddress): number;
  blockCount(heap: KernelAddress): number;
  createBlockAt(owner: KernelAddress, address: number, bytes: number): Block;
  remove(block: Block): void;
  split(block: Block, bytes: number): Block;
  absorb(block: Block): void;
  first(heap: KernelAddress): number;
  after(heap: KernelAddress, block: Block): number;
  setOwner(block: Block, owner: KernelAddress): void;
  handOut(block: Block, requested: number, locks: number): number;
  setRequested(block: Block, requested: number): void;
  retire(block: Block): void;
  holdAgain(block: Block, locks: number): void;
  take(source: KernelAddress, requested: number): number;
  usable(source: KernelAddress, bytes: number): number;
  fit(source: KernelAddress, bytes: number): number;
  carve(block: Block, bytes: number): void;
  carveAligned(block: Block, bytes: number, alignment: number): Block;
  putIn(owner: KernelAddress, block: Block): void;
  takeOut(block: Block): void;
  join(owner: KernelAddress, block: Block): Block;
  flushFor(source: KernelAddress, bytes: number): number;
  deferredBytes(source: KernelAddress): number;
  setFrontBounds(source: KernelAddress, largestBytes: number, boundBytes: number): void;
  freeCount(source: KernelAddress): number;
  hasFree(source: KernelAddress): number;
  firstFreeOf(source: KernelAddress): number;
  freeBehind(source: KernelAddress, block: Block): number;
  isSound(source: KernelAddress): number;
  areBlocksSound(heap: KernelAddress): number;
  countInBins(heap: KernelAddress): number;
  firstUnjoined(heap: KernelAddress): number;
  sumLive(heap: KernelAddress): number;
  sumMemory(heap: KernelAddress): number;
  addressOf(block: Block): number;
  bytesOf(block: Block): number;
  deviceOf(block: Block): number;
  groupOf(block: Block): number;
  locksOf(block: Block): number;
  markOf(block: Block): number;
  nextOf(block: Block): number;
  previousOf(block: Block): number;
  requestedOf(block: Block): number;
  rowOf(block: Block): number;
  setHasUsers(block: Block, hasUsers: number): void;
  setLocks(block: Block, locks: number): void;
  setMark(block: Block, mark: number): void;
  setState(block: Block, state: number): void;
  stateOf(block: Block): number;
  addFront(free: KernelAddress, largestBytes: number, boundBytes: number): void;
  createFreeBlocks(heap: KernelAddress, group: number, unitBytes: number): KernelAddress;
  cutTail(free: KernelAddress, block: Block, size: number): void;
  flush(free: KernelAddress): void;
  moveAll(from: KernelAddress, to: KernelAddress): void;
  createHoles(source: KernelAddress, idle: KernelAddress, pageBytes: number): void;
  fill(source: KernelAddress, hole: Block, address: number, bytes: number): Block;
  findGap(source: KernelAddress, bytes: number): Block;
  firstPage(source: KernelAddress, block: Block): number;
  giveHole(source: KernelAddress, hole: Block): void;
  holeCount(source: KernelAddress): number;
  keepHole(source: KernelAddress, hole: Block): void;
  punch(source: KernelAddress, block: Block): void;
  reclaimable(source: KernelAddress, bytes: number, leastBytes: number): Block;
  gapAddress(source: KernelAddress): number;
  gapBytes(source: KernelAddress): number;
  gapRoom(source: KernelAddress): number;
  wholePages(source: KernelAddress, block: Block): number;
  findSpot(source: KernelAddress, bytes: number): Block;
  spotAddress(source: KernelAddress): number;
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
