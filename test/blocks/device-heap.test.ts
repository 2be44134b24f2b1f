import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MANAGER_LOCK, NONE, REFERENCE_LOCK, USER_LOCK } from '../../src/blocks/block-rows.js';
import { DeviceHeaps } from '../../src/blocks/device-heaps.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import { openKernel } from '../../src/blocks/kernel.js';
import { FREED, NOT_LIVE } from '../../src/blocks/kernel-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { memoryError } from '../core/fakes.js';
import { broken, HeapBench, small } from './heap-bench.js';

interface ModelBlock {
  readonly block: number;
  readonly address: number;
  bytes: number;
  readonly device: number;
  locks: number;
  mark: number;
}

type Step =
  | { readonly do: 'create'; readonly bytes: number; readonly device: number }
  | { readonly do: 'split'; readonly segment: number; readonly at: number; readonly share: number }
  | { readonly do: 'absorb' | 'remove'; readonly segment: number; readonly at: number }
  | { readonly do: 'note'; readonly segment: number; readonly at: number; readonly mark: number; readonly locks: number };

const DEVICES = [0, 1, 255, 65_535];
const place = { segment: fc.nat(), at: fc.nat() };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      bytes: fc.integer({ min: 1, max: 2 ** 40 }),
      device: fc.constantFrom(...DEVICES),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('split' as const), ...place, share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('absorb' as const, 'remove' as const), ...place }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('note' as const),
      ...place,
      mark: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      locks: fc.integer({ min: 0, max: 7 }),
    }),
  },
);

/** Heaps of some devices beside a list of segments, each a list of blocks. */
class Modelled {
  readonly heaps = new DeviceHeaps();
  readonly segments: ModelBlock[][] = [];
  #address = 2 ** 32;

  constructor() {
    for (const device of DEVICES) this.heaps.open(device);
  }

  perform(step: Step): void {
    if (step.do === 'create') {
      const { bytes, device } = step;
      const heap = this.heaps.get(device)!;
      const block = heap.create(this.#address, bytes, heap.keptByPolicy);
      this.segments.push([{ block, address: this.#address, bytes, device, locks: 0, mark: 0 }]);
      this.#address += bytes;
      return;
    }
    if (this.segments.length === 0) return;
    const index = step.segment % this.segments.length;
    const segment = this.segments[index]!;
    const at = step.at % segment.length;
    const target = segment[at]!;
    if (step.do === 'split') {
      const bytes = Math.max(1, Math.floor(target.bytes * step.share));
      if (bytes >= target.bytes) return;
      const block = this.heaps.split(target.block, bytes);
      segment.splice(at + 1, 0, { ...target, block, address: target.address + bytes, bytes: target.bytes - bytes, locks: 0 });
      target.bytes = bytes;
    } else if (step.do === 'absorb') {
      if (at + 1 === segment.length) return;
      this.heaps.absorbNext(target.block);
      target.bytes += segment.splice(at + 1, 1)[0]!.bytes;
    } else if (step.do === 'note') {
      target.mark = step.mark;
      target.locks = step.locks;
      this.heaps.setMark(target.block, step.mark);
      this.heaps.setLocks(target.block, step.locks);
    } else if (segment.length === 1) {
      this.heaps.remove(target.block);
      this.segments.splice(index, 1);
    }
  }

  check(): void {
    const { heaps } = this;
    heaps.checkInvariants();
    const wanted = this.segments.flatMap((segment) =>
      segment.map(({ block, address, bytes, device, locks, mark }, at) => {
        const [previous, next] = [segment[at - 1]?.block ?? NONE, segment[at + 1]?.block ?? NONE];
        const found = locks === 0 ? NONE : block;
        return [block, address, bytes, device, locks, mark, previous, next, segment.length === 1, block, found].join();
      }),
    );
    const found = [...heaps].map((block) =>
      [
        block,
        heaps.addressOf(block),
        heaps.bytesOf(block),
        heaps.deviceOf(block),
        heaps.locksOf(block),
        heaps.markOf(block),
        heaps.previousOf(block),
        heaps.nextOf(block),
        heaps.isWholeSegment(block),
        heaps.find(heaps.addressOf(block)),
        heaps.findLive(heaps.addressOf(block)),
      ].join(),
    );
    if (found.sort().join(' ') !== wanted.sort().join(' ')) expect(found).toEqual(wanted);
    const blocks = [...heaps];
    if (blocks.length !== wanted.length) expect(blocks).toHaveLength(wanted.length);
    const rows = new Set(blocks.map((block) => `${heaps.deviceOf(block)} ${heaps.rowOf(block)}`));
    if (rows.size !== blocks.length) expect([...rows], 'each block has a row of its own').toHaveLength(blocks.length);
  }
}

describe('DeviceHeap', () => {
  test('agrees with a list of segments after every step of any program', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (program) => {
        const modelled = new Modelled();
        for (const each of program) {
          modelled.perform(each);
          modelled.check();
        }
      }),
      { numRuns: 80 },
    );
  });

  test('keeps each of 100 000 blocks as it grows, in less than 100 bytes a block', () => {
    const count = 100_000;
    const bench = new HeapBench();
    const { heap } = bench;
    const home = bench.free();
    const before = heap.metadataBytes;
    let rest = heap.create(2 ** 40, count * 48, home);
    for (let i = 1; i < count; i++) rest = heap.split(rest, 48);
    expect([heap.count, [...heap].length]).toEqual([count, count]);
    expect(new Set([...heap].map((block) => heap.rowOf(block))).size).toBe(count);
    expect(Math.max(...[...heap].map((block) => heap.rowOf(block)))).toBeLessThan(count + 4096);
    expect((heap.metadataBytes - before) / count).toBeLessThan(100);
    heap.checkInvariants();
  });

  test('needs no more memory when blocks come and go', () => {
    const { bench, heap, home } = small();
    const churn = () => {
      const blocks = Array.from({ length: 300 }, () => bench.segment(512, home));
      for (const block of blocks) heap.remove(block);
    };
    for (let i = 0; i < 20; i++) churn();
    const before = heap.metadataBytes;
    for (let i = 0; i < 200; i++) churn();
    expect([heap.count, heap.metadataBytes]).toEqual([0, before]);
  });

  describe('split', () => {
    test('gives the second part the mark, the home and no locks', () => {
      const { bench, heap } = small();
      const home = bench.free({ group: 9 });
      const block = bench.segment(1024, home);
      heap.setMark(block, -5);
      heap.setLocks(block, USER_LOCK);
      const rest = heap.split(block, 24);
      expect([heap.markOf(rest), bench.heap.groupOf(rest), heap.locksOf(rest)]).toEqual([-5, 9, 0]);
      expect([heap.bytesOf(block), heap.bytesOf(rest), heap.addressOf(rest)]).toEqual([24, 1000, heap.addressOf(block) + 24]);
      expect([heap.isInBins(block), heap.isInBins(rest)]).toEqual([false, false]);
    });
  });

  describe('absorbNext', () => {
    test('refuses a block that has none behind it, and changes nothing', () => {
      const { bench, heap, home } = small();
      const block = bench.segment(1024, home);
      expect(() => heap.absorbNext(block)).toThrow(broken(`there is a block behind ${block}`));
      expect([heap.bytesOf(block), heap.count]).toEqual([1024, 1]);
    });
  });

  describe('findLive', () => {
    test('finds a block as long as it has a lock', () => {
      const { bench, heap } = small();
      const block = bench.segment(1024, heap.keptByPolicy);
      const address = heap.addressOf(block);
      expect([heap.findLive(address), heap.find(address)]).toEqual([NONE, block]);
      bench.heap.handOut(block, 1000, USER_LOCK | REFERENCE_LOCK);
      expect([heap.isFree(block), heap.requestedOf(block), heap.locksOf(block)]).toEqual([false, 1000, 6]);
      heap.setLocks(block, MANAGER_LOCK);
      expect(heap.findLive(address)).toBe(block);
      heap.setLocks(block, 0);
      expect([heap.isFree(block), heap.findLive(address)]).toEqual([true, NONE]);
    });

    test.each([0, -1, 0.5, 2 ** 32 + 0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 63, 2 ** 80])(
      'finds nothing under %d',
      (pointer) => {
        const { bench, heap, home } = small();
        bench.heap.handOut(bench.segment(1024, home), 1024, USER_LOCK);
        expect(heap.findLive(pointer)).toBe(NONE);
        expect(heap.release(pointer, USER_LOCK)).toBe(-1);
      },
    );
  });

  describe('setOwner', () => {
    test('decides where a block goes that comes back', () => {
      const { bench, heap, home } = small();
      const other = bench.free();
      const block = bench.segment(1024, home);
      heap.setOwner(block, other);
      const pointer = bench.heap.handOut(block, 1000, USER_LOCK);
      expect(heap.release(pointer, USER_LOCK)).toBe(FREED);
      expect([home.toArray(), other.toArray(), heap.isInBins(block)]).toEqual([[], [block], true]);
    });
  });

  describe('close', () => {
    /** A heap in which a block is live and one is free, with all that is made of a heap. */
    const filled = () => {
      const bench = new HeapBench();
      const free = bench.free();
      free.addFront(64, 1024);
      bench.fill(4096, free);
      const holes = bench.heap.createHoles(-1, free, 4096);
      holes.add(2 ** 40, 2 ** 20);
      bench.heap.serveFrom(free);
      const pointer = bench.heap.allocate(100, USER_LOCK);
      return { bench, heap: bench.heap, free, holes, pointer, block: bench.heap.findLive(pointer) };
    };
    const disposed = memoryError('ERR_MEM_DISPOSED', { what: 'heap' });

    test('lets every method throw from then on, of all that belongs to the heap', () => {
      const { heap, free, holes } = filled();
      heap.close();
      const silent: string[] = [];
      // What tells that it is over, and the two calls of the hot path, which find nothing.
      const allowed = [
        'constructor',
        'close',
        'isClosed',
        'metadataBytes',
        'stats',
        'underway',
        'release',
        'allocate',
        'parts',
        'addressIn',
      ];
      for (const part of [heap, free, holes]) {
        for (const name of namesOf(part)) {
          if (allowed.includes(name)) continue;
          try {
            const value: unknown = Reflect.get(part, name);
            if (typeof value === 'function') Reflect.apply(value, part, name === 'serveFrom' ? [free] : [1, 16, free, 4096]);
            silent.push(`${part.constructor.name}.${name}`);
          } catch (error) {
            if (!MemoryError.is(error, 'ERR_MEM_DISPOSED')) throw error;
          }
        }
      }
      expect(silent).toEqual([]);
      expect(() => [...heap]).toThrow(disposed);
      expect(() => heap.counters.countReserved(1)).toThrow(disposed);
    });

    test('lets the two hot calls find nothing, though another heap has its memory by then', () => {
      const { heap, pointer } = filled();
      heap.close();
      const others = Array.from({ length: 50 }, () => filled());
      expect([heap.allocate(100, USER_LOCK), heap.release(pointer, USER_LOCK)]).toEqual([0, NOT_LIVE]);
      for (const other of others) {
        other.heap.checkInvariants();
        expect([other.free.isSound, other.holes.isSound, other.heap.findLive(other.pointer)]).toEqual([true, true, other.block]);
      }
    });

    test('leaves the counters as they were', () => {
      const { bench, heap } = filled();
      const before = bench.stats.snapshot();
      heap.close();
      filled();
      expect(bench.stats.snapshot()).toEqual(before);
      expect([heap.isClosed, heap.metadataBytes]).toEqual([true, 0]);
    });

    test('gives all its memory back, whatever was made of the heap', () => {
      let usedBytes = 0;
      const use = () => {
        const { bench, heap, free } = filled();
        for (let count = 0; count < 3000; count++) bench.fill(64 + 16 * count, free);
        usedBytes += heap.metadataBytes;
        heap.close();
        heap.close();
      };
      for (let i = 0; i < 5; i++) use();
      const { byteLength } = openKernel().memory.buffer;
      for (let i = 0; i < 300; i++) use();
      expect(usedBytes).toBeGreaterThan(2 ** 26);
      expect(openKernel().memory.buffer.byteLength).toBe(byteLength);
    });

    type Filled = ReturnType<typeof filled>;
    test.each<[string, (one: Filled, others: FreeBlocks) => unknown]>([
      ['DeviceHeap.create', ({ heap }, others) => heap.create(2 ** 41, 64, others)],
      ['DeviceHeap.setOwner', ({ heap, block }, others) => heap.setOwner(block, others)],
      ['DeviceHeap.serveFrom', ({ heap }, others) => heap.serveFrom(others)],
      ['DeviceHeap.createHoles', ({ heap }, others) => heap.createHoles(-2, others, 4096)],
      ['FreeBlocks.pairWith', ({ free }, others) => free.pairWith(others, 512)],
      ['FreeBlocks.moveAllTo', ({ free }, others) => free.moveAllTo(others)],
    ])('refuses free blocks of another heap in %s, whether that is open or closed', (_, call) => {
      const refused = broken('free blocks are used by their own heap');
      const [one, open, closed] = [filled(), filled(), filled()];
      closed.heap.close();
      const heir = filled();
      for (const { free } of [open, closed]) {
        const { count } = one.free;
        expect(() => call(one, free)).toThrow(refused);
        expect([one.free.count, one.free.parts]).toEqual([count, [one.free]]);
      }
      for (const { heap, free, holes } of [one, open, heir]) {
        heap.checkInvariants();
        expect([free.isSound, holes.isSound]).toEqual([true, true]);
      }
    });
  });
});

/** The names of an object's own properties and those of its classes. */
function namesOf(part: object): string[] {
  const names: string[] = [];
  for (let at = part; at !== Object.prototype; at = Object.getPrototypeOf(at)) names.push(...Object.getOwnPropertyNames(at));
  return names.filter((name) => !['lifetime', 'device', 'group', 'counters', 'keptByPolicy'].includes(name));
}
