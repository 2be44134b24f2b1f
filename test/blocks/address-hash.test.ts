import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, AddressHash } from '../../src/blocks/address-hash.js';
import { is } from '../fixtures/same.js';

/** Places in the address space where addresses lie densely, up to its end. */
const PLACES = [1, 2 ** 32, 2 ** 32 + 2 ** 30, 2 ** 47 - 2 ** 20, 2 ** 52, 2 ** 53 - 2 ** 27];

const step = fc.record({
  place: fc.constantFrom(...PLACES),
  offset: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 1500 })),
  remove: fc.boolean(),
});

describe('AddressHash', () => {
  test('agrees with a Map after every step of any program', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (program) => {
        const index = new AddressHash();
        const map = new Map<number, number>();
        program.forEach(({ place, offset, remove }, block) => {
          const address = place + offset;
          if (remove && map.has(address)) {
            index.delete(address);
            map.delete(address);
          } else if (!map.has(address)) {
            index.set(address, block);
            map.set(address, block);
          }
          const wanted = map.get(address) ?? ABSENT;
          if (index.get(address) !== wanted) expect(index.get(address)).toBe(wanted);
        });
        for (const { place, offset } of program) is(index.get(place + offset), map.get(place + offset) ?? ABSENT);
      }),
      { numRuns: 60 },
    );
  });

  test('finds every one of many addresses while others come and go', () => {
    const index = new AddressHash();
    const address = (i: number) => 2 ** 32 + i * 3;
    for (let i = 0; i < 20_000; i++) index.set(address(i), i);
    for (let i = 0; i < 20_000; i += 2) index.delete(address(i));
    for (let i = 0; i < 20_000; i++) {
      const wanted = i % 2 === 0 ? ABSENT : i;
      if (index.get(address(i)) !== wanted) expect(index.get(address(i)), `address ${i}`).toBe(wanted);
    }
  });

  test('needs no more memory when addresses that were never used before come and go', () => {
    const index = new AddressHash();
    const churn = (rounds: number, from: number) => {
      for (let i = from; i < from + rounds; i++) {
        index.set(2 ** 32 + i, i);
        if (i - from >= 100) index.delete(2 ** 32 + i - 100);
      }
      for (let i = from + rounds - 100; i < from + rounds; i++) index.delete(2 ** 32 + i);
    };
    churn(10_000, 0);
    const before = index.metadataBytes;
    churn(50_000, 10_000);
    expect(index.metadataBytes).toBe(before);
  });

  describe('delete', () => {
    test('does nothing for an address that was never entered', () => {
      const index = new AddressHash();
      index.set(2 ** 32, 1);
      index.delete(2 ** 40);
      expect([index.get(2 ** 32), index.get(2 ** 40)]).toEqual([1, ABSENT]);
    });
  });
});
