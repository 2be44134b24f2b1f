import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MANAGER_LOCK, NONE, USER_LOCK } from '../../src/blocks/block-rows.js';
import { FREED, HELD, NOT_LIVE } from '../../src/blocks/kernel-interface.js';
import { FreeModel, freeStep, type Rules } from './free-model.js';
import { HeapBench } from './heap-bench.js';

const PROGRAMS: readonly [string, Partial<Rules>][] = [
  ['exact fit', {}],
  ['exact fit in units of 512 bytes', { unitBytes: 512 }],
  ['exact fit where rests below 1 MiB stay', { unitBytes: 512, leastRestBytes: 2 ** 20 }],
  ['exact fit with limits', { recyclingBytes: 2 ** 24, splitBytes: 2 ** 20 }],
  ['good fit', { fit: 'good' }],
  ['good fit in units of 512 bytes', { fit: 'good', unitBytes: 512 }],
];

/** Places of 1 or 2 blocks in a bin, to tens of them, which make it a tree. */
const DENSE = fc.oneof(
  { weight: 5, arbitrary: fc.record({ add: fc.integer({ min: 2 ** 16, max: 2 ** 16 + 2000 }) }) },
  { weight: 2, arbitrary: fc.record({ allocate: fc.integer({ min: 2 ** 16 - 1000, max: 2 ** 16 + 2000 }) }) },
  { weight: 2, arbitrary: fc.record({ allocate: fc.integer({ min: 16, max: 64 }) }) },
  { weight: 3, arbitrary: fc.record({ free: fc.nat() }) },
);

function run(
  rules: Partial<Rules>,
  steps: fc.Arbitrary<Parameters<FreeModel['perform']>[0]>,
  maxLength: number,
  numRuns: number,
) {
  fc.assert(
    fc.property(fc.array(steps, { maxLength, size: 'max' }), (program) => {
      const model = new FreeModel(rules);
      for (const each of program) {
        model.perform(each);
        model.check();
      }
    }),
    { numRuns },
  );
}

describe('FreeBlocks', () => {
  test.each(PROGRAMS)('agrees with sorted lists after every step of any program: %s', (_, rules) => {
    run(rules, freeStep, 80, 80);
  });

  test.each(PROGRAMS.filter(([, { unitBytes }]) => unitBytes === undefined))(
    'agrees with sorted lists when many blocks lie in one bin: %s',
    (_, rules) => run(rules, DENSE, 160, 20),
  );

  test('agrees with sorted lists when thousands of blocks have nearly the same size', () => {
    const model = new FreeModel();
    for (let i = 0; i < 1000; i++) model.perform({ add: 2 ** 20 + ((i * 7919) % 97) * 16 });
    for (let i = 0; i < 1000; i++) model.perform({ add: 2 ** 30 });
    model.check();
    for (let i = 0; i < 700; i++) model.perform({ allocate: 2 ** 20 - 400 + ((i * 31) % 2000) });
    model.check();
    for (let i = 0; i < 400; i++) model.perform({ allocate: 2 ** 30 - (i % 2) * 512 });
    model.check();
    for (let i = 0; i < 1000; i++) model.perform({ free: i * 37 });
    model.check();
  });

  describe('fit', () => {
    test('gives the smallest, of equals the one at the lowest address, and NONE when all are smaller', () => {
      const bench = new HeapBench();
      const free = bench.free({ fit: 'exact' });
      const [low, high, other] = [512, 512, 1024].map((bytes) => bench.segment(bytes, free)) as [number, number, number];
      for (const block of [high, low, other]) free.putIn(block);
      expect([free.fit(1), free.fit(512), free.fit(513), free.fit(1025)]).toEqual([low, low, other, NONE]);
      free.takeOut(low);
      expect([free.fit(512), free.toArray()]).toEqual([high, [high, other]]);
    });

    test.each(['exact', 'good'] as const)('finds sizes near 2^53: %s fit', (fit) => {
      const bench = new HeapBench();
      const free = bench.free({ fit });
      const block = bench.heap.create(512, 2 ** 53 - 1024, free);
      free.putIn(block);
      expect([free.fit(2 ** 53 - 1024), free.fit(2 ** 53 - 1023), free.isSound]).toEqual([block, NONE, true]);
    });

    test('finds any that fits when it is good, however many of its bin came later', () => {
      const bench = new HeapBench();
      const free = bench.free();
      const first = bench.fill(1030 * 16, free);
      for (let i = 0; i < 100; i++) bench.fill(1026 * 16, free);
      const last = bench.fill(1026 * 16, free);
      bench.fill(2000 * 16, free);
      expect([free.fit(1026 * 16), free.fit(1028 * 16)]).toEqual([last, first]);
    });
  });

  describe('take', () => {
    test.each([1, 16, 512])('takes none for sizes beyond 2^52, which cannot be rounded up to units of %i bytes', (unitBytes) => {
      const bench = new HeapBench();
      const free = bench.free({ unitBytes });
      free.putIn(bench.heap.create(512, 2 ** 53 - 1024, free));
      expect([2 ** 52 + 1, 2 ** 53 - 1024].map((bytes) => free.allocate(bytes, USER_LOCK))).toEqual([0, 0]);
      expect(free.allocate(2 ** 52, USER_LOCK)).toBe(512);
    });

    test.each([0, -1, -512, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53 + 2, 2 ** 64])(
      'gives nothing for %d bytes, as allocate does',
      (bytes) => {
        const bench = new HeapBench();
        const free = bench.free({ fit: 'exact' });
        bench.fill(4096, free);
        expect([free.take(bytes), free.allocate(bytes, USER_LOCK)]).toEqual([NONE, 0]);
        expect([bench.sizes(free.toArray()), bench.stats.liveBlocks, free.isSound]).toEqual([[4096], 0, true]);
      },
    );

    test('looks at sixteen blocks of the bin of its size, and then at larger ones, when fit is good', () => {
      const bench = new HeapBench();
      const free = bench.free();
      const fitting = bench.fill(1030 * 16, free);
      for (let i = 0; i < 20; i++) bench.fill(1026 * 16, free);
      const larger = bench.fill(2000 * 16, free);
      expect([free.take(1028 * 16), free.take(1028 * 16)]).toEqual([larger, NONE]);
      expect([free.usable(1028 * 16), free.fit(1028 * 16), free.isSound]).toEqual([fitting, fitting, true]);
      expect(free.take(1028 * 16)).toBe(fitting);
    });

    test('finds the smallest of a bin that became a tree, and keeps it in order until it is empty', () => {
      const bench = new HeapBench();
      const free = bench.free();
      const sizes = Array.from({ length: 60 }, (_, i) => (1024 + ((i * 7) % 30)) * 16);
      for (const bytes of sizes) bench.fill(bytes, free);
      expect(free.fit(1055 * 16)).toBe(NONE);
      expect(bench.sizes(free.toArray())).toEqual(sizes.toSorted((a, b) => a - b));
      const late = bench.fill(1024 * 16 + 8 * 16, free);
      expect([bench.heap.bytesOf(free.take(1032 * 16)), free.isSound]).toEqual([1032 * 16, true]);
      free.takeOut(late);
      while (free.take(1024 * 16) !== NONE) if (!free.isSound) expect.fail('unsound');
      expect(Math.max(...bench.sizes(free.toArray()))).toBeLessThan(1024 * 16);
    });

    test('gives a block that is in no bins and counts nothing', () => {
      const bench = new HeapBench();
      const free = bench.free();
      const whole = bench.fill(4096, free);
      expect(free.take(100)).toBe(whole);
      expect([bench.heap.bytesOf(whole), bench.heap.isInBins(whole), bench.heap.isFree(whole)]).toEqual([112, false, true]);
      expect([bench.sizes(free.toArray()), bench.stats.liveBlocks]).toEqual([[3984], 0]);
    });
  });

  describe('carve', () => {
    test('takes a block out and leaves what it has more in', () => {
      const bench = new HeapBench();
      const free = bench.free({ fit: 'exact', leastRestBytes: 64 });
      const [one, other] = [bench.fill(1024, free), bench.fill(1024, free)];
      free.carve(one, 1024 - 64);
      free.carve(other, 1024 - 48);
      expect([bench.sizes([one, other]), bench.sizes(free.toArray())]).toEqual([[960, 1024], [64]]);
      expect([free.isSound, bench.heap.isInBins(one), free.has(other)]).toEqual([true, false, false]);
    });
  });

  describe('cutTail', () => {
    test('puts in what a block in no bins has more, where that is worth a block', () => {
      const bench = new HeapBench();
      const free = bench.free({ leastRestBytes: 512 });
      const [one, other] = [bench.segment(1024, free), bench.segment(1024, free)];
      free.cutTail(one, 512);
      free.cutTail(other, 513);
      expect([bench.sizes([one, other]), bench.sizes(free.toArray())]).toEqual([[512, 1024], [512]]);
    });
  });

  describe('join', () => {
    test.each([
      ['none', [] as number[], [100]],
      ['the one before', [0], [200]],
      ['the one behind', [2], [200]],
      ['both', [0, 2], [300]],
    ])('joins a block with its free neighbours: %s', (_, inside, sizes) => {
      const bench = new HeapBench();
      const free = bench.free();
      const blocks = bench.cut([100, 100, 100], free);
      for (const at of inside) free.putIn(blocks[at]!);
      const whole = free.join(blocks[1]!);
      expect([bench.sizes(free.toArray()), free.has(whole), free.isSound]).toEqual([sizes, true, true]);
      bench.heap.checkInvariants();
    });

    test('joins blocks of one group alone', () => {
      const bench = new HeapBench();
      const [one, other] = [bench.free({ group: 1 }), bench.free({ group: 2 })];
      const [a, b, c] = bench.cut([16, 32, 64], one) as [number, number, number];
      other.putIn(a);
      one.putIn(c);
      one.join(b);
      expect([bench.sizes(one.toArray()), bench.sizes(other.toArray())]).toEqual([[96], [16]]);
      expect([one.has(a), other.has(a), one.has(b), other.has(b), one.has(NONE)]).toEqual([false, true, true, false, false]);
    });
  });

  describe('home', () => {
    test('leaves every block that comes back to the manager', () => {
      const bench = new HeapBench();
      const { keptByPolicy: home } = bench.heap;
      const block = bench.segment(512, home);
      const pointer = bench.heap.handOut(block, 500, USER_LOCK);
      expect(bench.stats.snapshot()).toMatchObject({ requestedBytes: { current: 500 }, allocatedBytes: { current: 512 } });
      expect(bench.heap.release(pointer, USER_LOCK)).toBe(block);
      expect([bench.heap.isInBins(block), home.count, bench.stats.liveBlocks]).toEqual([false, 0, 0]);
    });
  });

  describe('release', () => {
    test('takes a block back when no lock is left, and refuses one that is free or unknown', () => {
      const bench = new HeapBench();
      const free = bench.free();
      bench.fill(4096, free);
      const pointer = free.allocate(100, USER_LOCK | MANAGER_LOCK);
      free.allocate(100, USER_LOCK);
      const release = (address: number, locks: number) => bench.heap.release(address, locks);
      expect([release(pointer, USER_LOCK), release(pointer, USER_LOCK), bench.stats.liveBlocks]).toEqual([HELD, HELD, 2]);
      expect([release(pointer, MANAGER_LOCK), bench.stats.liveBlocks]).toEqual([FREED, 1]);
      const before = bench.stats.snapshot();
      expect([bench.heap.isFreeAt(pointer), bench.heap.isFreeAt(pointer + 1)]).toEqual([true, false]);
      expect([release(pointer, MANAGER_LOCK), release(pointer + 1, USER_LOCK)]).toEqual([NOT_LIVE, NOT_LIVE]);
      expect(bench.stats.snapshot()).toEqual(before);
    });
  });
});
