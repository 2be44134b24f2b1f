import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { MANAGER_LOCK, USER_LOCK } from '../../src/blocks/block-rows.js';
import { openKernel } from '../../src/blocks/kernel.js';
import { NOT_LIVE } from '../../src/blocks/kernel-interface.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';
import { HeapBench } from './heap-bench.js';

const kernel = openKernel();

describe('kernel', () => {
  test('is what its sources compile to, and what TypeScript knows of it, too', () => {
    const path = new URL('../../src/blocks/kernel/compile.mjs', import.meta.url).href;
    // Optimising the compiler, which is WebAssembly, would take longer than it runs.
    const { stdout, stderr } = runChild(
      `import { compileKernel } from '${path}'; console.log(JSON.stringify(await compileKernel()));`,
      { nodeArguments: ['--liftoff-only'] },
    );
    expect(stderr).toBe('');
    const files = Object.entries(JSON.parse(stdout) as Record<string, string>);
    expect(files.map(([name]) => name)).toEqual(['kernel-bytes.ts', 'kernel-interface.ts']);
    for (const [name, text] of files) {
      const committed = readFileSync(new URL(`../../src/blocks/${name}`, import.meta.url), 'utf8');
      expect(committed === text, `src/blocks/${name} is not what npm run build:kernel writes`).toBe(true);
    }
  });

  describe('holdAgain', () => {
    test.each([false, true])('undoes a release that the manager could not complete, with further users: %s', (hasUsers) => {
      const bench = new HeapBench();
      const { keptByPolicy: home } = bench.heap;
      const block = bench.segment(512, home);
      const pointer = bench.heap.handOut(block, 500, USER_LOCK);
      if (hasUsers) bench.heap.setUsed(block);
      const before = bench.stats.snapshot();
      expect(bench.heap.release(pointer, USER_LOCK)).toBe(block);
      expect(bench.stats.liveBlocks).toBe(0);
      bench.heap.holdAgain(block, USER_LOCK);
      expect(bench.stats.snapshot()).toMatchObject({ ...before, cachedBytes: { current: before.cachedBytes.current } });
      expect(bench.heap.locksOf(block)).toBe(USER_LOCK);
    });
  });

  describe('release', () => {
    test.each([0, USER_LOCK])('knows no block where none is, whichever locks are cleared: %i', (locks) => {
      const { heap } = new HeapBench();
      const edge = () => [...new Uint32Array(kernel.memory.buffer, 0, 16)];
      const before = edge();
      expect(heap.release(2 ** 40, locks)).toBe(NOT_LIVE);
      // All tables share the row of null.
      expect(edge()).toEqual(before);
    });

    test('leaves a block with further users to the manager, as active until it is retired', () => {
      const bench = new HeapBench();
      const home = bench.free();
      const pointer = bench.heap.handOut(bench.segment(512, home), 500, MANAGER_LOCK);
      const block = bench.heap.findLive(pointer);
      bench.heap.setUsed(block);
      expect(bench.heap.release(pointer, MANAGER_LOCK)).toBe(block);
      expect([bench.stats.allocatedBytes, bench.stats.activeBytes, bench.stats.cachedBytes, home.count]).toEqual([0, 512, 0, 0]);
      bench.heap.retire(block);
      expect([bench.stats.activeBytes, bench.stats.cachedBytes, home.toArray()]).toEqual([0, 512, [block]]);
      expect(bench.heap.release(home.allocate(512, USER_LOCK), USER_LOCK)).toBe(1);
    });
  });

  describe('retire', () => {
    test('notes how many bytes are cached then', () => {
      const bench = new HeapBench();
      const home = bench.free();
      const pointers = [1, 2].map(() => bench.heap.handOut(bench.segment(512, home), 500, MANAGER_LOCK));
      const blocks = pointers.map((pointer) => bench.heap.findLive(pointer));
      for (const block of blocks) bench.heap.setUsed(block);
      for (const pointer of pointers) bench.heap.release(pointer, MANAGER_LOCK);
      for (const block of blocks) bench.heap.retire(block);
      expect(bench.stats.snapshot().cachedBytes).toMatchObject({ current: 1024, peak: 1024 });
    });
  });

  describe('memory', () => {
    test('may move while counters are in use', () => {
      const bench = new HeapBench();
      const free = bench.free();
      const block = bench.fill(512, free);
      free.allocate(500, USER_LOCK);
      const before = kernel.memory.buffer;
      const others: HeapBench[] = [];
      while (kernel.memory.buffer === before) {
        const other = new HeapBench();
        others.push(other);
        for (let i = 0; i < 1000; i++) other.fill(512, other.free());
      }
      expect(bench.stats.snapshot()).toMatchObject({ requestedBytes: { current: 500 }, reservedBytes: { current: 512 } });
      bench.stats.reserved(512);
      expect([bench.stats.reservedBytes, bench.heap.bytesOf(block)]).toEqual([1024, 512]);
    });
  });
});

describe('DeviceHeap', () => {
  beforeAll(() => void compiled(), 120_000);

  test('gives its memory in the kernel back when nothing is left that could use it', () => {
    const { status, stdout, stderr } = runChild(
      `
        import { DeviceHeap } from '${moduleUrl('src/blocks/device-heap.js')}';
        import { openKernel } from '${moduleUrl('src/blocks/kernel.js')}';
        import assert from 'node:assert';
        function fill() {
          const heap = new DeviceHeap(0);
          const free = heap.createFreeBlocks({ fit: 'exact' });
          free.addFront(1024, 2 ** 20);
          for (let i = 1; i <= 2000; i++) free.putIn(heap.create(i * 4096, 16 * i, free));
          return [free, heap.metadataBytes];
        }
        const turn = () => new Promise((done) => setTimeout(done));
        const [kept] = fill();
        let used = 0;
        for (let round = 0; round < 60; round++) {
          for (let i = 0; i < 20; i++) used += fill()[1];
          gc();
          await turn();
        }
        assert.deepEqual([kept.isSound, kept.count], [true, 2000]);
        console.log(Math.floor(used / 2 ** 20), Math.ceil(openKernel().memory.buffer.byteLength / 2 ** 20));
      `,
      { nodeArguments: ['--expose-gc'] },
    );
    expect([status, stderr]).toEqual([0, '']);
    const [usedMib, heldMib] = stdout.split(' ').map(Number) as [number, number];
    expect(usedMib).toBeGreaterThan(200);
    expect(heldMib).toBeLessThan(usedMib / 10);
  });
});
