import { describe, expect, test } from 'vitest';
import { NONE, USER_LOCK } from '../../src/blocks/block-rows.js';
import { ensure } from '../../src/blocks/ensure.js';
import { openKernel } from '../../src/blocks/kernel.js';
import { HOLE, INDEXED } from '../../src/blocks/kernel-interface.js';
import { memoryError } from '../core/fakes.js';
import { broken, HeapBench, small } from './heap-bench.js';

describe('DeviceHeap', () => {
  describe('checkInvariants', () => {
    /** A segment of two blocks of 512 bytes. */
    const pair = () => {
      const { bench, heap, home } = small();
      const [first, second] = bench.cut([512, 512], home) as [number, number];
      heap.checkInvariants();
      return { bench, heap, home, first, second };
    };

    test('throws when a holder has asked for more than the block has', () => {
      const { heap, first } = pair();
      heap.handOut(first, 513, USER_LOCK);
      expect(() => heap.checkInvariants()).toThrow(broken(`requested <= bytes of block ${first}`));
    });

    test('throws when a block is not found under its address', () => {
      const { bench, heap, home } = small();
      const block = bench.segment(512, home);
      bench.heap.handOut(block, 16, USER_LOCK);
      const other = heap.create(heap.addressOf(block), 16, home);
      bench.heap.handOut(other, 16, USER_LOCK);
      const lost = heap.findLive(heap.addressOf(block)) === block ? other : block;
      expect(() => heap.checkInvariants()).toThrow(broken(`block ${lost} is found under its address`));
    });

    test.each(['first', 'second'] as const)('throws when a block is linked to one that is gone, the %s of two', (which) => {
      const blocks = pair();
      blocks.heap.remove(blocks[which]);
      expect(() => blocks.heap.checkInvariants()).toThrow(memoryError('ERR_MEM_INVARIANT'));
    });

    // Where a row has its fields, as kernel/layout.ts lays them out.
    const corruptions: [string, (rows: DataView, first: number, second: number) => void, RegExp][] = [
      ['has no bytes', (rows, _, second) => rows.setFloat64(second + 8, 0, true), /^block \d+ has bytes$/],
      ['has NaN bytes', (rows, _, second) => rows.setFloat64(second + 8, Number.NaN, true), /^block \d+ has bytes$/],
      [
        'ends before the next begins',
        (rows, first) => rows.setFloat64(first + 8, 256, true),
        /^block \d+ begins where \d+ ends$/,
      ],
      ['begins elsewhere', (rows, _, second) => rows.setFloat64(second, 4096, true), /^block \d+ begins where \d+ ends$/],
      ['has no previous one', (rows, _, second) => rows.setUint32(second + 24, 0, true), /^previous\(next\(\d+\)\) == \d+$/],
      ['follows half a row', (rows, first) => rows.setUint32(first + 24, first + 32, true), /^the block before \d+ exists$/],
      ['follows what is far away', (rows, first) => rows.setUint32(first + 24, 4, true), /^the block before \d+ exists$/],
      [
        'is followed by half a row',
        (rows, first) => rows.setUint32(first + 28, first + 32, true),
        /^the block behind \d+ exists$/,
      ],
      ['is in bins and found', (rows, first) => rows.setUint32(first + 32, INDEXED, true), /^block \d+ is in bins and not found/],
    ];

    test.each(corruptions)('throws when a block %s', (_, corrupt, invariant) => {
      const bench = new HeapBench();
      const [first, second] = bench.cut([512, 512], bench.heap.keptByPolicy) as [number, number];
      bench.heap.checkInvariants();
      corrupt(new DataView(openKernel().memory.buffer), first, second);
      expect(() => bench.heap.checkInvariants()).toThrow(broken(expect.stringMatching(invariant)));
    });

    test('throws when a block belongs to another device', () => {
      const { heap } = small();
      const block = heap.create(4096, 512, heap.keptByPolicy);
      const rows = new DataView(openKernel().memory.buffer);
      rows.setUint32(block + 40, openKernel().createFreeBlocks(openKernel().createHeap(7), 0, 16), true);
      expect(() => heap.checkInvariants()).toThrow(broken(`block ${block} is on device 0`));
    });
  });

  describe('sums', () => {
    test('are those of a walk over all blocks', () => {
      const { bench, heap, home } = small();
      const [held, binned, unjoined, apart] = bench.cut([512, 256, 128, 64], home) as [number, number, number, number];
      heap.handOut(held, 500, USER_LOCK);
      expect([heap.memoryBytes, heap.liveBytes, heap.inBins, heap.firstUnjoined]).toEqual([960, 512, 0, NONE]);
      home.putIn(binned);
      expect([heap.memoryBytes, heap.liveBytes, heap.inBins, heap.firstUnjoined]).toEqual([960, 512, 1, NONE]);
      home.putIn(unjoined);
      expect([heap.memoryBytes, heap.liveBytes, heap.inBins, heap.firstUnjoined]).toEqual([960, 512, 2, binned]);
      openKernel().setState(apart, HOLE);
      expect([heap.memoryBytes, heap.liveBytes]).toEqual([896, 512]);
    });

    test('do not join neighbours of different groups', () => {
      const { bench, heap, home } = small();
      const [first, second] = bench.cut([512, 512], home) as [number, number];
      home.putIn(first);
      bench.free({ group: 1 }).putIn(second);
      expect([heap.inBins, heap.firstUnjoined]).toEqual([2, NONE]);
    });
  });
});

describe('ensure', () => {
  test('throws the invariant that does not hold', () => {
    ensure(true, 'never');
    expect(() => ensure(false, 'a == b')).toThrow(broken('a == b'));
  });
});
