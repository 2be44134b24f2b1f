import type { OwnPages } from '../../adapters/os/own-pages.js';
import type { ProcessMapping } from '../../adapters/os/process-mappings.js';
import { MiB } from '../core/units.js';
import type { CHeapInfo } from './c-heap-info.js';
import type { FoundCategories } from './memory-explanation.js';

/** Heaps of arenas begin at multiples of it. @see Source: glibc's arena.c, HEAP_MAX_SIZE on 64-bit machines */
const HEAP_BYTES = 64 * MiB;
/** The words of a heap's head: its arena, the heap before, and its bytes. */
const HEAD_WORDS = 3;

/** What is resident of one arena. */
interface Arena {
  /** What its heaps got from the system. */
  systemBytes: number;
  /** Resident bytes that have no other owner. */
  residentBytes: number;
  /** Resident bytes that managers have in it. */
  managedBytes: number;
}

/** The arena of a heap of glibc that begins where a mapping does. @returns its address and the heap's bytes; undefined where there is none */
export function arenaHeapAt({ start, end }: ProcessMapping, pages: OwnPages): { arena: number; bytes: number } | undefined {
  if (start % HEAP_BYTES !== 0) return undefined;
  const [arena = 0, , bytes = 0] = pages.wordsAt(start, HEAD_WORDS);
  const isHead = bytes > 0 && bytes <= HEAP_BYTES && bytes % pages.pageBytes === 0 && start + bytes <= end + HEAP_BYTES;
  // The arena itself lies behind the head of its first heap.
  return isHead && arena > 0 && arena % HEAP_BYTES < pages.pageBytes ? { arena, bytes } : undefined;
}

/** Blocks of a heap begin at multiples of it, with heads of two words. @see Source: glibc's malloc.c, MALLOC_ALIGNMENT */
const BLOCK_STEP = 16;
/** The bit of the second that says that the block before is used, as nothing is before the first one. */
const BEFORE_IS_USED = 1;
/** So many blocks behind each other are no coincidence. */
const SURE_BLOCKS = 4;

/** Whether a part of the main arena begins at an address: blocks behind each other, as their heads say. */
export function isOfMainArena(address: number, end: number, pages: OwnPages): boolean {
  let at = address;
  for (let n = 0; n < SURE_BLOCKS && at < end; n++) {
    const [before = 0, sizeAndFlags = 0] = pages.wordsAt(at, 2);
    const flags = sizeAndFlags % BLOCK_STEP;
    const bytes = sizeAndFlags - flags;
    if (bytes === 0 || at + bytes > end || flags > BEFORE_IS_USED) return false;
    if (at === address && (before !== 0 || flags !== BEFORE_IS_USED)) return false;
    at += bytes;
  }
  return at > address;
}

/** The arenas of glibc's heap, by what is resident of each, against what the C library says. */
export class ArenaHeaps {
  readonly #main: Arena = { systemBytes: 0, residentBytes: 0, managedBytes: 0 };
  readonly #others = new Map<number, Arena>();

  /** Enters a part of the main arena, or of another one's heap. */
  add(heap: { readonly arena: number; readonly bytes: number } | undefined, residentBytes: number, managedBytes: number): void {
    let arena = this.#main;
    if (heap !== undefined) {
      arena = this.#others.get(heap.arena) ?? { systemBytes: 0, residentBytes: 0, managedBytes: 0 };
      this.#others.set(heap.arena, arena);
    }
    arena.systemBytes += heap?.bytes ?? residentBytes;
    arena.residentBytes += residentBytes;
    arena.managedBytes += managedBytes;
  }

  /**
   * Enters what is live and what is kept free, by arena.
   *
   * @param info - what the C library says; undefined where it cannot be asked
   * @returns about how many bytes `malloc_trim` would give back
   */
  enter(info: CHeapInfo | undefined, found: FoundCategories): number {
    if (info === undefined) {
      let bytes = this.#main.residentBytes;
      for (const arena of this.#others.values()) bytes += arena.residentBytes;
      found.add('c-heap-live', 'live or kept free: the C library cannot be asked', bytes, null);
      return 0;
    }
    const told = info.arenas.filter(({ number }) => number !== 0);
    let trimmable = enterArena(
      'arena 0, the main one',
      this.#main,
      info.arenas.find(({ number }) => number === 0),
      found,
    );
    for (const arena of [...this.#others.values()].sort((a, b) => b.systemBytes - a.systemBytes)) {
      // An arena does not say where it lies: what it got from the system tells which one it is.
      const nearest = told.reduce<(typeof told)[number] | undefined>((best, one) => {
        const distance = (of: { systemBytes: number }) => Math.abs(of.systemBytes - arena.systemBytes);
        return best === undefined || distance(one) < distance(best) ? one : best;
      }, undefined);
      if (nearest !== undefined) told.splice(told.indexOf(nearest), 1);
      trimmable += enterArena(`arena ${nearest?.number ?? 'of unknown number'}`, arena, nearest, found);
    }
    return trimmable;
  }
}

function enterArena(
  name: string,
  { residentBytes, managedBytes }: Arena,
  told: CHeapInfo['arenas'][number] | undefined,
  found: FoundCategories,
): number {
  const { systemBytes = 0, freeBytes = 0, trimmableBytes = 0 } = told ?? {};
  // Live blocks were touched: what is resident beyond them is free.
  const free = Math.max(0, Math.min(freeBytes, residentBytes, residentBytes + managedBytes - (systemBytes - freeBytes)));
  const back = Math.min(free, trimmableBytes);
  found.add('c-heap-free', name, free, told === undefined ? null : back);
  found.add('c-heap-live', name, residentBytes - free);
  return back;
}
