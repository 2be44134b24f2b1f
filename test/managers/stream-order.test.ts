import { describe, expect, test } from 'vitest';
import { type DevicePtr, KiB, MiB } from '../../src/core/units.js';
import { KINDS, StreamBench } from './stream-program.js';

/** A block of this size is a segment of its own in every manager, so that nothing else can serve the next one. */
const BYTES = 40 * MiB;

describe.each(KINDS)('$name', (kind) => {
  const bench = (capacityBytes?: number, deviceCount?: number) => new StreamBench(kind, capacityBytes, deviceCount);

  describe('allocBytes', () => {
    test.each([0, 1, 7])(
      'takes a freed block at once for stream %i, which still works on it, with no event but to see the stream',
      (stream) => {
        const it = bench();
        const first = it.useOnce(BYTES, stream);
        for (let i = 0; i < 5; i++) expect(it.useOnce(BYTES, stream)).toBe(first);
        expect(it.useOnce(BYTES / 2, stream)).toBe(first);
        expect(it.streams.pending(stream)).toBe(7);
        const seen = stream === 0 ? 0 : 1;
        expect(it.calls).toEqual({ record: seen, query: 0, wait: 0, synchronize: 0, destroy: seen });
      },
    );

    test.each([
      [0, 1],
      [1, 0],
      [1, 2],
    ])('takes a block that stream %i freed for stream %i only after an event', (from, to) => {
      const it = bench();
      const first = it.useOnce(BYTES, from);
      const second = it.alloc(BYTES, to);
      expect(second).not.toBe(first);
      it.streams.submit(from);
      it.streams.advance(from);
      expect(it.alloc(BYTES, to)).toBe(first);
      expect(it.streams.pending(from)).toBe(1);
      it.manager.checkInvariants();
    });

    test('lets a stream take what it freed before an event, too, and others what is left of that', () => {
      const it = bench();
      const first = it.useOnce(BYTES, 1);
      it.alloc(BYTES, 2);
      expect(it.alloc(10 * MiB, 1)).toBe(first);
      it.streams.advance(1);
      expect(it.alloc(30 * MiB, 2)).toBe(first + 10 * MiB);
      it.manager.checkInvariants();
    });

    test('keeps blocks that are live when the first other stream comes for stream 0', () => {
      const it = bench();
      const live = it.alloc(BYTES);
      it.alloc(BYTES, 1);
      it.work(live, 0);
      it.free(live);
      expect(it.alloc(BYTES, 1)).not.toBe(live);
      expect(it.alloc(BYTES)).toBe(live);
    });

    // Before and after nativeAlloc; reserve and commit.
    test.each(kind.virtual ? [1, 2, 3, 4] : [1, 2])(
      'keeps the order when an allocation comes back at point %i of its native calls with the first allocation of another stream',
      (call) => {
        for (const alignment of [0, 4 * MiB]) {
          const it = bench();
          let made = 0;
          it.inside = () => {
            if (++made === call) it.work(it.alloc(MiB, 1), 1);
          };
          const first = it.useOnce(BYTES, 0, alignment);
          it.inside = undefined;
          expect(made).toBeGreaterThanOrEqual(call);
          // The bench fails when a stream gets a block, or the device memory, that another works on.
          expect(it.alloc(BYTES, 1)).not.toBe(first);
          it.manager.signalMemoryCleanup();
          it.manager.checkInvariants();
        }
      },
    );

    test('joins blocks of several streams once they are done', () => {
      const it = bench();
      const whole = it.useOnce(BYTES, 1);
      it.streams.advance(1);
      const parts = [2, 3, 4, 0].map((stream) => ({ stream, ptr: it.alloc(10 * MiB, stream) }));
      expect(parts.map(({ ptr }) => (ptr - whole) / MiB)).toEqual([0, 10, 20, 30]);
      for (const { stream, ptr } of parts) it.work(ptr, stream);
      for (const { ptr } of parts) it.free(ptr);
      it.streams.advanceAll();
      expect(it.alloc(BYTES, 5)).toBe(whole);
      it.manager.checkInvariants();
    });

    test('honours alignments on every stream', () => {
      const it = bench();
      for (const alignment of [16, 4 * KiB, 2 * MiB]) {
        for (const stream of [0, 1, 2, 1]) {
          const ptr = it.alloc(3 * MiB, stream, alignment);
          expect(ptr % alignment).toBe(0);
          it.work(ptr, stream);
          it.free(ptr);
          it.manager.checkInvariants();
        }
      }
    });

    test('keeps the order of each device by itself', () => {
      const it = bench(2 ** 30, 2);
      const first = it.useOnce(BYTES, 1);
      it.device.activate(1);
      expect(it.alloc(BYTES, 1)).not.toBe(first);
      it.device.activate(0);
      expect(it.alloc(BYTES, 1)).toBe(first);
    });
  });

  describe('on several devices', () => {
    test('waits for stream 0 of the device whose block it is, whichever device is active', () => {
      const it = bench(2 ** 30, 2);
      const block = it.alloc(BYTES, 1);
      it.manager.recordStream(block, 0);
      it.work(block, 0);
      it.device.activate(1);
      it.free(block);
      it.device.activate(0);
      expect(it.alloc(BYTES, 1)).not.toBe(block);
      it.streams.advance(0);
      expect(it.alloc(BYTES, 1)).toBe(block);
    });

    test('lets another stream take what stream 0 freed only when stream 0 of that device is done', () => {
      const it = bench(2 ** 30, 2);
      const block = it.alloc(BYTES);
      it.alloc(BYTES, 1);
      it.work(block, 0);
      it.device.activate(1);
      it.free(block);
      it.streams.submit(0);
      it.device.activate(0);
      expect(it.alloc(BYTES, 1)).not.toBe(block);
      it.streams.advance(0);
      expect(it.alloc(BYTES, 1)).toBe(block);
      expect(it.streams.pending(it.streams.defaultStream(1))).toBe(1);
    });

    test('does not wait for stream 0 of another device', () => {
      const it = bench(2 ** 30, 2);
      it.useOnce(BYTES, 0);
      it.device.activate(1);
      it.alloc(BYTES);
      it.streams.submit(0);
      it.manager.signalMemoryCleanup();
      expect([it.device.liveBytesOf(0), it.streams.pending(0)]).toEqual([0, 1]);
    });
  });

  describe('recordStream', () => {
    test('keeps a freed block from everybody until the recorded streams are done', () => {
      const it = bench();
      const block = it.alloc(BYTES);
      for (const stream of [3, 4]) {
        it.manager.recordStream(block, stream);
        it.manager.recordStream(block, stream);
        it.work(block, stream);
      }
      it.free(block);
      const others: DevicePtr[] = [it.alloc(BYTES)];
      it.streams.advance(4);
      others.push(it.alloc(BYTES), it.alloc(BYTES, 4));
      expect(others).not.toContain(block);
      it.streams.advance(3);
      expect(it.alloc(BYTES)).toBe(block);
      expect(it.streams.liveEvents).toBe(0);
    });

    test('changes nothing for the stream that the block was allocated for', () => {
      const it = bench();
      for (const stream of [0, 1]) {
        const block = it.alloc(BYTES, stream);
        it.manager.recordStream(block, stream);
        it.work(block, stream);
        it.free(block);
        expect(it.alloc(BYTES, stream)).toBe(block);
      }
    });

    test('is forgotten when the block is taken again', () => {
      const it = bench();
      const block = it.alloc(BYTES, 1);
      it.manager.recordStream(block, 2);
      it.free(block);
      expect(it.alloc(BYTES, 1)).toBe(block);
      it.streams.submit(2);
      it.free(block);
      expect(it.alloc(BYTES, 1)).toBe(block);
    });

    test('gives a block back to its own stream first: others wait for that one, too', () => {
      const it = bench();
      const block = it.alloc(BYTES, 1);
      it.manager.recordStream(block, 2);
      it.work(block, 1);
      it.work(block, 2);
      it.free(block);
      it.streams.advance(2);
      expect(it.alloc(BYTES, 2)).not.toBe(block);
      expect(it.alloc(BYTES, 1)).toBe(block);
    });

    test('counts a freed block as active as long as a recorded stream uses it', () => {
      const it = bench();
      const block = it.alloc(BYTES);
      const { reservedBytes } = it.manager.stats();
      it.manager.recordStream(block, 1);
      it.work(block, 1);
      it.free(block);
      const cached = reservedBytes.current - BYTES;
      const freed = { allocatedBytes: { current: 0 }, requestedBytes: { current: 0 }, blocks: { current: 0 } };
      expect(it.manager.stats()).toMatchObject({
        ...freed,
        activeBytes: { current: BYTES },
        cachedBytes: { current: cached },
      });
      const other = it.alloc(BYTES);
      const both = { current: 2 * BYTES, peak: 2 * BYTES, total: 2 * BYTES };
      expect(it.manager.stats()).toMatchObject({ allocatedBytes: { current: BYTES, peak: BYTES }, activeBytes: both });
      it.free(other);
      it.streams.advance(1);
      it.manager.signalMemoryCleanup();
      const none = { activeBytes: { current: 0 }, cachedBytes: { current: 0 }, reservedBytes: { current: 0 } };
      expect(it.manager.stats()).toMatchObject(none);
    });
  });

  describe('on a device without room', () => {
    test('waits for the oldest event instead of failing, and for no other', () => {
      const it = bench(100 * MiB);
      const oldest = it.useOnce(BYTES, 2);
      it.alloc(MiB, 3);
      const newest = it.useOnce(BYTES, 1);
      const block = it.alloc(BYTES, 3);
      expect(block).toBe(oldest);
      expect([it.streams.pending(2), it.streams.pending(1)]).toEqual([0, 1]);
      expect(it.manager.stats()).toMatchObject({ ooms: 0, retries: 1 });
      expect(it.alloc(BYTES, 1)).toBe(newest);
      expect(it.streams.pending(1)).toBe(1);
      it.manager.checkInvariants();
    });

    test('does not wait for recorded streams when what was freed before them will do', () => {
      const it = bench(100 * MiB);
      const recorded = it.alloc(BYTES, 1);
      it.manager.recordStream(recorded, 2);
      it.work(recorded, 2);
      const oldest = it.useOnce(BYTES, 3);
      // Looks for a block and finds none, so that an event is recorded.
      it.free(it.alloc(MiB, 4));
      it.free(recorded);
      expect(it.alloc(BYTES, 4)).toBe(oldest);
      expect([it.streams.pending(2), it.streams.pending(3)]).toEqual([1, 0]);
    });

    test('waits for several streams where one block is made of what they freed', () => {
      const it = bench(64 * MiB);
      const parts = Array.from({ length: 6 }, (_, i) => it.alloc(8 * MiB, i));
      for (const [i, ptr] of parts.entries()) it.work(ptr, i);
      for (const ptr of parts) it.free(ptr);
      it.alloc(60 * MiB, 7);
      expect(it.hasPending(0)).toBe(false);
      it.manager.checkInvariants();
    });

    test('is out of memory only when it has waited for all that was freed', () => {
      const it = bench(100 * MiB);
      const live = it.alloc(60 * MiB, 1);
      it.useOnce(20 * MiB, 2);
      expect(() => it.alloc(80 * MiB, 3)).toThrow('memory');
      expect([it.hasPending(0), it.manager.allocated(live) >= 60 * MiB]).toEqual([false, true]);
      it.manager.checkInvariants();
    });
  });

  describe('signalMemoryCleanup', () => {
    test.each([[[0]], [[1]], [[0, 1, 2]]])('waits for work of streams %j and gives everything back', (used) => {
      const it = bench();
      for (const stream of used) {
        it.useOnce(BYTES, stream);
        const block = it.alloc(MiB, stream);
        it.manager.recordStream(block, 5);
        it.work(block, 5);
        it.free(block);
      }
      it.manager.signalMemoryCleanup();
      expect([it.device.liveBytes, it.streams.liveEvents, it.hasPending(0)]).toEqual([0, 0, false]);
      it.manager.checkInvariants();
    });

    test('leaves live blocks alone, and does not wait for work on them', () => {
      const it = bench();
      const live = it.alloc(BYTES, 1);
      it.useOnce(BYTES, 2);
      it.work(live, 1);
      it.manager.signalMemoryCleanup();
      expect([it.streams.pending(1), it.streams.pending(2), it.device.liveBytes]).toEqual([1, 0, BYTES]);
      it.work(live, 1);
      it.streams.advanceAll();
    });
  });

  describe('removeMemoryManagement', () => {
    test('waits, gives everything back, and begins anew when the device is managed again', () => {
      const it = bench(2 ** 30, 2);
      it.device.activate(1);
      for (const stream of [0, 1, 2]) it.useOnce(BYTES, stream);
      it.manager.removeMemoryManagement(1);
      expect([it.device.liveBytes, it.streams.liveEvents]).toEqual([0, 0]);
      it.manager.addMemoryManagement(1);
      const block = it.useOnce(BYTES, 1);
      expect(it.alloc(BYTES)).not.toBe(block);
      expect(it.alloc(BYTES, 1)).toBe(block);
      it.manager.checkInvariants();
    });
  });
});
