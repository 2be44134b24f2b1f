import { describe, expect, test } from 'vitest';
import { KiB } from '../../src/core/units.js';
import { SharedRegion } from '../../src/shared/shared-region.js';
import { describeCrashes } from './crash-suite.js';
import { MortalRegion } from './crashes.js';
import { bufferRegion, PAGE_ALLOCATORS } from './regions.js';

describe.each(PAGE_ALLOCATORS.map((type) => [type.name, type] as const))('%s', (_, Type) => {
  // Every store would take a minute: that is the soak's.
  describeCrashes(Type, (store) => (store < 16 ? 1 : 37));
});

test('a region takes over views of its words', () => {
  const region = bufferRegion(64 * KiB);
  const mortal = new MortalRegion(region);
  expect(mortal).toBeInstanceOf(SharedRegion);
  mortal.int32[5] = 9;
  expect(region.int32[5]).toBe(9);
  expect(mortal.stores).toBe(1);
});
