import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GiB, KiB, MiB } from '../../src/core/units.js';
import {
  DEFAULT_MEM_CONTEXT as CTX,
  NULL_OFFSET,
  NULL_TID,
  type OffsetPointer,
} from '../../src/shared/allocators/shared-allocator.js';
import { PosixMmapBackend } from '../../src/shared/backends/nameless-backends.js';
import { searchRuns } from '../config/search.js';
import { memoryError, SeededRandom } from '../core/fakes.js';
import { bufferRegion, FakeThreads, ID, PAGE_ALLOCATORS } from './regions.js';

describe.each(PAGE_ALLOCATORS.map((type) => [type.name, type] as const))('%s', (_, Type) => {
  const make = (bytes = MiB, threads = new FakeThreads()) => {
    const region = bufferRegion(bytes);
    const allocator = Type.shmInit(region, { id: ID, watch: threads.watch(1) });
    const attach = (id: number) => Type.shmDeserialize(region, { watch: threads.watch(id) });
    return { region, allocator, threads, attach };
  };
  const fill = (region: { uint8: Uint8Array }, at: number, bytes: number, value: number) =>
    region.uint8.fill(value, at, at + bytes);

  describe('allocateOffset', () => {
    test('gives null for 0 bytes, and freeing null does nothing', () => {
      const { allocator } = make();
      expect(allocator.allocateOffset(CTX, 0)).toBe(NULL_OFFSET);
      allocator.freeOffset(CTX, NULL_OFFSET);
      expect(allocator.allocatedBytes).toBe(0);
    });

    test.each([-1, 0.5, Number.NaN, 2 ** 53])('refuses a size of %d', (bytes) => {
      expect(() => make().allocator.allocateOffset(CTX, bytes)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
    });

    test.each([6, 7, 8, 9, 10, 12, 14, 15, 16, 20, 24])('wastes nothing but the header on 2^%i bytes', (power) => {
      const { allocator } = make(32 * MiB);
      expect(allocator.sizeOf(allocator.allocateOffset(CTX, 2 ** power))).toBe(2 ** power);
    });

    test('adds an eighth at most to any size from 64 bytes on', () => {
      const { allocator } = make(64 * MiB);
      for (let bytes = 64; bytes < 20 * MiB; bytes = Math.floor(bytes * 1.37) + 1) {
        const offset = allocator.allocateOffset(CTX, bytes);
        expect(allocator.sizeOf(offset)).toBeGreaterThanOrEqual(bytes);
        expect(allocator.sizeOf(offset)).toBeLessThanOrEqual(Math.ceil(bytes / 32) * 32 * 1.125 + 32);
        allocator.freeOffset(CTX, offset);
      }
    });

    test('throws with the facts and changes nothing when the region is full, and serves again after a free', () => {
      const { allocator } = make(256 * KiB);
      const blocks: OffsetPointer[] = [];
      expect(() => {
        for (;;) blocks.push(allocator.allocateOffset(CTX, 1000));
      }).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { requestedBytes: 1000, capacityBytes: allocator.capacityBytes }));
      expect(blocks.length * 1024).toBeGreaterThan(0.9 * allocator.capacityBytes);
      const before = allocator.allocatedBytes;
      for (const bytes of [1000, 100 * KiB, MiB, 2 ** 50]) {
        expect(() => allocator.allocateOffset(CTX, bytes)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      }
      expect(allocator.allocatedBytes).toBe(before);
      allocator.checkInvariants();
      allocator.freeOffset(CTX, blocks.pop() as OffsetPointer);
      blocks.push(allocator.allocateOffset(CTX, 1000));
      for (const offset of blocks) allocator.freeOffset(CTX, offset);
      allocator.detach();
    });

    test('gives the whole region in one block after every small one was freed', () => {
      const { allocator } = make(256 * KiB);
      const blocks = Array.from({ length: 500 }, (_, i) => allocator.allocateOffset(CTX, 1 + (i % 400)));
      for (const offset of blocks) allocator.freeOffset(CTX, offset);
      const whole = allocator.allocateOffset(CTX, allocator.capacityBytes - 32 - (allocator.capacityBytes >> 3));
      expect(whole).toBeGreaterThan(0);
    });
  });

  describe('alignedAllocateOffset', () => {
    test.each([1, 8, 32, 64, 128, 512, 4096, 64 * KiB])('honours %i bytes', (alignment) => {
      const { allocator } = make(4 * MiB);
      const random = new SeededRandom(alignment);
      const blocks: OffsetPointer[] = [];
      for (let n = 0; n < 40; n++) {
        blocks.push(allocator.allocateOffset(CTX, 1 + random.below(300)));
        const offset = allocator.alignedAllocateOffset(CTX, 1 + random.below(5000), alignment);
        expect(allocator.addressOf(offset) % alignment).toBe(0);
        blocks.push(offset);
      }
      allocator.checkInvariants();
      for (const offset of blocks) allocator.freeOffset(CTX, offset);
      allocator.checkInvariants();
    });

    test.each([-1, 3, 48, Number.NaN])('refuses an alignment of %d', (alignment) => {
      expect(() => make().allocator.alignedAllocateOffset(CTX, 8, alignment)).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT'));
    });
  });

  describe('reallocateOffset', () => {
    test('keeps the content while it grows and shrinks, from null and to nothing', () => {
      const { allocator, region } = make();
      let offset = allocator.reallocateOffset(CTX, NULL_OFFSET, 100);
      fill(region, offset, 100, 42);
      for (const bytes of [50_000, 200, 64, 3000]) {
        offset = allocator.reallocateOffset(CTX, offset, bytes);
        expect(allocator.sizeOf(offset)).toBeGreaterThanOrEqual(bytes);
        expect([...region.uint8.subarray(offset, offset + 64)]).toEqual(new Array(64).fill(42));
      }
      expect(allocator.reallocateOffset(CTX, offset, 0)).toBe(NULL_OFFSET);
      expect(allocator.sizeOf(offset)).toBe(0);
    });

    test('changes nothing when there is no room', () => {
      const { allocator, region } = make(128 * KiB);
      const offset = allocator.allocateOffset(CTX, 100);
      fill(region, offset, 100, 7);
      expect(() => allocator.reallocateOffset(CTX, offset, MiB)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      expect(region.uint8[offset + 99]).toBe(7);
      allocator.freeOffset(CTX, offset);
    });
  });

  describe('freeOffset', () => {
    test('throws for what heads no block and changes nothing', () => {
      const { allocator, region } = make();
      const offset = allocator.allocateOffset(CTX, 1000);
      fill(region, offset, 1000, 0xa5);
      const before = allocator.allocatedBytes;
      for (const pointer of [0, 1, offset + 32, offset + 1, offset + 0.5, offset - 32, -2, MiB, 2 ** 40, Number.NaN, 1e300]) {
        expect(() => allocator.freeOffset(CTX, pointer as OffsetPointer)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        expect(allocator.sizeOf(pointer as OffsetPointer)).toBe(0);
      }
      expect(allocator.allocatedBytes).toBe(before);
      allocator.checkInvariants();
    });

    test('throws for a block that is free', () => {
      const { allocator } = make();
      const first = allocator.allocateOffset(CTX, 100);
      const kept = allocator.allocateOffset(CTX, 40_000);
      const second = allocator.allocateOffset(CTX, 40_000);
      for (const offset of [first, second]) {
        allocator.freeOffset(CTX, offset);
        expect(() => allocator.freeOffset(CTX, offset)).toThrow(memoryError('ERR_MEM_DOUBLE_FREE', { pointer: offset }));
      }
      allocator.freeOffset(CTX, kept);
      allocator.checkInvariants();
    });

    test('throws for a block of another thread that is free', () => {
      const { allocator, attach } = make();
      const other = attach(2);
      const [a, b] = [allocator.allocateOffset(CTX, 100), allocator.allocateOffset(CTX, 100)];
      other.freeOffset(CTX, a);
      for (const freer of [allocator, other]) {
        expect(() => freer.freeOffset(CTX, a)).toThrow(memoryError('ERR_MEM_DOUBLE_FREE'));
      }
      allocator.freeOffset(CTX, b);
      expect(() => other.freeOffset(CTX, b)).toThrow(/already free|no manager/);
    });

    test('says what is damaged, and changes nothing, when a neighbour’s header was written over', () => {
      for (let word = 0; word < 8; word++) {
        const { allocator, region } = make();
        const [a, b] = [allocator.allocateOffset(CTX, 40_000), allocator.allocateOffset(CTX, 40_000)];
        allocator.allocateOffset(CTX, 40_000);
        allocator.freeOffset(CTX, b);
        const before = allocator.allocatedBytes;
        region.int32[b / 4 - 8 + word] = 0x12345678;
        const error = (() => {
          try {
            allocator.freeOffset(CTX, a);
          } catch (thrown) {
            return thrown;
          }
        })();
        // Of a free page two words are unused: its state must still say so, and its links.
        if (word === 0 || word === 5 || word === 6) continue;
        expect(error, `word ${word}`).toMatchObject({ code: 'ERR_MEM_REGION_DAMAGED' });
        expect(allocator.allocatedBytes).toBe(before);
        expect(allocator.sizeOf(a)).toBeGreaterThan(0);
      }
    });
  });

  describe('createTls', () => {
    test('gives ids that are unique among all threads and are used again', () => {
      const { allocator, attach } = make();
      const contexts = Array.from({ length: 5 }, () => ({ tid: NULL_TID }));
      const allocators = [allocator, attach(2), allocator, attach(3), allocator];
      for (const [i, ctx] of contexts.entries()) allocators[i]!.createTls(ctx);
      expect(new Set(contexts.map((ctx) => ctx.tid)).size).toBe(5);
      const offset = allocator.allocateOffset(contexts[0]!, 100);
      allocator.freeTls(contexts[0]!);
      expect(contexts[0]!.tid).toBe(NULL_TID);
      expect(allocator.sizeOf(offset)).toBe(128);
      for (let n = 0; n < 1000; n++) {
        allocator.createTls(contexts[0]!);
        allocator.freeOffset(contexts[0]!, allocator.allocateOffset(contexts[0]!, 100));
        allocator.freeTls(contexts[0]!);
      }
      allocator.freeOffset(CTX, offset);
      allocator.checkInvariants();
      expect(allocator.allocatedBytes).toBe(0);
    });

    test('refuses the default context, one that has an id, and ids of other threads', () => {
      const { allocator, attach } = make();
      const other = attach(2);
      const ctx = { tid: NULL_TID };
      other.createTls(ctx);
      expect(() => allocator.createTls(CTX)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
      expect(() => other.createTls(ctx)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
      for (const tid of [ctx.tid, ctx.tid + 1, 0, -7, 0.5, 2 ** 40, Number.NaN]) {
        expect(() => allocator.allocateOffset({ tid }, 8)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
        expect(() => allocator.freeTls({ tid })).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
      }
    });

    test('takes the slots of ended threads when all are taken', () => {
      const { allocator, attach, threads } = make(128 * KiB);
      const held = attach(100).allocateOffset(CTX, 64);
      let id = 101;
      expect(() => {
        for (; id < 200; id++) attach(id).allocateOffset(CTX, 64);
      }).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { quota: '7 threads in the region' }));
      threads.kill(100);
      attach(300).allocateOffset(CTX, 64);
      expect(allocator.sizeOf(held)).toBe(64);
      allocator.pids();
      expect(() => allocator.allocateOffset(CTX, 64)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
    });
  });

  describe('shmDeserialize', () => {
    test('sees and frees what another thread has allocated', () => {
      const { allocator, attach } = make();
      const other = attach(2);
      expect(other.id).toEqual(ID);
      const offset = allocator.allocateOffset(CTX, 500);
      expect(other.sizeOf(offset)).toBe(512);
      other.freeOffset(CTX, offset);
      other.detach();
      allocator.detach();
      const third = attach(3);
      expect(third.allocatedBytes).toBe(0);
      third.checkInvariants();
    });

    test('refuses a region without an allocator, of another type, or with sizes that are not valid', () => {
      const { region } = make();
      const damage = memoryError('ERR_MEM_REGION_DAMAGED');
      expect(() => Type.shmDeserialize(bufferRegion(MiB))).toThrow(damage);
      for (const Other of PAGE_ALLOCATORS) if (Other !== Type) expect(() => Other.shmDeserialize(region)).toThrow(damage);
      for (let word = 0; word < 6; word++) {
        for (const value of [-1, 0, 2 ** 31 - 1, 77]) {
          const before = region.int32[word]!;
          region.int32[word] = value;
          expect(() => Type.shmDeserialize(region)).toThrow(damage);
          region.int32[word] = before;
        }
      }
      Type.shmDeserialize(region);
    });

    test('refuses regions that are too small and options that cannot be', () => {
      const refusal = memoryError('ERR_MEM_INVALID_ARGUMENT');
      expect(() => Type.shmInit(bufferRegion(8 * KiB), { id: ID })).toThrow(refusal);
      for (const id of [
        { major: 0.5, minor: 0 },
        { major: 0, minor: 2 ** 31 },
      ]) {
        expect(() => Type.shmInit(bufferRegion(MiB), { id })).toThrow(refusal);
      }
      for (const cacheBytes of [-1, 2 * MiB, Number.NaN]) {
        expect(() => Type.shmInit(bufferRegion(MiB), { id: ID, cacheBytes })).toThrow(refusal);
      }
    });
  });

  describe('detach', () => {
    test('ends the use here; every call throws then', () => {
      const { allocator } = make();
      const offset = allocator.allocateOffset(CTX, 8);
      allocator.detach();
      allocator.detach();
      expect(() => allocator.allocateOffset(CTX, 8)).toThrow(memoryError('ERR_MEM_DISPOSED'));
      expect(() => allocator.freeOffset(CTX, offset)).toThrow(memoryError('ERR_MEM_DISPOSED'));
      expect(allocator.sizeOf(offset)).toBe(0);
    });

    test('throws for every call when the region was closed first', () => {
      const { allocator, region } = make();
      allocator.allocateOffset(CTX, 8);
      region.close();
      expect(() => allocator.allocateOffset(CTX, 8)).toThrow(memoryError('ERR_MEM_DISPOSED'));
      allocator.detach();
    });
  });

  test('serves a region above 4 GiB', () => {
    using backend = PosixMmapBackend.create(0, 5 * GiB);
    const { region } = backend;
    const allocator = Type.shmInit(region, { id: ID });
    const large = allocator.allocateOffset(CTX, 4 * GiB - MiB);
    const blocks = Array.from({ length: 400 }, (_, i) => {
      const offset = allocator.alignedAllocateOffset(CTX, 10_000 + i, i % 2 === 0 ? 0 : 4096);
      region.view(offset, 10_000).fill(i & 255);
      return offset;
    });
    expect(blocks.at(-1)).toBeGreaterThan(4 * GiB);
    allocator.checkInvariants();
    for (const [i, offset] of blocks.entries()) {
      const seen = region.view(offset, 10_000);
      expect([seen[0], seen[9_999]]).toEqual([i & 255, i & 255]);
      if (i % 3 !== 0) allocator.freeOffset(CTX, offset);
    }
    allocator.checkInvariants();
    expect(() => allocator.freeOffset(CTX, (blocks[3]! + 32) as OffsetPointer)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
    for (let i = 0; i < blocks.length; i += 3) allocator.freeOffset(CTX, blocks[i]!);
    allocator.freeOffset(CTX, large);
    allocator.checkInvariants();
    allocator.detach();
  });

  test('keeps blocks apart and its invariants, whatever three threads do', () => {
    const step = fc.record({
      thread: fc.integer({ min: 0, max: 2 }),
      bytes: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 70_000 })),
      alignment: fc.constantFrom(0, 0, 0, 64, 256, 4096),
      action: fc.constantFrom('allocate', 'allocate', 'free', 'free', 'reallocate', 'restart'),
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const { region, allocator, attach } = make(512 * KiB);
        const threads = [allocator, attach(2), attach(3)];
        const live: { offset: OffsetPointer; bytes: number; mark: number }[] = [];
        const check = ({ offset, bytes, mark }: (typeof live)[0]) => {
          for (const at of [offset, offset + bytes - 1]) expect(region.uint8[at]).toBe(mark);
        };
        let mark = 0;
        const hold = (offset: OffsetPointer, bytes: number) => {
          mark = (mark + 1) & 255;
          fill(region, offset, bytes, mark);
          live.push({ offset, bytes, mark });
        };
        const attempt = (work: () => void) => {
          try {
            work();
          } catch (error) {
            expect(error).toMatchObject({ code: 'ERR_MEM_OUT_OF_MEMORY' });
          }
        };
        for (const { thread, bytes, alignment, action, pick } of steps) {
          const by = threads[thread]!;
          const at = live.length === 0 ? -1 : pick % live.length;
          if (action === 'allocate') attempt(() => hold(by.alignedAllocateOffset(CTX, bytes, alignment), bytes));
          else if (action === 'restart') {
            by.detach();
            threads[thread] = attach(1 + thread);
          } else if (at >= 0) {
            const block = live[at]!;
            check(block);
            if (action === 'free') {
              by.freeOffset(CTX, block.offset);
              live.splice(at, 1);
            } else {
              attempt(() => {
                const offset = by.reallocateOffset(CTX, block.offset, bytes);
                live.splice(at, 1);
                if (bytes > 0) expect(region.uint8[offset]).toBe(block.mark);
                hold(offset, bytes);
              });
            }
          }
          live.forEach(check);
          for (const one of threads) one.checkInvariants();
        }
        for (const [i, block] of live.entries()) threads[i % 3]!.freeOffset(CTX, block.offset);
        for (const one of threads) one.detach();
        const last = attach(9);
        last.checkInvariants();
        expect(last.allocatedBytes).toBe(0);
      }),
      { numRuns: searchRuns(60) },
    );
  });
});
