import { beforeAll, describe, expect, test } from 'vitest';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

// Young objects are not collected while they are counted.
const NODE_ARGUMENTS = ['--expose-gc', '--min-semi-space-size=64', '--max-semi-space-size=64'];

beforeAll(() => void compiled(), 120_000);

describe('slot.alloc and slot.unlock', () => {
  test.each([
    ['CachingMemoryManager', 'caching/caching'],
    ['TlsfMemoryManager', 'tlsf/tlsf'],
    ['PoolMemoryManager', 'pool/pool'],
    ['PyTorchMemoryManager', 'pytorch/pytorch'],
  ])('make no garbage once V8 has compiled them: %s', (name, path) => {
    const { status, stdout, stderr } = runChild(
      `
        import '${moduleUrl('src/defaults.js')}';
        import { SimulatedDevice } from '${moduleUrl('adapters/devices/simulated.js')}';
        import { ${name} } from '${moduleUrl(`managers/${path}-memory-manager.js`)}';
        import { MemoryManagerDeviceInterface } from '${moduleUrl('src/core/device-interface.js')}';
        import { MemoryManagerInstaller } from '${moduleUrl('src/core/memory-manager-installer.js')}';
        import { MemoryRuntime } from '${moduleUrl('src/runtime/memory-runtime.js')}';
        const runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
        new MemoryManagerInstaller(new ${name}(1, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
        const pointers = new Float64Array(64);
        function calls(slot, pairs) {
          for (let i = 0; i < pairs; i++) {
            const at = (i * 37) & 63;
            if (pointers[at] !== 0) slot.unlock(pointers[at], true);
            pointers[at] = slot.alloc(100 + ((i * 7919) % 50) * 700, true);
          }
        }
        // V8 compiles on another thread: until it has, calls make garbage.
        const pairs = 50_000;
        let least = Infinity;
        for (let round = 0; round < 100 && least >= 1; round++) {
          gc();
          const before = process.memoryUsage().heapUsed;
          calls(runtime.slot, pairs);
          least = Math.min(least, (process.memoryUsage().heapUsed - before) / pairs);
          await new Promise((done) => setTimeout(done, 5));
        }
        console.log(least < 1 ? 'none' : least + ' B a pair');
      `,
      { nodeArguments: NODE_ARGUMENTS },
    );
    expect([status, stderr, stdout.trim()]).toEqual([0, '', 'none']);
  });
});
