import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockTable, NONE, USER_LOCK } from '../../src/blocks/block-table.js';
import { FreeBlockIndex } from '../../src/blocks/free-block-index.js';

/** An index beside the sorted array that it must agree with. */
class Indexed {
  readonly table = new BlockTable();
  readonly index = new FreeBlockIndex(this.table);
  readonly sorted: number[] = [];
  #address = 2 ** 32;

  create(bytes: number): number {
    const block = this.table.create(this.#address, bytes, 0);
    this.#address += bytes;
    return block;
  }

  insert(block: number): void {
    this.index.insert(block);
    this.sorted.push(block);
    this.#sort();
  }

  remove(at: number): number {
    const [block] = this.sorted.splice(at % this.sorted.length, 1) as [number];
    this.index.remove(block);
    return block;
  }

  /** Cuts the front off a free block, and puts the rest in its place. */
  takeFront(at: number, bytes: number): void {
    const old = this.sorted[at % this.sorted.length]!;
    if (this.table.bytesOf(old) <= bytes) return;
    const rest = this.table.split(old, bytes);
    this.index.replace(old, rest);
    this.sorted[this.sorted.indexOf(old)] = rest;
    this.#sort();
  }

  check(wanted: readonly number[]): void {
    this.index.checkInvariants();
    const order: number[] = [];
    for (let block = this.index.first(); block !== NONE; block = this.index.after(block)) order.push(block);
    if (order.join() !== this.sorted.join()) expect(order).toEqual(this.sorted);
    if (this.index.count !== this.sorted.length) expect(this.index.count).toBe(this.sorted.length);
    for (const bytes of wanted) {
      const fit = this.sorted.find((block) => this.table.bytesOf(block) >= bytes) ?? NONE;
      if (this.index.findBestFit(bytes) !== fit) expect(this.index.findBestFit(bytes), `best fit of ${bytes}`).toBe(fit);
    }
  }

  #sort(): void {
    const { table } = this;
    this.sorted.sort((a, b) => table.bytesOf(a) - table.bytesOf(b) || table.addressOf(a) - table.addressOf(b));
  }
}

type Step = { readonly insert: number } | { readonly remove: number } | { readonly front: number; readonly of: number };

const size = fc.oneof(
  fc.integer({ min: 1, max: 40 }).map((units) => units * 512),
  fc.constantFrom(512, 2 ** 20, 2 ** 21, 20 * 2 ** 20),
  fc.integer({ min: 1, max: 2 ** 26 }),
  fc.integer({ min: 2 ** 30, max: 2 ** 45 }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ insert: size }) },
  { weight: 3, arbitrary: fc.record({ remove: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ front: size, of: fc.nat() }) },
);

describe('FreeBlockIndex', () => {
  test('agrees with a sorted array after every step of any program', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), fc.array(size, { maxLength: 6 }), (program, wanted) => {
        const indexed = new Indexed();
        for (const each of program) {
          if ('insert' in each) indexed.insert(indexed.create(each.insert));
          else if (indexed.sorted.length === 0) continue;
          else if ('remove' in each) indexed.remove(each.remove);
          else indexed.takeFront(each.of, each.front);
          indexed.check([1, ...wanted]);
        }
      }),
      { numRuns: 150 },
    );
  });

  test('agrees with a sorted array when thousands of blocks have nearly the same size', () => {
    const indexed = new Indexed();
    const blocks = Array.from({ length: 1500 }, (_, i) => indexed.create(2 ** 20 + ((i * 7919) % 97)));
    for (const block of blocks) {
      indexed.index.insert(block);
      indexed.sorted.push(block);
    }
    indexed.insert(indexed.create(2 ** 20 + 1000));
    indexed.check(Array.from({ length: 120 }, (_, i) => 2 ** 20 - 10 + i));
    for (let i = 0; i < 700; i++) indexed.remove(i * 31);
    indexed.check(Array.from({ length: 120 }, (_, i) => 2 ** 20 - 10 + i));
    for (let i = 0; i < 200; i++) indexed.takeFront(i * 37, 512);
    indexed.check([1, 512, 2 ** 20 - 512, 2 ** 20 + 50]);
    while (indexed.sorted.length > 0) indexed.remove(0);
    indexed.check([1]);
  });

  describe('findBestFit', () => {
    test('gives the lowest address among equals, and NONE when all are smaller', () => {
      const { table, index } = new Indexed();
      const [high, low, other] = [table.create(8192, 512, 0), table.create(4096, 512, 0), table.create(512, 1024, 0)];
      for (const block of [high, low, other]) index.insert(block);
      expect([index.findBestFit(1), index.findBestFit(512), index.findBestFit(513), index.findBestFit(1025)]).toEqual([
        low,
        low,
        other,
        NONE,
      ]);
      index.remove(low);
      expect(index.findBestFit(512)).toBe(high);
    });

    test('is exact for sizes near 2^53', () => {
      const { table, index } = new Indexed();
      const block = table.create(512, 2 ** 53 - 1024, 0);
      index.insert(block);
      expect([index.findBestFit(2 ** 53 - 1024), index.findBestFit(2 ** 53 - 1023)]).toEqual([block, NONE]);
    });
  });

  describe('checkInvariants', () => {
    test('throws for an indexed block that is held', () => {
      const { table, index } = new Indexed();
      const block = table.create(512, 512, 0);
      index.insert(block);
      table.take(block, 1, USER_LOCK);
      expect(() => index.checkInvariants()).toThrow('invariant broken');
    });
  });
});
