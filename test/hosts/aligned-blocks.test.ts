import { expect, test } from 'vitest';
import { AlignedBlocks } from '../../adapters/hosts/aligned-blocks.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import { GivenUpBlocks } from '../../adapters/hosts/given-up-blocks.js';
import { CachingMemoryManager, PoolMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/index.js';
import '../../src/index.js';
import { install } from './test-managers.js';

test.each([
  { Manager: CachingMemoryManager, alignsAll: true },
  { Manager: PoolMemoryManager, alignsAll: false },
])('blocks of a $Manager.name are aligned, and it is asked once more at most', ({ Manager, alignsAll }) => {
  using host = new CAllocatorHost();
  const manager = install(host, new Manager(1, new MemoryManagerDeviceInterface()));
  const blocks = new AlignedBlocks(host.slot, new GivenUpBlocks(host.slot));
  const pointers = [8, 24, 40, 24, 100, 33, 5000].map((bytes) => blocks.alloc(bytes, 64));
  expect(pointers.filter((ptr) => ptr % 64 !== 0)).toEqual([]);
  expect(manager.stats(0)?.blocks).toMatchObject({
    current: pointers.length,
    total: pointers.length + (alignsAll ? 0 : 1),
  });
  for (const ptr of pointers) host.slot.unlock(ptr, false);
});
