import { KERNEL_BYTES } from './kernel-bytes.js';

// What of the platform is used here; the library compiles without the DOM's types.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

/** A block, by its place in the kernel's memory; 0 is none. */
type Block = number;
/** A structure of the kernel, by its place in its memory. */
type Place = number;

/**
 * The kernel: block tables, address index, free blocks, holes and counters of all managers of an isolate, in WebAssembly, since
 * JavaScript boxes the numbers that addresses are and cannot lay rows out in memory. Its sources and the meaning of each
 * function are in `kernel/index.ts`. A call costs some 4 ns.
 */
export interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer };
  allocate(source: Place, requested: number, locks: number): number;
  release(heap: Place, pointer: number, locks: number): number;
  liveBlock(heap: Place, pointer: number): Block;
  blockAt(heap: Place, address: number): Block;

  createHeap(): Place;
  destroyHeap(heap: Place): void;
  createStatistics(heap: Place): Place;
  countReserved(statistics: Place, bytes: number): void;
  isCounting(heap: Place, statistics: Place): number;
  destroyStatistics(heap: Place, statistics: Place): void;
  createFreeBlocks(heap: Place, statistics: Place, device: number, group: number, unitBytes: number): Place;
  destroyFreeBlocks(source: Place): void;
  setManual(source: Place): void;
  setExact(source: Place): void;
  setLeastRest(source: Place, bytes: number): void;
  setLimits(source: Place, recyclingBytes: number, splitBytes: number): void;
  pair(small: Place, large: Place, limitBytes: number): void;
  addFront(source: Place, largestBytes: number, boundBytes: number): void;
  metadataBytes(heap: Place): number;
  blockCount(heap: Place): number;

  createBlockAt(home: Place, address: number, bytes: number): Block;
  remove(block: Block): void;
  split(block: Block, bytes: number): Block;
  absorb(block: Block): void;
  first(heap: Place): Block;
  after(heap: Place, block: Block): Block;
  addressOf(block: Block): number;
  bytesOf(block: Block): number;
  requestedOf(block: Block): number;
  previousOf(block: Block): Block;
  nextOf(block: Block): Block;
  homeOf(block: Block): Place;
  setHome(block: Block, home: Place): void;
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

  take(source: Place, requested: number): Block;
  usable(source: Place, bytes: number): Block;
  fit(source: Place, bytes: number): Block;
  cutTail(home: Place, block: Block, bytes: number): void;
  carve(block: Block, bytes: number): void;
  putIn(home: Place, block: Block): void;
  takeOut(block: Block): void;
  join(home: Place, block: Block): Block;
  moveAll(from: Place, to: Place): void;
  flush(source: Place): void;
  flushFor(source: Place, bytes: number): Block;
  deferredBytes(source: Place): number;
  setFrontBounds(source: Place, largestBytes: number, boundBytes: number): void;
  freeCount(source: Place): number;
  hasFree(source: Place): number;
  firstFreeOf(source: Place): Block;
  freeBehind(source: Place, block: Block): Block;
  isSound(source: Place): number;

  createHoles(source: Place, idle: Place, pageBytes: number): void;
  keepHole(source: Place, hole: Block): void;
  giveHole(source: Place, hole: Block): void;
  holeCount(source: Place): number;
  findSpot(source: Place, bytes: number): Block;
  spotAddress(source: Place): number;
  spotBytes(source: Place): number;
  spotRoom(source: Place): number;
  fill(source: Place, hole: Block, address: number, bytes: number): Block;
  reclaimable(source: Place, bytes: number, leastBytes: number): Block;
  firstPage(source: Place, block: Block): number;
  wholePages(source: Place, block: Block): number;
  punch(source: Place, block: Block): void;
}

const abort = (_message: number, _file: number, line: number, column: number) => {
  throw new RangeError(`the kernel of the block tables stopped at ${line}:${column}`);
};

export const kernel = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(KERNEL_BYTES, 'base64')), { env: { abort } })
  .exports as Kernel;

/** What {@link Kernel.release} answers beside a block: still held, taken back, no such block, free already. */
export const HELD = 0;
export const FREED = 1;
export const UNKNOWN = -1;
export const DOUBLE_FREE = -2;

/** What {@link Kernel.stateOf} answers. */
export const INDEXED = 0;
export const HOLE = 2;
export const LOOSE = 3;
