/** An arena of glibc's heap. */
export interface HeapArena {
  /** 0 is the main one. */
  readonly number: number;
  /** Bytes that it got from the system. */
  readonly systemBytes: number;
  /** Bytes that are free in it, as the C library counts them. */
  readonly freeBytes: number;
  /** About how many of those `malloc_trim` gives back, as the sizes of the free blocks tell. */
  readonly trimmableBytes: number;
}

/** What glibc says of its heap. */
export interface CHeapInfo {
  readonly arenas: readonly HeapArena[];
  /** Blocks with mappings of their own, and their bytes. */
  readonly mappedBlocks: number;
  readonly mappedBytes: number;
}

const PAGE_BYTES = 4096;
const MOST_ARENAS = 4096;
const FREE = /<total type="(?:fast|rest)" count="(\d+)" size="(\d+)"\/>/g;
const SYSTEM = /<system type="current" size="(\d+)"\/>/;
const MAPPED = /<total type="mmap" count="(\d+)" size="(\d+)"\/>/;
/** Blocks of a bin: the least and most bytes of one, the bytes of all, and how many there are. */
const BIN = /<(?:size|unsorted) from="(\d+)" to="(\d+)" total="(\d+)" count="(\d+)"\/>/g;

/**
 * Reads the XML of glibc's `malloc_info`.
 *
 * @returns undefined for a text that is something else
 */
export function parseCHeapInfo(text: string): CHeapInfo | undefined {
  if (!text.startsWith('<malloc version=')) return undefined;
  const sections = text.split('<heap nr="').slice(1, 1 + MOST_ARENAS);
  const arenas = sections.flatMap((section) => {
    const number = Number.parseInt(section, 10);
    const heap = section.slice(0, section.indexOf('</heap>'));
    const systemBytes = Number(SYSTEM.exec(heap)?.[1] ?? Number.NaN);
    if (!Number.isSafeInteger(number) || !Number.isSafeInteger(systemBytes)) return [];
    let freeBytes = 0;
    for (const [, , size] of heap.matchAll(FREE)) freeBytes += Number(size);
    freeBytes = Math.min(freeBytes, systemBytes);
    return [{ number, systemBytes, freeBytes, trimmableBytes: trimmable(heap, freeBytes, number === 0) }];
  });
  const last = text.slice(text.lastIndexOf('</heap>'));
  const [, mappedBlocks = '0', mappedBytes = '0'] = MAPPED.exec(last) ?? [];
  return { arenas, mappedBlocks: Number(mappedBlocks), mappedBytes: Number(mappedBytes) };
}

/** Whole pages in free blocks. A block of n bytes that begins anywhere has n / page - 1 of them on average. */
function trimmable(heap: string, freeBytes: number, isMain: boolean): number {
  let inBins = 0;
  let bytes = 0;
  for (const [, , , total = '', count = ''] of heap.matchAll(BIN)) {
    const blocks = Number(count);
    if (blocks === 0) continue;
    inBins += Number(total);
    bytes += Math.max(0, Number(total) - blocks * PAGE_BYTES);
  }
  // The free end of the main arena goes, too; that of the others stays. @see Source: glibc's mtrim
  return Math.min(freeBytes, bytes + (isMain ? Math.max(0, freeBytes - inBins - PAGE_BYTES) : 0));
}
