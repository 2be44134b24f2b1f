import { expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  CachingMemoryManager,
  DefaultMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import type { BlockMemoryManager } from '../../managers/policy/block-memory-manager.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';

const table = () => new MemoryManagerDeviceInterface();
const MANAGERS: readonly [string, boolean, () => BlockMemoryManager][] = [
  ['caching', false, () => new CachingMemoryManager(1, table())],
  ['tlsf', false, () => new TlsfMemoryManager(1, table())],
  ['pool of pages', true, () => new PoolMemoryManager(1, table())],
  ['pool of segments', false, () => new PoolMemoryManager(1, table())],
  ['pytorch', false, () => new PyTorchMemoryManager(1, table())],
  ['pytorch with expandable segments', true, () => new PyTorchMemoryManager(1, table(), { conf: 'expandable_segments:True' })],
  ['default', false, () => new DefaultMemoryManager(1, table(), { maxBuffers: MiB })],
  ['lru', false, () => new LruMemoryManager(1, table())],
];

test.each(MANAGERS)('%s gives the tables of a device back when it is removed', (_, virtual, create) => {
  const device = new SimulatedDevice({ virtual, streams: true });
  const runtime = new MemoryRuntime(device, { exitReport: false });
  const manager = create();
  new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
  const { slot } = runtime;
  const stream = device.streams!.create();
  const takesStreams = !(manager instanceof DefaultMemoryManager || manager instanceof LruMemoryManager);
  const cycle = () => {
    const blocks = [64, 5000, 3 * MiB].map((bytes) => slot.alloc(bytes, true));
    if (takesStreams) blocks.push(slot.alloc(100, true, 0, stream));
    for (const ptr of blocks) slot.unlock(ptr, true);
    manager.removeMemoryManagement(0);
    expect(device.liveBytes).toBe(0);
    manager.addMemoryManagement(0);
    manager.checkInvariants();
  };
  cycle();
  const { metadataBytes } = manager;
  for (let i = 0; i < 20; i++) cycle();
  expect(manager.metadataBytes).toBe(metadataBytes);
});
