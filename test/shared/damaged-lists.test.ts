import { describe, expect, test } from 'vitest';
import { KiB } from '../../src/core/units.js';
import { DEFAULT_MEM_CONTEXT as CTX, type OffsetPointer } from '../../src/shared/allocators/shared-allocator.js';
import { ThreadLocalAllocator } from '../../src/shared/allocators/thread-local-allocator.js';
import { GRANULE_BYTES, Header } from '../../src/shared/pages/layout.js';
import { memoryError } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { bufferRegion, FakeThreads, ID } from './regions.js';

const pageOf = (offset: OffsetPointer) => offset / GRANULE_BYTES - 1;
const wordOf = (offset: OffsetPointer, field: number) => (offset - GRANULE_BYTES) / 4 + field;

/** Two threads; of the first one's blocks some are in its cache, some in its list of remote pages, some in the heap. */
function setUp() {
  const threads = new FakeThreads();
  const region = bufferRegion(128 * KiB);
  const a = ThreadLocalAllocator.shmInit(region, { id: ID, cacheBytes: 32 * KiB, watch: threads.watch(1) });
  const b = ThreadLocalAllocator.shmDeserialize(region, { watch: threads.watch(2) });
  const blocks = [100, 100, 100, 200, 200, 3000, 3000, 20_000].map((bytes) => a.allocateOffset(CTX, bytes));
  const at = (index: number) => blocks[index] as OffsetPointer;
  for (const index of [0, 1, 5]) b.freeOffset(CTX, at(index));
  for (const index of [3, 7]) a.freeOffset(CTX, at(index));
  return { region, a, b, blocks, at };
}

describe('a list of pages that was damaged', () => {
  test('is an error, not a walk without end, when remote pages are a ring', () => {
    const { region, b, at } = setUp();
    region.int32[wordOf(at(0), Header.next)] = pageOf(at(1));
    b.allocateOffset(CTX, 60_000);
    expect(() => b.allocateOffset(CTX, 100_000)).toThrow(memoryError('ERR_MEM_REGION_DAMAGED'));
  });

  test('is an error when the pages of a cache are a ring', () => {
    const { region, a, at } = setUp();
    region.int32[wordOf(at(3), Header.next)] = pageOf(at(3));
    expect(() => a.checkInvariants()).toThrow(memoryError('ERR_MEM_REGION_DAMAGED'));
  });

  test('ends every call with a result or an error of the library, whichever link leads to whichever page', () => {
    const count = setUp().blocks.length;
    for (const field of [Header.next, Header.previous]) {
      for (let from = 0; from < count; from++) {
        for (let to = 0; to < count; to++) {
          const { region, a, b, at } = setUp();
          region.int32[wordOf(at(from), field)] = pageOf(at(to));
          const calls = [
            () => b.allocateOffset(CTX, 60_000),
            () => b.allocateOffset(CTX, 100_000),
            () => a.allocateOffset(CTX, 100),
            () => a.allocateOffset(CTX, 3000),
            () => a.freeOffset(CTX, at(2)),
            () => b.freeOffset(CTX, at(6)),
            () => a.allocateOffset(CTX, 100_000),
            () => a.checkInvariants(),
            () => a.detach(),
            () => b.detach(),
          ];
          for (const call of calls) expect(codeOf(call)).toMatch(/^(?:none|ERR_MEM_)/);
        }
      }
    }
  });
});
