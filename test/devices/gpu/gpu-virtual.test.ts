import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type DevicePtr, KiB, MiB } from '../../../src/core/units.js';
import { codeOf } from '../../fixtures/code-of.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';

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
      // The device, the wait (which asks twice), the first page, the second.
      fixture.failNth(5, UNKNOWN);
      virtual.decommit(range, 3 * PAGE);
      expect(process.emitWarning).toHaveBeenCalledOnce();
      expect([virtual.committedBytes, fixture.used(0)]).toEqual([PAGE, 2 * PAGE]);
      expect(virtual.commit(range, 3 * PAGE)).toBe(true);
      expect(fixture.used(0)).toBe(4 * PAGE);
      virtual.release(range, 4 * PAGE);
      expect([fixture.used(0), fixture.liveMemories]).toEqual([0, 0]);
    });
  });

  test('does what a model does, in any program', () => {
    const PAGES = 12;
    const step = fc.record({ commit: fc.boolean(), first: fc.nat(PAGES - 1), pages: fc.integer({ min: 1, max: 6 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { device, virtual } = fresh(8 * PAGE);
        const range = virtual.reserve(PAGES * PAGE);
        const committed = new Set<number>();
        for (const { commit, first, pages } of steps) {
          const part = Array.from({ length: pages }, (_, i) => first + i);
          const [at, bytes] = [(range + first * PAGE) as DevicePtr, pages * PAGE];
          if (first + pages > PAGES) {
            expect(codeOf(() => virtual.commit(at, bytes))).toBe('ERR_MEM_OUT_OF_RANGE');
          } else if (commit) {
            if (part.some((page) => committed.has(page))) {
              expect(codeOf(() => virtual.commit(at, bytes))).toBe('ERR_MEM_INVALID_ARGUMENT');
            } else {
              const hasRoom = committed.size + pages <= 8;
              expect(virtual.commit(at, bytes)).toBe(hasRoom);
              if (hasRoom) for (const page of part) committed.add(page);
            }
          } else if (part.every((page) => committed.has(page))) {
            virtual.decommit(at, bytes);
            for (const page of part) committed.delete(page);
          } else {
            expect(codeOf(() => virtual.decommit(at, bytes))).toBe('ERR_MEM_INVALID_ARGUMENT');
          }
          expect([fixture.used(0), fixture.liveMemories]).toEqual([committed.size * PAGE, committed.size]);
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
