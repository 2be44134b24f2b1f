import { afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { ArrayFireHost } from '../../adapters/hosts/arrayfire/index.js';
import { CachingMemoryManager } from '../../managers/index.js';
import { MemoryError, MemoryManagerDeviceInterface } from '../../src/core/index.js';
import { ArrayFire, arrayFirePath } from './arrayfire.js';
import { exactManager } from './test-managers.js';

/** What {@link ArrayFire.work} gives. */
export const SUM = Array<number>(1000).fill(45);

export function caching(): CachingMemoryManager {
  return new CachingMemoryManager(2, new MemoryManagerDeviceInterface());
}

export function openHost(pinned = false): ArrayFireHost {
  return ArrayFireHost.open({
    library: arrayFirePath(),
    pinned,
    createDefaultManager: () => caching(),
    createFallbackManager: exactManager,
  });
}

/** The status that ArrayFire gives an action; 0 when it succeeds. */
export function statusBy(action: () => unknown): unknown {
  try {
    action();
    return 0;
  } catch (error) {
    return MemoryError.is(error, 'ERR_MEM_NATIVE') ? error.facts.status : error;
  }
}

/** ArrayFire, and a host of it that is new for each test. */
export class ArrayFireBench {
  af!: ArrayFire;
  host!: ArrayFireHost;
  /** Native segments that tests of this process have left to ArrayFire for good. */
  lostSegments = 0;
}

/** Opens a host before each test, and expects after it that no native memory is left. */
export function arrayFireBench(): ArrayFireBench {
  const bench = new ArrayFireBench();

  beforeAll(() => {
    bench.af = new ArrayFire();
    bench.lostSegments = bench.af.f.fixture_native_live();
  });

  beforeEach(() => {
    bench.host = openHost();
    bench.af.through = (native) => (bench.host.slot.closed ? native() : bench.host.call(native));
    bench.af.takeCalls();
  });

  afterEach(() => {
    const { af, host, lostSegments } = bench;
    host.dispose();
    af.f.fixture_set_backend(1);
    af.f.fixture_set_minor(10);
    af.f.fixture_set_capacity(2 ** 34);
    expect(af.f.fixture_native_live()).toBe(lostSegments);
    expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
  });
  return bench;
}
