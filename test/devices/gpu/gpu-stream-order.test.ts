import { describe, expect, test } from 'vitest';
import { CachingMemoryManager, PoolMemoryManager, TlsfMemoryManager } from '../../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../../src/core/device-interface.js';
import { MemoryManagerInstaller } from '../../../src/core/memory-manager-installer.js';
import { KiB, MiB } from '../../../src/core/units.js';
import { MemoryRuntime } from '../../../src/runtime/memory-runtime.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';

const BYTES = 40 * MiB;
const fixture = new GpuFixture('cuda');
const table = () => new MemoryManagerDeviceInterface();

describe.each([
  ['caching', () => new CachingMemoryManager(2, table())],
  ['tlsf', () => new TlsfMemoryManager(2, table())],
  ['pool', () => new PoolMemoryManager(2, table())],
] as const)('%s over two cards', (_, create) => {
  test('records events of stream 0 on the card whose block it is, whichever is active', async () => {
    const device = fixture.fresh({ pageBytes: 64 * KiB, delay: 1 });
    const runtime = new MemoryRuntime(device, { exitReport: false });
    new MemoryManagerInstaller(create(), runtime).setAsMemoryManager();
    const { slot } = runtime;
    using stream = device.createStream();
    const block = slot.alloc(BYTES, true, 0, stream.id);
    slot.recordStream(block, 0);
    // The other stream 0 has nothing to do, and would be done at the first look.
    const work = Array.from({ length: 20 }, () => device.fillAsync(block, 1, BYTES));
    device.activate(1);
    slot.unlock(block, true);
    device.activate(0);
    const other = slot.alloc(BYTES, true, 0, stream.id);
    expect(other).not.toBe(block);
    await Promise.all(work);
    expect(slot.alloc(BYTES, true, 0, stream.id)).toBe(block);
    runtime.close();
  });
});

describe('pool on a card', () => {
  test('gives pages back without waiting for streams that do not use them', async () => {
    const device = fixture.fresh({ deviceCount: 1, pageBytes: 64 * KiB, delay: 1 });
    const runtime = new MemoryRuntime(device, { exitReport: false });
    const manager = new PoolMemoryManager(1, table(), { slack: 0 });
    new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
    const { slot } = runtime;
    using one = device.createStream();
    using two = device.createStream();
    const kept = slot.alloc(MiB, true, 0, one.id);
    const blocks = Array.from({ length: 8 }, () => slot.alloc(MiB, true, 0, two.id));
    for (const i of [1, 3, 5]) slot.unlock(blocks[i]!, true);
    two.synchronize();
    const work = Promise.all(Array.from({ length: 50 }, () => device.fillAsync(kept, 1, MiB, one.id)));
    // In no free piece there is room for it, so that pages of these go back first.
    slot.alloc(3 * MiB, true, 0, two.id);
    expect(manager.stats(0).nativeFrees).toBeGreaterThan(0);
    expect(fixture.pending).toBeGreaterThan(0);
    await work;
    expect(fixture.peek(kept, 1)).toEqual(Uint8Array.of(1));
    runtime.close();
  });
});
