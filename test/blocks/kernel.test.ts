import { beforeAll, describe, expect, test } from 'vitest';
import { MANAGER_LOCK, USER_LOCK } from '../../src/blocks/block-table.js';
import { kernel, UNKNOWN } from '../../src/blocks/kernel.js';
import { KERNEL_BYTES } from '../../src/blocks/kernel-bytes.js';
import { MiB } from '../../src/core/units.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';
import { TableBench } from './table-bench.js';

describe('kernel', () => {
  test('is what its sources compile to', async () => {
    const path = new URL('../../src/blocks/kernel/compile.mjs', import.meta.url).href;
    const { compileKernel } = (await import(path)) as { compileKernel(): Promise<string> };
    expect(await compileKernel(), 'run `npm run build:kernel`').toBe(KERNEL_BYTES);
  });

  describe('destroyHeap', () => {
    test('gives back all that a table took, whatever was made of it', () => {
      const round = () => {
        const heap = kernel.createHeap();
        const statistics = kernel.createStatistics(heap);
        const free = kernel.createFreeBlocks(heap, statistics, 0, 0, 16);
        kernel.addFront(free, 1024, 2 ** 20);
        for (let i = 1; i <= 5000; i++) kernel.putIn(free, kernel.createBlockAt(free, i * 4096, 64 + i * 16));
        kernel.destroyFreeBlocks(free);
        kernel.destroyStatistics(heap, statistics);
        kernel.destroyHeap(heap);
      };
      for (let i = 0; i < 5; i++) round();
      const before = kernel.memory.buffer.byteLength;
      for (let i = 0; i < 300; i++) round();
      expect(kernel.memory.buffer.byteLength).toBe(before);
    });
  });

  describe('holdAgain', () => {
    test.each([false, true])('undoes a release that the manager could not complete, with further users: %s', (hasUsers) => {
      const bench = new TableBench();
      const home = bench.free().leaveToManager();
      const block = bench.segment(512, home);
      const pointer = kernel.handOut(block, 500, USER_LOCK);
      if (hasUsers) kernel.setHasUsers(block, 1);
      const before = bench.stats.snapshot();
      expect(kernel.release(bench.table.heap, pointer, USER_LOCK)).toBe(block);
      expect(bench.stats.liveBlocks).toBe(0);
      kernel.holdAgain(block, USER_LOCK);
      expect(bench.stats.snapshot()).toMatchObject({ ...before, cachedBytes: { current: before.cachedBytes.current } });
      expect(bench.table.locksOf(block)).toBe(USER_LOCK);
    });
  });

  describe('release', () => {
    test.each([0, USER_LOCK])('knows no block where none is, whichever locks are cleared: %i', (locks) => {
      const { table } = new TableBench();
      const edge = () => [...new Uint32Array(kernel.memory.buffer, 0, 16)];
      const before = edge();
      expect(kernel.release(table.heap, 2 ** 40, locks)).toBe(UNKNOWN);
      // All tables share the row of null.
      expect(edge()).toEqual(before);
    });

    test('leaves a block with further users to the manager, as active until it is retired', () => {
      const bench = new TableBench();
      const home = bench.free();
      const pointer = kernel.handOut(bench.segment(512, home), 500, MANAGER_LOCK);
      const block = bench.table.findLive(pointer);
      kernel.setHasUsers(block, 1);
      expect(kernel.release(bench.table.heap, pointer, MANAGER_LOCK)).toBe(block);
      expect([bench.stats.allocatedBytes, bench.stats.activeBytes, bench.stats.cachedBytes, home.count]).toEqual([0, 512, 0, 0]);
      kernel.retire(block);
      expect([bench.stats.activeBytes, bench.stats.cachedBytes, home.toArray()]).toEqual([0, 512, [block]]);
      expect(kernel.release(bench.table.heap, kernel.allocate(home.place, 512, USER_LOCK), USER_LOCK)).toBe(1);
    });
  });

  describe('retire', () => {
    test('notes how many bytes are cached then', () => {
      const bench = new TableBench();
      const home = bench.free();
      const pointers = [1, 2].map(() => kernel.handOut(bench.segment(512, home), 500, MANAGER_LOCK));
      const blocks = pointers.map((pointer) => bench.table.findLive(pointer));
      for (const block of blocks) kernel.setHasUsers(block, 1);
      for (const pointer of pointers) kernel.release(bench.table.heap, pointer, MANAGER_LOCK);
      for (const block of blocks) kernel.retire(block);
      expect(bench.stats.snapshot().cachedBytes).toMatchObject({ current: 1024, peak: 1024 });
    });
  });

  describe('memory', () => {
    test('may move while counters are in use', () => {
      const bench = new TableBench();
      const free = bench.free();
      const block = bench.fill(512, free);
      kernel.allocate(free.place, 500, USER_LOCK);
      const before = kernel.memory.buffer;
      const others: TableBench[] = [];
      while (kernel.memory.buffer === before) {
        const other = new TableBench();
        others.push(other);
        for (let i = 0; i < 1000; i++) other.fill(512, other.free());
      }
      expect(bench.stats.snapshot()).toMatchObject({ requestedBytes: { current: 500 }, reservedBytes: { current: 512 } });
      bench.stats.reserved(512);
      expect([bench.stats.reservedBytes, bench.table.bytesOf(block)]).toEqual([1024, 512]);
    });
  });
});

describe('BlockTable', () => {
  beforeAll(() => void compiled(), 120_000);

  test('gives its memory in the kernel back when it is dropped', () => {
    const { status, stdout, stderr } = runChild(
      `
        import { BlockTable } from '${moduleUrl('src/blocks/block-table.js')}';
        import { kernel } from '${moduleUrl('src/blocks/kernel.js')}';
        function use() {
          const table = new BlockTable();
          const free = table.createFreeBlocks(table.createCounters(15), { device: 0, fit: 'exact' });
          free.addFront(1024, 2 ** 20);
          for (let i = 1; i <= 2000; i++) free.putIn(table.create(i * 4096, 16 * i, free));
          return table.metadataBytes;
        }
        const turn = () => new Promise((done) => setTimeout(done));
        let bytes = 0;
        for (let round = 0; round < 60; round++) {
          for (let i = 0; i < 20; i++) bytes += use();
          gc();
          await turn();
        }
        console.log(Math.floor(bytes / 2 ** 20), Math.ceil(kernel.memory.buffer.byteLength / 2 ** 20));
      `,
      { nodeArguments: ['--expose-gc'] },
    );
    expect([status, stderr]).toEqual([0, '']);
    const [usedMib, heldMib] = stdout.split(' ').map(Number) as [number, number];
    expect(usedMib * MiB).toBeGreaterThan(200 * MiB);
    expect(heldMib).toBeLessThan(usedMib / 10);
  });
});
