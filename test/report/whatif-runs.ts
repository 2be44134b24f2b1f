import { MiB } from '../../src/index.js';
import type { WhatIfRun } from '../../src/report/index.js';

/** Makes a run of a made-up program that reserves 100 MiB more with each bucket. @param points - of its curve */
export function whatIfRun(facts: Partial<WhatIfRun> = {}, points = 10, stride = 4) {
  const reserved = Array.from({ length: points }, (_, i) => (i + 1) * 100 * MiB);
  return {
    conf: '',
    manager: 'pytorch',
    limitBytes: null,
    fits: true,
    failure: null,
    peakReservedBytes: points * 100 * MiB,
    peakAllocatedBytes: points * 80 * MiB,
    fragmentation: 0.2,
    retries: 0,
    ooms: 0,
    nativeAllocs: points,
    nativeFrees: 1,
    leastLimitBytes: null,
    curve: { stride, reserved, allocated: reserved.map((bytes) => bytes * 0.8) },
    ...facts,
  } satisfies WhatIfRun;
}
