import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type DevicePtr, KiB, MiB } from '../../../src/core/units.js';
import { codeOf } from '../../fixtures/code-of.js';
import { GpuFixture, takeAgain } from '../../fixtures/gpu-fixture.js';

const PAGE = 64 * KiB;
const UNKNOWN = 999;
const fixture = new GpuFixture('cuda');

function fresh(capacityBytes = 64 * MiB) {
  const device = fixture.fresh({ pageBytes: PAGE, capacityBytes });
  return { device, virtual: device.virtual! };
}

beforeAll(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterAll(() => {
  vi.restoreAllMocks();
});

describe('GpuVirtualMemory', () => {
  test('is not there where the card, or the driver, has none', () => {
    expect(fixture.fresh({ pageBytes: 0 }).virtual).toBeUndefined();
    expect(fresh().virtual.granularityBytes).toBe(PAGE);
  });

  describe('commit', () => {
    test('takes memory of the device that was active at the reservation', () => {
      const { device, virtual } = fresh();
      device.activate(1);
      const range = virtual.reserve(4 * PAGE);
      device.activate(0);
      virtual.commit(range, 2 * PAGE);
      expect([fixture.used(0), fixture.used(1)]).toEqual([0, 2 * PAGE]);
      expect(device.liveBytes).toBe(2 * PAGE);
      device.fill(range, 1, 2 * PAGE);
      virtual.release(range, 4 * PAGE);
      expect([fixture.used(1), fixture.liveMemories, fixture.liveRanges, device.liveBytes]).toEqual([0, 0, 0, 0]);
    });

    test('changes nothing when there is no room for all of it', () => {
      const { device, virtual } = fresh(8 * PAGE);
      const range = virtual.reserve(16 * PAGE);
      expect(virtual.commit(range, 9 * PAGE)).toBe(false);
      expect([fixture.used(0), fixture.liveMemories, device.liveBytes, fixture.lastError]).toEqual([0, 0, 0, 0]);
      expect(virtual.commit(range, 8 * PAGE)).toBe(true);
      device.fill(range, 1, 8 * PAGE);
    });
  });

  describe('decommit', () => {
    test('takes any part of what was committed at once', () => {
      const { device, virtual } = fresh();
      const range = virtual.reserve(8 * PAGE);
      virtual.commit(range, 8 * PAGE);
      device.fill(range, 3, 8 * PAGE);
      virtual.decommit((range + 3 * PAGE) as DevicePtr, 2 * PAGE);
      expect(fixture.used(0)).toBe(6 * PAGE);
      expect(fixture.peek(range, 3 * PAGE).every((byte) => byte === 3)).toBe(true);
      expect(codeOf(() => device.fill(range, 1, 4 * PAGE))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(fixture.liveMemories).toBe(6);
    });

    test('waits for work that uses the pages', async () => {
      const { device, virtual } = fresh();
      const range = virtual.reserve(2 * PAGE);
      virtual.commit(range, 2 * PAGE);
      const target = device.nativeAlloc(PAGE);
      device.fill(range, 4, PAGE);
      const copied = device.copyAsync(target, range, PAGE, device.createStream().id);
      virtual.decommit(range, PAGE);
      expect(fixture.peek(target, 1)).toEqual(Uint8Array.of(4));
      await copied;
    });

    test('waits for nothing when the caller has waited', async () => {
      const { device, virtual } = fresh();
      const range = virtual.reserve(2 * PAGE);
      virtual.commit(range, 2 * PAGE);
      const work = device.fillAsync(range, 4, PAGE, device.createStream().id);
      virtual.decommit((range + PAGE) as DevicePtr, PAGE, true);
      expect(fixture.pending).toBeGreaterThan(0);
      await work;
      expect(fixture.peek(range, 1)).toEqual(Uint8Array.of(4));
    });

    test('changes nothing when the first page is refused; later ones are warned about and unmapped later', () => {
      const { virtual } = fresh();
      const range = virtual.reserve(4 * PAGE);
      virtual.commit(range, 4 * PAGE);
      fixture.fail('MemUnmap', UNKNOWN);
      expect(codeOf(() => virtual.decommit(range, 3 * PAGE))).toBe('ERR_MEM_NATIVE');
      expect(virtual.committedBytes).toBe(4 * PAGE);
      // The device, the wait (which asks twice), the first page, its memory, the second page.
      fixture.failNth(6, UNKNOWN);
      virtual.decommit(range, 3 * PAGE);
      expect(process.emitWarning).toHaveBeenCalledOnce();
      expect([virtual.committedBytes, fixture.used(0)]).toEqual([PAGE, 2 * PAGE]);
      expect(virtual.commit(range, 3 * PAGE)).toBe(true);
      expect(fixture.used(0)).toBe(4 * PAGE);
      virtual.release(range, 4 * PAGE);
      expect([fixture.used(0), fixture.liveMemories]).toEqual([0, 0]);
    });
  });

  describe('pieces', () => {
    const partOf = (range: DevicePtr, first: number, pages: number) => ({
      ptr: (range + first * PAGE) as DevicePtr,
      bytes: pages * PAGE,
    });

    test('are as large as a commit says, the last one may be smaller; each is one handle', () => {
      const { device, virtual } = fresh();
      const range = virtual.reserve(16 * PAGE);
      virtual.commit(range, 11 * PAGE, 4 * PAGE);
      expect([fixture.callsOf('MemCreate'), fixture.callsOf('MemMap'), fixture.callsOf('MemSetAccess')]).toEqual([3, 3, 1]);
      expect([fixture.liveMemories, fixture.used(0)]).toEqual([3, 11 * PAGE]);
      device.fill(range, 5, 11 * PAGE);
      const { ptr } = partOf(range, 1, 1);
      expect(virtual.pieces!.wholeIn(ptr, 10 * PAGE)).toEqual(partOf(range, 4, 7));
      expect(virtual.pieces!.wholeIn(ptr, 9 * PAGE)).toEqual(partOf(range, 4, 4));
      expect(virtual.pieces!.wholeIn((range + 1) as DevicePtr, 8 * PAGE)).toEqual(partOf(range, 4, 4));
      expect(virtual.pieces!.wholeIn(ptr, 6 * PAGE).bytes).toBe(0);
      for (const [first, pages] of [
        [0, 3],
        [1, 3],
        [4, 6],
        [10, 1],
      ] as const) {
        const cut = partOf(range, first, pages);
        expect(codeOf(() => virtual.decommit(cut.ptr, cut.bytes))).toBe('ERR_MEM_INVALID_ARGUMENT');
      }
      virtual.decommit(partOf(range, 4, 7).ptr, 7 * PAGE);
      expect([fixture.callsOf('MemUnmap'), fixture.callsOf('MemRelease'), fixture.used(0)]).toEqual([2, 2, 4 * PAGE]);
      expect(fixture.peek(range, 4 * PAGE).every((byte) => byte === 5)).toBe(true);
      virtual.release(range, 16 * PAGE);
      expect([fixture.liveMemories, fixture.used(0), fixture.liveRanges]).toEqual([0, 0, 0]);
    });

    test('are the same under HIP', () => {
      const hip = new GpuFixture('hip');
      const virtual = hip.fresh({ pageBytes: PAGE }).virtual!;
      const range = virtual.reserve(16 * PAGE);
      virtual.commit(range, 11 * PAGE, 4 * PAGE);
      virtual.pieces!.reusing(() => {
        virtual.decommit(range, 8 * PAGE);
        virtual.commit((range + 11 * PAGE) as DevicePtr, 4 * PAGE, 4 * PAGE);
      });
      expect([hip.callsOf('MemCreate'), hip.callsOf('MemMap'), hip.liveMemories, hip.used(0)]).toEqual([3, 4, 2, 7 * PAGE]);
      virtual.release(range, 16 * PAGE);
      expect([hip.liveMemories, hip.used(0)]).toEqual([0, 0]);
    });

    test('refuse sizes that are not granular', () => {
      const { virtual } = fresh();
      const range = virtual.reserve(PAGE);
      for (const piece of [0, 1, PAGE + 1]) {
        expect(codeOf(() => virtual.commit(range, PAGE, piece))).toBe('ERR_MEM_INVALID_ARGUMENT');
      }
      expect(codeOf(() => virtual.commit(range, PAGE, -PAGE))).toBe('ERR_MEM_INVALID_SIZE');
      expect(codeOf(() => virtual.pieces!.wholeIn(range, 2 * PAGE))).toBe('ERR_MEM_OUT_OF_RANGE');
    });

    test('are mapped elsewhere before new ones are made, and go back at the end', () => {
      const { virtual } = fresh(8 * PAGE);
      const range = virtual.reserve(32 * PAGE);
      virtual.commit(range, 8 * PAGE, 3 * PAGE);
      virtual.pieces!.reusing(() => {
        virtual.decommit(range, 8 * PAGE);
        expect([virtual.committedBytes, fixture.used(0), fixture.liveMemories]).toEqual([0, 8 * PAGE, 3]);
        const { ptr } = partOf(range, 20, 5);
        expect(virtual.commit(ptr, 5 * PAGE, 3 * PAGE)).toBe(true);
        expect([fixture.callsOf('MemCreate'), fixture.callsOf('MemRelease')]).toEqual([3, 0]);
        expect(virtual.pieces!.wholeIn((ptr + PAGE) as DevicePtr, 4 * PAGE)).toEqual(partOf(range, 23, 2));
      });
      // One of three pages was of no use.
      expect([fixture.used(0), fixture.liveMemories]).toEqual([5 * PAGE, 2]);
      virtual.decommit(partOf(range, 20, 5).ptr, 5 * PAGE);
      expect([fixture.used(0), fixture.liveMemories]).toEqual([0, 0]);
    });

    test('that do not fit go back before new ones are made', () => {
      const { virtual } = fresh(8 * PAGE);
      const range = virtual.reserve(32 * PAGE);
      virtual.commit(range, 8 * PAGE, 8 * PAGE);
      virtual.pieces!.reusing(() => {
        virtual.decommit(range, 8 * PAGE);
        expect(virtual.commit(partOf(range, 20, 6).ptr, 6 * PAGE, 4 * PAGE)).toBe(true);
        expect([fixture.used(0), fixture.liveMemories]).toEqual([6 * PAGE, 2]);
      });
    });

    test('that are no multiple of the unit are not taken', () => {
      const { virtual } = fresh(16 * PAGE);
      const pieces = virtual.pieces!;
      const range = virtual.reserve(32 * PAGE);
      virtual.commit(range, 10 * PAGE, 4 * PAGE);
      const made = () => fixture.callsOf('MemCreate');
      pieces.reusing(() => {
        virtual.decommit(range, 10 * PAGE);
        pieces.reusing(() => virtual.commit(partOf(range, 12, 4).ptr, 4 * PAGE, 4 * PAGE), 4 * PAGE);
        expect(made()).toBe(3);
        virtual.commit(partOf(range, 18, 6).ptr, 6 * PAGE, 6 * PAGE);
        expect(made()).toBe(4);
      }, 3 * PAGE);
      expect(fixture.used(0)).toBe(10 * PAGE);
      for (const unit of [0, 1, PAGE + 1]) {
        expect(codeOf(() => pieces.reusing(() => 0, unit))).toBe('ERR_MEM_INVALID_ARGUMENT');
      }
      expect(codeOf(() => pieces.reusing(() => 0, -PAGE))).toBe('ERR_MEM_INVALID_SIZE');
    });

    test('of another device are not taken', () => {
      const { device, virtual } = fresh(8 * PAGE);
      const range = virtual.reserve(8 * PAGE);
      device.activate(1);
      const other = virtual.reserve(8 * PAGE);
      virtual.commit(range, 8 * PAGE, 8 * PAGE);
      virtual.pieces!.reusing(() => {
        virtual.decommit(range, 8 * PAGE);
        expect(virtual.commit(other, 8 * PAGE, 8 * PAGE)).toBe(true);
        expect([fixture.used(0), fixture.used(1)]).toEqual([8 * PAGE, 8 * PAGE]);
      });
      expect([fixture.used(0), fixture.used(1)]).toEqual([0, 8 * PAGE]);
    });

    test('go back when what reuses them throws, and only at the end of the outermost', () => {
      const { virtual } = fresh();
      const range = virtual.reserve(8 * PAGE);
      virtual.commit(range, 4 * PAGE, 4 * PAGE);
      const broken = () =>
        virtual.pieces!.reusing(() => {
          virtual.pieces!.reusing(() => virtual.decommit(range, 4 * PAGE));
          expect(fixture.liveMemories).toBe(1);
          throw new Error('broken');
        });
      expect(broken).toThrow('broken');
      expect(fixture.liveMemories).toBe(0);
    });

    test('are lost to no n-th native call that fails, and nothing has changed after it', () => {
      let n = 1;
      for (; ; n++) {
        const { device, virtual } = fresh(16 * PAGE);
        const range = virtual.reserve(32 * PAGE);
        const calls = fixture.calls;
        fixture.failNth(n, UNKNOWN);
        const committed = (before: number, action: () => unknown) => {
          const all = () => {
            try {
              return action();
            } catch (error) {
              expect(virtual.committedBytes).toBe(before);
              throw error;
            }
          };
          takeAgain(all);
        };
        committed(0, () => virtual.commit(range, 10 * PAGE, 4 * PAGE));
        takeAgain(() => device.fill(range, 7, 4 * PAGE));
        const move = () =>
          virtual.pieces!.reusing(() => {
            if (virtual.committedBytes === 10 * PAGE) virtual.decommit((range + 4 * PAGE) as DevicePtr, 6 * PAGE);
            virtual.commit((range + 20 * PAGE) as DevicePtr, 8 * PAGE, 4 * PAGE);
          });
        takeAgain(move);
        expect([n, virtual.committedBytes, device.liveBytes]).toEqual([n, 12 * PAGE, 12 * PAGE]);
        expect(fixture.peek(range, 4 * PAGE).every((byte) => byte === 7)).toBe(true);
        committed(12 * PAGE, () => virtual.decommit(range, 4 * PAGE));
        takeAgain(() => virtual.release(range, 32 * PAGE));
        // What was refused then is given back now.
        const last = takeAgain(() => device.nativeAlloc(64));
        takeAgain(() => device.nativeFree(last));
        expect([n, fixture.used(0), fixture.liveRanges, fixture.liveMemories]).toEqual([n, 0, 0, 0]);
        if (fixture.calls - calls < n) break;
      }
      expect(n).toBeGreaterThan(30);
    });
  });

  test('does what a model does, in any program', () => {
    const PAGES = 12;
    const step = fc.record({
      commit: fc.boolean(),
      first: fc.nat(PAGES - 1),
      pages: fc.integer({ min: 1, max: 6 }),
      piece: fc.integer({ min: 1, max: 4 }),
      isMove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { device, virtual } = fresh(8 * PAGE);
        const range = virtual.reserve(PAGES * PAGE);
        const committed = new Set<number>();
        /** Where pieces begin, as the device tells. */
        const starts = new Set<number>();
        const note = (at: DevicePtr, bytes: number) => {
          for (let from = at; from < at + bytes; ) {
            let end = PAGE;
            while (virtual.pieces!.wholeIn(from, end).bytes === 0) end += PAGE;
            starts.add((from - range) / PAGE);
            from = (from + end) as DevicePtr;
          }
        };
        const isWhole = (first: number, pages: number) =>
          starts.has(first) && (starts.has(first + pages) || !committed.has(first + pages));
        for (const { commit, first, pages, piece, isMove } of steps) {
          const part = Array.from({ length: pages }, (_, i) => first + i);
          const [at, bytes] = [(range + first * PAGE) as DevicePtr, pages * PAGE];
          if (first + pages > PAGES) {
            expect(codeOf(() => virtual.commit(at, bytes))).toBe('ERR_MEM_OUT_OF_RANGE');
          } else if (commit) {
            if (part.some((page) => committed.has(page))) {
              expect(codeOf(() => virtual.commit(at, bytes))).toBe('ERR_MEM_INVALID_ARGUMENT');
            } else {
              const hasRoom = committed.size + pages <= 8;
              expect(virtual.commit(at, bytes, piece * PAGE)).toBe(hasRoom);
              if (hasRoom) {
                for (const page of part) committed.add(page);
                note(at, bytes);
                expect(part.filter((page) => starts.has(page))).toHaveLength(Math.ceil(pages / piece));
              }
            }
          } else if (part.every((page) => committed.has(page)) && isWhole(first, pages)) {
            const created = fixture.callsOf('MemCreate');
            const largest = virtual.pieces!.wholeIn(at, bytes);
            virtual.pieces!.reusing(() => {
              virtual.decommit(at, bytes);
              // The same memory comes back, whatever order its pieces are in.
              if (isMove) expect(virtual.commit(at, bytes, largest.bytes)).toBe(true);
            });
            for (const page of part) starts.delete(page);
            if (isMove) {
              note(at, bytes);
              expect(fixture.callsOf('MemCreate')).toBe(created);
            } else for (const page of part) committed.delete(page);
          } else {
            expect(codeOf(() => virtual.decommit(at, bytes))).toBe('ERR_MEM_INVALID_ARGUMENT');
          }
          expect([fixture.used(0), fixture.liveMemories]).toEqual([committed.size * PAGE, starts.size]);
          for (let page = 0; page < PAGES; page++) {
            const fill = codeOf(() => device.fill((range + page * PAGE) as DevicePtr, page, PAGE));
            expect(fill).toBe(committed.has(page) ? 'none' : 'ERR_MEM_OUT_OF_RANGE');
          }
        }
        virtual.release(range, PAGES * PAGE);
        expect([fixture.used(0), fixture.liveMemories, fixture.liveRanges]).toEqual([0, 0, 0]);
      }),
      { numRuns: 60 },
    );
  });
});
