import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MiB } from '../../src/core/units.js';
import { CardStreams, OTHER_STREAM } from '../../src/whatif/card-streams.js';
import { DriverAddresses } from '../../src/whatif/driver-addresses.js';
import { findLeastLimit } from '../../src/whatif/least-limit.js';
import { type NativeCall, NumberCard } from '../../src/whatif/number-card.js';
import { is } from '../fixtures/same.js';

const GRANULE = 2 * MiB;

describe('DriverAddresses', () => {
  test('puts segments into ranges of 32 MiB, each below the last, and into the lowest hole that has room', () => {
    const driver = new DriverAddresses();
    const first = driver.take(20 * MiB);
    const second = driver.take(20 * MiB);
    expect(second).toBe(first - 32 * MiB);
    expect(driver.take(2 * MiB)).toBe(second + 20 * MiB);
    expect(driver.take(12 * MiB)).toBe(first + 20 * MiB);
    expect(driver.take(100 * MiB)).toBe(second - 128 * MiB);
    driver.give(second, 20 * MiB);
    expect(driver.take(GRANULE)).toBe(second - 28 * MiB);
  });

  test('never gives two live segments one address, and joins what is freed', () => {
    const step = fc.record({ bytes: fc.integer({ min: 1, max: 80 * MiB }), frees: fc.boolean(), pick: fc.nat(100) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const driver = new DriverAddresses();
        const live: { start: number; bytes: number }[] = [];
        for (const { bytes, frees, pick } of steps) {
          if (frees) {
            const [gone] = live.splice(pick % (live.length + 1), 1);
            if (gone !== undefined) driver.give(gone.start, gone.bytes);
            continue;
          }
          const start = driver.take(bytes);
          expect(start % GRANULE).toBe(0);
          expect(live.some((other) => start < other.start + other.bytes && other.start < start + bytes)).toBe(false);
          live.push({ start, bytes });
        }
        for (const { start, bytes } of live) driver.give(start, bytes);
        // All that was ever taken is one hole again.
        const lowest = Math.min(...live.map(({ start }) => start), driver.take(GRANULE));
        expect(Number.isSafeInteger(lowest)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test('goes on below the segments that are there, with the holes between them', () => {
    const driver = new DriverAddresses();
    const at = 2 ** 45;
    driver.occupy([
      { address: at, bytes: 30 * MiB },
      { address: at + 64 * MiB, bytes: GRANULE },
    ]);
    expect(driver.take(GRANULE)).toBe(at + 30 * MiB);
    expect(driver.take(30 * MiB)).toBe(at + 66 * MiB);
    expect(driver.take(30 * MiB)).toBe(at - 32 * MiB);
  });

  test('goes on above the segments that are there where none fits below', () => {
    const driver = new DriverAddresses();
    driver.occupy([{ address: 32 * MiB, bytes: 32 * MiB }]);
    const addresses = [driver.take(40 * MiB), driver.take(40 * MiB)];
    expect(addresses).toEqual([2 ** 46, 2 ** 46 + 64 * MiB]);
  });
});

describe('NumberCard', () => {
  test('counts segments and committed pages against its capacity', () => {
    const calls: NativeCall[] = [];
    const card = new NumberCard({ capacityBytes: 10 * GRANULE, onCall: (call) => calls.push(call) });
    card.stream = 7;
    const segment = card.nativeAlloc(4 * GRANULE);
    const range = card.virtual.reserve(100 * GRANULE);
    expect(card.virtual.commit(range, 6 * GRANULE)).toBe(true);
    expect(card.nativeAlloc(1)).toBe(0);
    expect(card.virtual.commit(range, GRANULE)).toBe(false);
    card.virtual.decommit(range, 5 * GRANULE);
    card.nativeFree(segment);
    expect([card.reservedBytes, card.peakBytes, card.nativeAllocs, card.nativeFrees]).toEqual([GRANULE, 10 * GRANULE, 2, 2]);
    expect(calls.map(({ kind, bytes, stream }) => [kind, bytes / GRANULE, stream])).toEqual([
      ['alloc', 4, 7],
      ['commit', 6, 7],
      ['decommit', 5, 7],
      ['free', 4, 7],
    ]);
    card.virtual.release(range, 100 * GRANULE);
    expect(card.reservedBytes).toBe(0);
  });

  test('does not use up addresses', () => {
    const card = new NumberCard({ capacityBytes: Number.POSITIVE_INFINITY });
    const kept = card.nativeAlloc(1);
    const bytes = 2 ** 41;
    // Two take turns, each above or below the other.
    let before = card.virtual.reserve(bytes);
    for (let i = 0; i < 10_000; i++) {
      const range = card.virtual.reserve(bytes);
      expect(range).toBeGreaterThan(0);
      card.virtual.release(before, bytes);
      before = range;
      const segment = card.nativeAlloc(1, 2 ** 40);
      expect(segment % 2 ** 40 === 0 && segment !== 0 && segment !== kept).toBe(true);
      card.nativeFree(segment);
    }
  });

  test('refuses addresses that it has not given', () => {
    const card = new NumberCard({ capacityBytes: Number.POSITIVE_INFINITY });
    expect(() => card.nativeFree(card.nativeAlloc(1))).not.toThrow();
    expect(() => card.nativeFree(4096 as ReturnType<typeof card.nativeAlloc>)).toThrow(/ERR_MEM_UNKNOWN_POINTER|no manager|4096/);
  });
});

describe('CardStreams', () => {
  test('are done at once, except the one that still uses what was freed', () => {
    const streams = new CardStreams();
    expect(streams.query(streams.record(0))).toBe(true);
    const event = streams.record(OTHER_STREAM);
    expect(streams.query(event)).toBe(false);
    expect(streams.recorded).toEqual([event]);
    streams.complete(event);
    expect(streams.query(event)).toBe(true);
  });

  test('are done when somebody waits', () => {
    const streams = new CardStreams();
    const event = streams.record(OTHER_STREAM);
    streams.synchronize(event);
    expect(streams.query(event)).toBe(true);
  });
});

describe('findLeastLimit', () => {
  test('finds a limit that fits while 2 MiB less does not, in few tries', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.nat(5000),
        fc.integer({ min: -20, max: 5000 }),
        (allocated, more, shift) => {
          const reserved = allocated + more;
          const least = Math.max(1, Math.min(allocated + shift, reserved + 5));
          let tries = 0;
          const fits = (bytes: number) => {
            tries++;
            is(bytes % GRANULE, 0);
            return bytes >= least * GRANULE;
          };
          expect(findLeastLimit(allocated * GRANULE, reserved * GRANULE, fits)).toBe(least * GRANULE);
          expect(tries).toBeLessThan(30);
        },
      ),
    );
  });

  test('holds where more memory does not always help', () => {
    const fitting = new Set([40, 43, 50]);
    const fits = (bytes: number) => fitting.has(bytes / GRANULE) || bytes / GRANULE >= 60;
    const least = findLeastLimit(30 * GRANULE, 64 * GRANULE, fits);
    expect([fits(least), fits(least - GRANULE)]).toEqual([true, false]);
  });
});
