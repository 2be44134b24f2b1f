import { beforeAll, expect, test } from 'vitest';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

beforeAll(() => void compiled(), 120_000);

test.each(['Arena', 'Buddy', 'Caching', 'Default', 'Lru', 'Pool', 'PyTorch', 'Scratch', 'Slab', 'Tlsf'])(
  'a %sMemoryManager that was shut down keeps no tables, though somebody holds it',
  (kind) => {
    const { status, stdout, stderr } = runChild(
      `
        import * as managers from '${moduleUrl('managers/index.js')}';
        import { SimulatedDevice } from '${moduleUrl('adapters/devices/simulated.js')}';
        import { MemoryManagerDeviceInterface, MemoryRuntime } from '${moduleUrl('src/index.js')}';
        const { slot } = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
        const held = [];
        const swap = () => {
          const manager = new managers.${kind}MemoryManager(1, new MemoryManagerDeviceInterface());
          slot.install(manager);
          const blocks = Array.from({ length: 300 }, (_, i) => slot.alloc(100 + 20 * i, true));
          for (const block of blocks) slot.unlock(block, true);
          held.push(manager);
        };
        const used = () => {
          gc();
          gc();
          return process.memoryUsage();
        };
        // The first ones make what is made once.
        for (let i = 0; i < 3; i++) swap();
        const before = used();
        for (let i = 0; i < 50; i++) swap();
        const after = used();
        const grown = (field) => (after[field] - before[field]) / 50;
        console.log(JSON.stringify([grown('arrayBuffers') < 1000, grown('heapUsed') < 65000, held.at(-2).lifecycle.state]));
      `,
      { nodeArguments: ['--expose-gc'] },
    );
    expect([status, stderr, stdout.trim()]).toEqual([0, '', '[true,true,"stopped"]']);
  },
);
