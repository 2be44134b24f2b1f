import type { OwnPages } from '../../adapters/os/own-pages.js';
import type { ProcessMapping } from '../../adapters/os/process-mappings.js';
import { V8_CHUNK_BYTES, V8_MOST_ADDRESS } from './outside-view.js';

/** The words of a chunk's head: its bytes, flags, its heap, and where its objects begin and end. @see Source: V8's MemoryChunk */
const HEAD_WORDS = 5;
const MOST_HEAD_BYTES = 2 ** 16;
const LEAST_HEAP_ADDRESS = 2 ** 16;
/** Below lie programs that are not loaded at random addresses, and their heaps. */
const LEAST_PLACE = 2 ** 32;
/** mimalloc asks for addresses of its own, too: at multiples of it. @see Source: mimalloc's MI_SEGMENT_SIZE */
const MIMALLOC_SEGMENT_BYTES = 2 ** 25;

/** A mapping that V8's heap lies in. */
export interface V8Mapping {
  /** Which heap: its address, or 0 where the chunk does not tell. Each isolate has one. */
  readonly heap: number;
}

/**
 * Tells whether V8's heap lies in a mapping. Its chunks begin at multiples of 256 KiB, and with a head that describes them. A chunk
 * that V8 keeps for later, or of a V8 whose heads differ, is told by its place: V8 asks for addresses that the kernel gives nobody else.
 *
 * @param mapping - anonymous, private and readable
 */
export function v8MappingAt({ start, end }: ProcessMapping, pages: OwnPages): V8Mapping | undefined {
  if (start % V8_CHUNK_BYTES !== 0) return undefined;
  const [bytes = 0, , heap = 0, from = 0, to = 0] = pages.wordsAt(start, HEAD_WORDS);
  const isHead =
    bytes > 0 &&
    from > start &&
    from - start <= MOST_HEAD_BYTES &&
    to > from &&
    to <= start + bytes &&
    heap >= LEAST_HEAP_ADDRESS;
  if (isHead) return { heap };
  const isAtItsPlace = start < V8_MOST_ADDRESS && start >= LEAST_PLACE;
  const isLikeSegment = start % MIMALLOC_SEGMENT_BYTES === 0 && end - start > V8_CHUNK_BYTES;
  return isAtItsPlace && !isLikeSegment ? { heap: 0 } : undefined;
}
