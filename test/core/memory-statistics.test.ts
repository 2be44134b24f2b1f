import { describe, expect, test } from 'vitest';
import type { MemoryStatsSnapshot } from '../../src/core/memory-statistics.js';
import { MEMORY_STATISTICS } from '../../src/core/memory-statistics.js';

const STAT = { current: 1, peak: 2, total: 3 };
const SNAPSHOT: MemoryStatsSnapshot = {
  requestedBytes: STAT,
  allocatedBytes: STAT,
  activeBytes: STAT,
  reservedBytes: STAT,
  cachedBytes: STAT,
  blocks: STAT,
  nativeAllocs: 4,
  nativeFrees: 5,
  hits: 6,
  retries: 7,
  ooms: 8,
};

describe('MEMORY_STATISTICS', () => {
  test('reads every field of a snapshot', () => {
    const seen = new Set<string | symbol>();
    const watched = new Proxy(SNAPSHOT, {
      get(snapshot, key, receiver) {
        seen.add(key);
        return Reflect.get(snapshot, key, receiver);
      },
    });
    for (const { read, readPeak } of MEMORY_STATISTICS) {
      expect(read(watched)).toBeGreaterThan(0);
      readPeak?.(watched);
    }
    expect([...seen].sort()).toEqual(Object.keys(SNAPSHOT).sort());
  });

  test('names each statistic once, in words that metrics take', () => {
    const names = MEMORY_STATISTICS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z]+(_[a-z]+)*$/);
  });
});
