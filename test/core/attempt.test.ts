import { afterEach, describe, expect, test, vi } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager } from '../../managers/index.js';
import { attempt, untold, warn } from '../../src/core/attempt.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { HandleWatch } from '../../src/runtime/handle-watch.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { OwnedBlock } from '../../src/runtime/owned-block.js';

/** Test set-ups that fail on warnings replace it by what throws. */
function failOnWarnings() {
  return vi.spyOn(process, 'emitWarning').mockImplementation(() => {
    throw new Error('no warnings here');
  });
}

afterEach(() => {
  vi.restoreAllMocks();
  untold.count = 0;
});

describe('warn', () => {
  test('counts what could not be told, and says so with the next warning', () => {
    const failing = failOnWarnings();
    for (const action of [() => warn('a text'), () => warn(new Error('an error')), () => attempt(() => JSON.parse('no JSON'))]) {
      expect(action).not.toThrow();
    }
    expect(untold.count).toBe(3);
    failing.mockImplementation(() => {});
    warn('the next');
    expect(failing.mock.calls.slice(3).map(([text]) => text)).toEqual([
      'the next',
      '3 more errors could not be told when they were thrown',
    ]);
    expect(untold.count).toBe(0);
  });
});

describe('a dropped handle', () => {
  test('gives its block back once where warnings throw', () => {
    using runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
    const { slot, device } = runtime;
    slot.install(new CachingMemoryManager(1, new MemoryManagerDeviceInterface()));
    const ptr = slot.alloc(1000, true);
    const watch = new HandleWatch(new FinalizationRegistry(() => {}));
    const undisposed = watch.pressure.handlesOf('host', false);
    undisposed.add(1000);
    const failing = failOnWarnings();
    const source = {
      host: runtime,
      device,
      slot,
      watch,
      undisposed,
      alignment: 0,
      stream: 0,
      tag: undefined,
      tenants: undefined,
      charge: undefined,
      deviceOf: () => 0,
    };
    new OwnedBlock(source, ptr, 1000, undefined).reclaim();
    expect([failing.mock.calls.length, slot.liveBlocks]).toEqual([1, 0]);
    const next = slot.alloc(1000, true);
    slot.signalMemoryCleanup();
    expect([next, slot.liveBlocks]).toEqual([ptr, 1]);
  });
});
