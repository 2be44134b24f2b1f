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
