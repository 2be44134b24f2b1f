import { metrics } from '@opentelemetry/api';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime, MiB } from '../../src/index.js';
import { publishMemoryStats } from '../../src/otel/index.js';
import { collect, points, provider, useExportedMetrics } from './exported-metrics.js';

let runtime: MemoryRuntime;

useExportedMetrics();
beforeEach(() => {
  runtime = new MemoryRuntime(new SimulatedDevice({ deviceCount: 2 }));
  new MemoryManagerInstaller(new CachingMemoryManager(2, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
});
afterEach(() => {
  runtime.close();
  metrics.disable();
});

describe('publishMemoryStats', () => {
  test('publishes what the manager holds, by manager and device', async () => {
    using _published = publishMemoryStats(runtime, { meter: provider.getMeter('test'), attributes: { service: 'mine' } });
    const block = runtime.allocate(5000);
    runtime.withDevice(1, () => runtime.allocate(3 * MiB));
    const found = await collect();
    const named = { service: 'mine', manager: 'CachingMemoryManager', slot: 'ordinary' };
    expect(points(found.get('stowage.memory.requested'))).toMatchObject([
      { ...named, device: 0, value: 5000 },
      { ...named, device: 1, value: 3 * MiB },
    ]);
    expect(points(found.get('stowage.memory.reserved'))).toMatchObject([{ value: 2 * MiB }, { value: 20 * MiB }]);
    expect(found.get('stowage.memory.reserved')?.descriptor.unit).toBe('By');
    expect(points(found.get('stowage.allocations'))).toMatchObject([{ value: 1 }, { value: 1 }]);
    expect(points(found.get('stowage.native_allocs'))).toMatchObject([{ value: 1 }, { value: 1 }]);
    expect([...found.keys()].sort()).toEqual(
      [
        ...['requested', 'allocated', 'active', 'reserved', 'cached'].map((name) => `stowage.memory.${name}`),
        ...['blocks', 'allocations', 'hits', 'native_allocs', 'native_frees', 'retries', 'ooms'].map((name) => `stowage.${name}`),
      ].sort(),
    );
    block.dispose();
    expect(points((await collect()).get('stowage.blocks'))).toMatchObject([{ value: 0 }, { value: 1 }]);
  });

  test("uses the global provider's meter when none is given", async () => {
    metrics.setGlobalMeterProvider(provider);
    using _published = publishMemoryStats(runtime);
    runtime.allocate(100);
    expect(points((await collect()).get('stowage.blocks'))[0]).toMatchObject({ value: 1 });
  });

  test('observes nothing any more once it is disposed, twice as well', async () => {
    const published = publishMemoryStats(runtime, { meter: provider.getMeter('test') });
    runtime.allocate(100);
    expect((await collect()).size).toBe(12);
    published.dispose();
    published[Symbol.dispose]();
    runtime.allocate(100);
    // What the reader saw last may be given again; what is new is not.
    expect(points((await collect()).get('stowage.blocks')).every(({ value }) => value !== 2)).toBe(true);
  });
});
