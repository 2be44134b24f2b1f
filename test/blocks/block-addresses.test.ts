import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NONE, USER_LOCK } from '../../src/blocks/block-rows.js';
import { GiB } from '../../src/core/units.js';
import { HeapBench } from './heap-bench.js';

/** Addresses that differ by a multiple of it share the low half that entries of the index hold. */
const ALIAS_BYTES = 64 * GiB;
/** Places in the address space, up to its end. */
const PLACES = [16, 2 ** 32, 2 ** 47 - 2 ** 20, 2 ** 52 + 2 ** 51, 2 ** 53 - 2 ** 40];

interface Step {
  readonly address: number;
  readonly remove: boolean;
}

/** Few addresses, so that most steps meet one that was used before. */
const step: fc.Arbitrary<Step> = fc.record({
  address: fc
    .tuple(fc.constantFrom(...PLACES), fc.nat({ max: 6 }), fc.nat({ max: 40 }), fc.constantFrom(0, 0, 0, 1, 8, 15))
    .map(([place, alias, unit, rest]) => place + alias * ALIAS_BYTES + unit * 16 + rest),
  remove: fc.boolean(),
});

/** A heap beside a map of what it should find. */
class Found {
  readonly #bench = new HeapBench();
  readonly heap = this.#bench.heap;
  readonly #home = this.heap.keptByPolicy;
  readonly map = new Map<number, number>();

  create(address: number): void {
    if (!this.map.has(address)) this.map.set(address, this.heap.create(address, 16, this.#home));
  }

  remove(address: number): void {
    const block = this.map.get(address);
    if (block === undefined) return;
    this.heap.remove(block);
    this.map.delete(address);
  }

  /** Looks up each of these addresses. */
  check(addresses: Iterable<number>): void {
    for (const address of addresses) {
      const wanted = this.map.get(address) ?? NONE;
      if (this.heap.find(address) !== wanted) expect(this.heap.find(address), `the block at ${address}`).toBe(wanted);
    }
    if (this.heap.count !== this.map.size) expect(this.heap.count).toBe(this.map.size);
  }
}

describe('DeviceHeap', () => {
  describe('find', () => {
    test('agrees with a Map after every step of any program', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 250, size: 'max' }), (program) => {
          const found = new Found();
          for (const { address, remove } of program) {
            if (remove) found.remove(address);
            else found.create(address);
            found.check([address]);
          }
          found.check(program.map(({ address }) => address));
        }),
        { numRuns: 150 },
      );
    });

    test('tells many addresses apart that lie multiples of 64 GiB from each other', () => {
      const found = new Found();
      const addresses = Array.from({ length: 60 }, (_, i) => 2 ** 32 + i * ALIAS_BYTES);
      for (const address of addresses) found.create(address);
      found.check(addresses);
      for (let round = 0; round < 5; round++) {
        addresses.forEach((address, i) => {
          if (i % (round + 2) === 0) found.remove(address);
        });
        found.check(addresses);
        for (const address of addresses.toReversed()) found.create(address);
        found.check(addresses);
      }
    });

    test('tells addresses apart within one unit of 16 bytes', () => {
      const found = new Found();
      const addresses = Array.from({ length: 48 }, (_, i) => 2 ** 40 + i);
      for (const address of addresses.filter((_, i) => i % 3 === 0)) found.create(address);
      found.check(addresses);
      for (const address of addresses.filter((_, i) => i % 6 === 0)) found.remove(address);
      found.check(addresses);
    });

    test('finds every one of many blocks while others come and go', () => {
      const found = new Found();
      const address = (i: number) => 2 ** 32 + i * 48;
      const all = Array.from({ length: 20_000 }, (_, i) => address(i));
      for (const each of all) found.create(each);
      for (let i = 0; i < 20_000; i += 2) found.remove(address(i));
      found.check(all);
      for (let i = 0; i < 20_000; i += 4) found.create(address(i));
      found.check(all);
      found.heap.checkInvariants();
    });

    test('needs no more memory when one address is used again and again', () => {
      const found = new Found();
      const addresses = Array.from({ length: 40 }, (_, i) => 2 ** 32 + i * 512);
      for (const address of addresses) found.create(address);
      const before = found.heap.metadataBytes;
      for (let i = 0; i < 20_000; i++) {
        const address = addresses[(i * 7) % addresses.length]!;
        found.remove(address);
        found.create(address);
      }
      found.check(addresses);
      expect(found.heap.metadataBytes).toBe(before);
    });

    test('forgets addresses of blocks that are gone: its memory follows the blocks that exist', () => {
      const found = new Found();
      const churn = (from: number, rounds: number) => {
        for (let i = from; i < from + rounds; i++) {
          found.create(2 ** 32 + i * 16);
          found.remove(2 ** 32 + (i - 50) * 16);
        }
        found.check(Array.from({ length: 120 }, (_, i) => 2 ** 32 + (from + rounds - 100 + i) * 16));
      };
      churn(0, 5000);
      const before = found.heap.metadataBytes;
      churn(5000, 100_000);
      expect(found.heap.metadataBytes).toBe(before);
    });

    test('finds blocks of bins only as long as they are live', () => {
      const bench = new HeapBench();
      const free = bench.free();
      bench.fill(1024, free);
      const address = free.allocate(512, USER_LOCK);
      expect(bench.heap.bytesOf(bench.heap.find(address))).toBe(512);
      expect(bench.heap.find(address + 512)).toBe(NONE);
      bench.heap.release(address, USER_LOCK);
      expect(bench.heap.find(address)).toBe(NONE);
    });

    test('finds what a split made, and not what was absorbed', () => {
      const bench = new HeapBench();
      const { heap } = bench;
      const block = heap.create(2 ** 32, 1024, bench.heap.keptByPolicy);
      const rest = heap.split(block, 300);
      expect([heap.find(2 ** 32), heap.find(2 ** 32 + 300)]).toEqual([block, rest]);
      heap.absorbNext(block);
      expect([heap.find(2 ** 32), heap.find(2 ** 32 + 300), heap.bytesOf(block)]).toEqual([block, NONE, 1024]);
    });

    test.each([0, -16, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 60, 2 ** 70])(
      'finds nothing under %d',
      (address) => {
        const found = new Found();
        for (let i = 1; i < 100; i++) found.create(i * 4096);
        expect(found.heap.find(address)).toBe(NONE);
      },
    );
  });
});
