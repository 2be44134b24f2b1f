import { getHeapStatistics } from 'node:v8';
import { cHeapText } from '../../adapters/os/c-heap.js';
import { OwnPages } from '../../adapters/os/own-pages.js';
import { type ProcessMapping, processMappings } from '../../adapters/os/process-mappings.js';
import { MemoryError } from '../core/errors.js';
import { GiB, KiB } from '../core/units.js';
import { ArenaHeaps, arenaHeapAt, isOfMainArena } from './arena-heaps.js';
import { arrayBufferBlocks } from './array-buffer-blocks.js';
import { type CHeapInfo, parseCHeapInfo } from './c-heap-info.js';
import { libraryOwners, type OwnedRange } from './library-owners.js';
import { addManagers, type ManagerMemory } from './manager-memory.js';
import { type MappedBlock, mappedBlocks } from './mapped-blocks.js';
import { MappingKinds } from './mapping-kinds.js';
import { FoundCategories, type MemoryExplanation } from './memory-explanation.js';
import { explanationOf, programOf } from './outside-view.js';
import { ownThreads } from './own-threads.js';
import { preloadedAllocator } from './preloaded-allocator.js';
import { ResidentRanges } from './resident-ranges.js';
import { v8MappingAt } from './v8-chunks.js';
import { addV8Spaces } from './v8-spaces.js';

/** V8 reserves so much behind a WebAssembly memory, and before it. @see Source: V8's wasm-memory guard regions */
const LEAST_GUARD_BYTES = GiB;
const WASM_PAGE_BYTES = 64 * KiB;
/** By how much an allocator's own count may be less than what the kernel counts. */
const SLACK = 1.1;

/**
 * Explains this process's memory: asks the kernel, V8, the managers and the C library, and looks at what lies in anonymous pages.
 *
 * @throws ERR_MEM_UNSUPPORTED_PLATFORM outside of Linux
 */
export function explainFromInside(): MemoryExplanation {
  // Before anything is made here.
  const { arrayBuffers } = process.memoryUsage();
  const mappings = processMappings('self');
  using pages = new OwnPages();
  return new InsideView(mappings, pages, arrayBuffers).explain();
}

/** One look at this process. */
class InsideView {
  readonly #pages: OwnPages;
  readonly #kinds: MappingKinds;
  readonly #ranges: ResidentRanges;
  readonly #found = new FoundCategories();
  readonly #arenas = new ArenaHeaps();
  /** What lies in V8's heaps, by heap: 0 for chunks that do not tell. */
  readonly #v8 = new Map<number, number>();
  readonly #v8Ranges: [start: number, end: number][] = [];
  readonly #blocks: MappedBlock[] = [];
  readonly #threads = ownThreads();
  /** Mappings that nobody has been found for yet, by index. */
  #ownerless: number[] = [];

  /** @param arrayBufferBytes - of this isolate, before those that are made to look */
  constructor(
    mappings: readonly ProcessMapping[],
    pages: OwnPages,
    readonly arrayBufferBytes: number,
  ) {
    this.#pages = pages;
    this.#kinds = new MappingKinds(mappings);
    this.#ranges = new ResidentRanges(mappings, pages);
  }

  explain(): MemoryExplanation {
    const found = this.#found;
    const managers = addManagers(found, this.#ranges);
    this.#kinds.mappings.forEach((_, index) => {
      if (this.#ranges.leftOf(index) > 0 && !this.#addNamed(index)) this.#addAnonymous(index, managers);
    });
    const preloaded = preloadedAllocator(this.#kinds.binaries);
    const info = cHeapInfo();
    this.#addRestOfMainArena(info, managers);
    const trimmable = this.#arenas.enter(info, found);
    const lessBytes = this.#addArrayBuffers();
    const unusedV8 = this.#addV8();
    const allocatorFree = this.#addOwnerless(preloaded);
    found.add('array-buffers', `in the heap of ${preloaded?.name}`, found.take('allocator-live', lessBytes), null);
    found.add('manager-metadata', 'tables of blocks', found.take('webassembly', managers.metadataBytes));
    return explanationOf(process.pid, 'inside', found, {
      program: programOf('self'),
      giveBack: [
        { step: 'V8', bytes: unusedV8, how: 'estimated' },
        { step: 'managers', bytes: managers.idleBytes, how: 'estimated' },
        { step: 'C library', bytes: trimmable + allocatorFree, how: 'estimated' },
      ],
    });
  }

  #addNamed(index: number): boolean {
    const bytes = this.#ranges.leftOf(index);
    if (!this.#kinds.addNamed(index, bytes, this.#found)) return false;
    this.#ranges.takeRest(index);
    return true;
  }

  #addAnonymous(index: number, managers: ManagerMemory): void {
    const mapping = this.#kinds.mappings[index] as ProcessMapping;
    const { start, end, name, rights } = mapping;
    const ranges = this.#ranges;
    if (name === '[heap]') {
      this.#arenas.add(undefined, ranges.takeRest(index), managedIn(mapping, managers));
      return;
    }
    const v8 = rights[0] === 'r' ? v8MappingAt(mapping, this.#pages) : undefined;
    const heap = arenaHeapAt(mapping, this.#pages);
    if (rights[2] === 'x') this.#found.add('v8-code', 'code made at run time', ranges.takeRest(index));
    else if (v8 !== undefined) {
      this.#v8.set(v8.heap, (this.#v8.get(v8.heap) ?? 0) + ranges.takeRest(index));
      this.#v8Ranges.push([start, end]);
    } else if (heap !== undefined) this.#arenas.add(heap, ranges.takeRest(index), managedIn(mapping, managers));
    else {
      this.#blocks.push(...mappedBlocks(mapping, this.#pages));
      const thread = this.#threads.find(({ stackPointer }) => stackPointer >= start && stackPointer < end);
      if (thread !== undefined) this.#found.add('stack', `thread ${thread.name}`, this.#restBesideBlocks(index));
      else if (this.#isWebAssembly(index)) this.#found.add('webassembly', 'memories', this.#restBesideBlocks(index), null);
      else if (this.#kinds.isGuarded(index))
        this.#found.add('stack', 'running or kept for later threads', this.#restBesideBlocks(index));
      else this.#ownerless.push(index);
    }
  }

  /** Where something lies right behind [heap], V8's code now and then, the main arena goes on in mappings as any others. */
  #addRestOfMainArena(info: CHeapInfo | undefined, managers: ManagerMemory): void {
    const heap = this.#kinds.mappings
      .filter(({ name }) => name === '[heap]')
      .reduce((sum, { start, end }) => sum + end - start, 0);
    let missing = (info?.arenas.find(({ number }) => number === 0)?.systemBytes ?? 0) - heap;
    this.#ownerless = this.#ownerless.filter((index) => {
      const mapping = this.#kinds.mappings[index] as ProcessMapping;
      const blocks = this.#blocksIn(index);
      const starts = [mapping.start, ...blocks.map(({ end }) => end)];
      const ends = [...blocks.map(({ start }) => start), mapping.end];
      if (missing <= 0 || !starts.some((start, n) => isOfMainArena(start, ends[n] as number, this.#pages))) return true;
      const bytes = this.#restBesideBlocks(index);
      this.#arenas.add(undefined, bytes, managedIn(mapping, managers));
      missing -= bytes;
      return false;
    });
  }

  /** What is left of a mapping when the blocks that were found in it have theirs. */
  #restBesideBlocks(index: number): number {
    const blocks = this.#blocksIn(index);
    let blockBytes = 0;
    for (const block of blocks) blockBytes += this.#pages.residentBytes(block.start, block.end);
    return blocks.length === 0 ? this.#ranges.takeRest(index) : Math.max(0, this.#ranges.leftOf(index) - blockBytes);
  }

  /** The blocks with mappings of their own that the kernel counts as a part of a mapping, in the order of addresses. */
  #blocksIn(index: number): readonly MappedBlock[] {
    const { start, end } = this.#kinds.mappings[index] as ProcessMapping;
    return this.#blocks.filter((block) => block.start >= start && block.end <= end);
  }

  /** Whether a mapping lies between two wide ranges that nobody may touch, as the memory of a WebAssembly instance does. */
  #isWebAssembly(index: number): boolean {
    const { start, end } = this.#kinds.mappings[index] as ProcessMapping;
    const isGuard = (mapping: ProcessMapping | undefined) =>
      mapping?.rights.startsWith('---') === true && mapping.end - mapping.start >= LEAST_GUARD_BYTES;
    const before = this.#kinds.mappings[index - 1];
    const behind = this.#kinds.mappings[index + 1];
    const isAlone = start % WASM_PAGE_BYTES === 0 || (before?.end === start && isGuard(before));
    return behind?.start === end && isGuard(behind) && isAlone;
  }

  /** @returns bytes of ArrayBuffers that lie elsewhere than in the heap of the C library */
  #addArrayBuffers(): number {
    const found = this.#found;
    const buffers = arrayBufferBlocks(this.#blocks, this.#v8Ranges, this.#pages);
    let lengths = 0;
    let mapped = 0;
    for (const length of buffers.values()) lengths += length;
    // The others are too small for mappings of their own.
    const small = Math.max(0, Math.min(this.arrayBufferBytes, process.memoryUsage().arrayBuffers) - lengths);
    const inHeap = found.take('c-heap-live', small);
    found.add('array-buffers', 'small ones, in the heap of the C library', inHeap, null);
    for (const block of this.#blocks) {
      const bytes = this.#ranges.take(block.start, block.end);
      if (buffers.has(block)) found.add('array-buffers', 'large ones, with mappings of their own', bytes, null);
      else mapped += bytes;
    }
    found.add('c-heap-live', 'large blocks with mappings of their own', mapped);
    return small - inHeap;
  }

  /** @returns how much a collection could free at most */
  #addV8(): number {
    const { total_heap_size, total_heap_size_executable } = getHeapStatistics();
    const wanted = total_heap_size - total_heap_size_executable;
    const heaps = [...this.#v8].filter(([heap]) => heap !== 0);
    const own = heaps.reduce<[heap: number, bytes: number] | undefined>(
      (best, one) => (best === undefined || Math.abs(one[1] - wanted) < Math.abs(best[1] - wanted) ? one : best),
      undefined,
    );
    for (const [heap, bytes] of heaps) if (heap !== own?.[0]) this.#found.add('v8-heap', 'workers', bytes, null);
    // The chunks of later versions of V8 do not tell their heap: then those of workers are among the rest.
    const rest = own === undefined ? 'kept for later, and heaps of workers' : 'kept for later';
    return addV8Spaces((own?.[1] ?? 0) + (this.#v8.get(0) ?? 0), rest, this.#found);
  }

  /** Enters what no structure was found in. @returns how much a preloaded allocator keeps free */
  #addOwnerless(preloaded: ReturnType<typeof preloadedAllocator>): number {
    const mappings = this.#kinds.mappings;
    const data = mappings.flatMap(({ start, end, rights }, index): OwnedRange[] => {
      const owner = rights[1] === 'w' ? this.#kinds.binaryOf(index) : undefined;
      return owner === undefined ? [] : [{ start, end, owner }];
    });
    const ownerless = this.#ownerless.filter((index) => this.#ranges.leftOf(index) > 0);
    const owners = libraryOwners(
      ownerless.map((index) => mappings[index] as ProcessMapping),
      data,
      this.#pages,
    );
    let allocatorBytes = 0;
    const ownerOf = (index: number) => owners.get((mappings[index] as ProcessMapping).start);
    const rank = (index: number) => [preloaded?.path, undefined].indexOf(ownerOf(index)) >>> 0;
    // Any library has pointers to blocks of the allocator: what it says of itself tells how much is its own.
    const most = preloaded === undefined ? 0 : (preloaded.residentBytes ?? Number.POSITIVE_INFINITY);
    for (const index of ownerless.sort((a, b) => rank(a) - rank(b))) {
      const bytes = this.#ranges.takePresent(index);
      const owner = ownerOf(index);
      if (allocatorBytes + bytes <= SLACK * most) allocatorBytes += bytes;
      else if (owner !== undefined) this.#found.add('library-memory', owner, bytes, null);
      else this.#found.add('unknown', 'anonymous memory', bytes, null);
    }
    if (preloaded === undefined) return 0;
    const { name, liveBytes } = preloaded;
    const free = liveBytes === undefined ? 0 : Math.max(0, allocatorBytes - liveBytes);
    this.#found.add('allocator-free', name, free, free);
    this.#found.add('allocator-live', name, allocatorBytes - free, liveBytes === undefined ? null : 0);
    return free;
  }
}

/** Bytes in a mapping that managers have. */
function managedIn({ start, end }: ProcessMapping, { taken }: ManagerMemory): number {
  return taken.filter(([at]) => at >= start && at < end).reduce((sum, [, bytes]) => sum + bytes, 0);
}

function cHeapInfo(): CHeapInfo | undefined {
  try {
    const text = cHeapText();
    return text === undefined ? undefined : parseCHeapInfo(text);
  } catch (error) {
    // No native functions here: what is live and what is free cannot be told then.
    if (MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')) return undefined;
    throw error;
  }
}
