import { beforeAll, expect, test } from 'vitest';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

const KINDS = ['Arena', 'Buddy', 'Caching', 'Default', 'Lru', 'Pool', 'PyTorch', 'Scratch', 'Slab', 'Tlsf'];

/** What a manager of each kind costs that is held though it was shut down. */
let grown: Readonly<Record<string, { readonly arrayBuffers: number; readonly heapUsed: number; readonly state: string }>>;

beforeAll(() => {
  compiled();
  const { status, stdout, stderr } = runChild(
    `
      import * as managers from '${moduleUrl('managers/index.js')}';
      import { SimulatedDevice } from '${moduleUrl('adapters/devices/simulated.js')}';
      import { MemoryManagerDeviceInterface, MemoryRuntime } from '${moduleUrl('src/index.js')}';
      const used = () => {
        gc();
        gc();
        return process.memoryUsage();
      };
      const measure = (kind) => {
        const { slot } = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
        const held = [];
        const swap = () => {
          const manager = new managers[kind + 'MemoryManager'](1, new MemoryManagerDeviceInterface());
          slot.install(manager);
          const blocks = Array.from({ length: 300 }, (_, i) => slot.alloc(100 + 20 * i, true));
          for (const block of blocks) slot.unlock(block, true);
          held.push(manager);
        };
        // The first ones make what is made once.
        for (let i = 0; i < 3; i++) swap();
        const before = used();
        for (let i = 0; i < 50; i++) swap();
        const after = used();
        const grown = (field) => (after[field] - before[field]) / 50;
        return { arrayBuffers: grown('arrayBuffers'), heapUsed: grown('heapUsed'), state: held.at(-2).lifecycle.state };
      };
      console.log(JSON.stringify(Object.fromEntries(${JSON.stringify(KINDS)}.map((kind) => [kind, measure(kind)]))));
    `,
    { nodeArguments: ['--expose-gc'] },
  );
  expect([status, stderr]).toEqual([0, '']);
  grown = JSON.parse(stdout);
}, 120_000);

test.each(KINDS)('a %sMemoryManager that was shut down keeps no tables, though somebody holds it', (kind) => {
  const { arrayBuffers, heapUsed, state } = grown[kind]!;
  expect(arrayBuffers).toBeLessThan(1000);
  expect(heapUsed).toBeLessThan(65_000);
  expect(state).toBe('stopped');
});
