import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AddressHash } from '../../src/blocks/address-hash.js';
import type { AddressIndex } from '../../src/blocks/address-index.js';
import { PageTable } from '../../src/blocks/page-table.js';
import { RangeHash } from '../../src/blocks/range-hash.js';

/** Each index with the unit that its addresses are multiples of. */
const INDEXES: readonly [string, number, () => AddressIndex][] = [
  ['AddressHash', 1, () => new AddressHash()],
  ['RangeHash', 16, () => new RangeHash()],
  ['PageTable of 512 bytes', 512, () => new PageTable(512)],
  ['PageTable of 64 KiB', 65_536, () => new PageTable(65_536)],
];

/** Places in the address space where addresses lie densely, up to its end. */
const PLACES = [1, 2 ** 32, 2 ** 32 + 2 ** 30, 2 ** 47 - 2 ** 20, 2 ** 52, 2 ** 53 - 2 ** 27];

interface Step {
  readonly place: number;
  readonly unit: number;
  readonly remove: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  place: fc.nat({ max: PLACES.length - 1 }),
  unit: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 1500 })),
  remove: fc.boolean(),
});

describe.each(INDEXES)('%s', (_, granule, make) => {
  const addressOf = ({ place, unit }: Step) => Math.floor(PLACES[place]! / granule) * granule + unit * granule;

  test('agrees with a Map after every step of any program', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (program) => {
        const index = make();
        const map = new Map<number, number>();
        program.forEach((each, block) => {
          const address = addressOf(each);
          if (each.remove && map.has(address)) {
            index.delete(address);
            map.delete(address);
          } else if (!map.has(address)) {
            index.set(address, block);
            map.set(address, block);
          }
          const found = index.get(address);
          if (found !== (map.get(address) ?? -1)) expect(found).toBe(map.get(address) ?? -1);
        });
        for (const each of program) expect(index.get(addressOf(each))).toBe(map.get(addressOf(each)) ?? -1);
      }),
      { numRuns: 60 },
    );
  });

  test('finds every one of many addresses while others come and go', () => {
    const index = make();
    const address = (i: number) => 2 ** 32 + i * 3 * granule;
    for (let i = 0; i < 20_000; i++) index.set(address(i), i);
    for (let i = 0; i < 20_000; i += 2) index.delete(address(i));
    for (let i = 0; i < 20_000; i++) {
      const wanted = i % 2 === 0 ? -1 : i;
      if (index.get(address(i)) !== wanted) expect(index.get(address(i)), `address ${i}`).toBe(wanted);
    }
  });

  test('needs no more memory when addresses that were never used before come and go', () => {
    const index = make();
    const churn = (rounds: number, from: number) => {
      for (let i = from; i < from + rounds; i++) {
        index.set(2 ** 32 + i * granule, i);
        if (i - from >= 100) index.delete(2 ** 32 + (i - 100) * granule);
      }
      for (let i = from + rounds - 100; i < from + rounds; i++) index.delete(2 ** 32 + i * granule);
    };
    churn(10_000, 0);
    const before = index.metadataBytes;
    churn(50_000, 10_000);
    expect(index.metadataBytes).toBe(before);
  });

  test('does nothing when an address that was never entered is deleted', () => {
    const index = make();
    index.set(2 ** 32, 1);
    index.delete(2 ** 40);
    expect([index.get(2 ** 32), index.get(2 ** 40)]).toEqual([1, -1]);
  });
});
