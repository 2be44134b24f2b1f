import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DeferredFront } from '../../managers/pool/deferred-front.js';
import { BlockTable, NONE } from '../../src/blocks/block-table.js';
import { RangeHash } from '../../src/blocks/range-hash.js';
import { SortedBlocks } from '../../src/blocks/sorted-blocks.js';

describe('RangeHash', () => {
  test('finds what a map finds, after any program', () => {
    const address = fc.nat({ max: 400 }).map((unit) => 2 ** 52 + 2 ** 51 + unit * 16 + (unit % 3) * 2 ** 32);
    fc.assert(
      fc.property(fc.array(fc.tuple(address, fc.boolean()), { maxLength: 600 }), (program) => {
        const hash = new RangeHash();
        const model = new Map<number, number>();
        program.forEach(([at, isDelete], block) => {
          if (isDelete) {
            hash.delete(at);
            model.delete(at);
          } else if (!model.has(at)) {
            hash.set(at, block);
            model.set(at, block);
          }
          for (const [key, found] of model) expect(hash.get(key)).toBe(found);
          expect(hash.get(at)).toBe(model.get(at) ?? -1);
        });
      }),
      { numRuns: 40 },
    );
  });

  test.each([0, -16, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60])('finds nothing under %d', (address) => {
    const hash = new RangeHash();
    hash.set(4096, 7);
    expect(hash.get(address)).toBe(-1);
    expect(hash.get(4096)).toBe(7);
  });
});

describe('SortedBlocks', () => {
  test('keeps blocks by size, then address, in any order of insertion', () => {
    const size = fc.integer({ min: 1, max: 9 });
    fc.assert(
      fc.property(fc.array(size, { maxLength: 80 }), fc.array(fc.nat(), { maxLength: 80 }), (sizes, removals) => {
        const blocks = new BlockTable();
        const sorted = new SortedBlocks(blocks);
        const held = sizes.map((units, i) => blocks.create(2 ** 20 - i * 1024, units * 16, 0));
        for (const block of held) sorted.insert(block);
        for (const at of removals) {
          const block = held.splice(at % Math.max(held.length, 1), 1)[0];
          if (block !== undefined) sorted.remove(block);
          sorted.checkInvariants();
        }
        expect(sorted.count).toBe(held.length);
        const least = sorted.positionOf(5 * 16);
        expect(least).toBe(held.filter((block) => blocks.bytesOf(block) < 5 * 16).length);
      }),
    );
  });
});

describe('DeferredFront', () => {
  test('gives back the block of a size that came last, and asks for a flush above its bound', () => {
    const blocks = new BlockTable();
    const front = new DeferredFront(blocks, 64);
    const [first, second, third] = [32, 32, 16].map((bytes, i) => blocks.create(1024 * (i + 1), bytes, 0));
    expect(front.push(first!, 32)).toBe(true);
    expect(front.push(second!, 32)).toBe(true);
    expect(front.push(third!, 16)).toBe(false);
    expect(front.bytes).toBe(80);
    expect(front.pop(48)).toBe(NONE);
    expect(front.pop(32)).toBe(second);
    expect(front.popSmallest()).toBe(third);
    expect(front.popSmallest()).toBe(first);
    expect(front.popSmallest()).toBe(NONE);
    expect(front.bytes).toBe(0);
  });
});
