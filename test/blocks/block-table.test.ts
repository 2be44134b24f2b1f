import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockTable, ensure, MANAGER_LOCK, NONE, REFERENCE_LOCK, USER_LOCK } from '../../src/blocks/block-table.js';
import { memoryError } from '../core/fakes.js';

interface ModelBlock {
  readonly block: number;
  readonly address: number;
  bytes: number;
  readonly device: number;
  readonly pool: number;
}

type Step =
  | { readonly do: 'create'; readonly bytes: number; readonly device: number; readonly pool: number }
  | { readonly do: 'split'; readonly segment: number; readonly at: number; readonly share: number }
  | { readonly do: 'absorb' | 'remove'; readonly segment: number; readonly at: number };

const place = { segment: fc.nat(), at: fc.nat() };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      bytes: fc.integer({ min: 1, max: 2 ** 40 }),
      device: fc.constantFrom(0, 1, 255, 65_535),
      pool: fc.constantFrom(0, 1, 255),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('split' as const), ...place, share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('absorb' as const, 'remove' as const), ...place }) },
);

/** A table beside a list of segments, each a list of blocks. */
class Modelled {
  readonly table = new BlockTable();
  readonly segments: ModelBlock[][] = [];
  #address = 2 ** 32;

  perform(step: Step): void {
    if (step.do === 'create') {
      const { bytes, device, pool } = step;
      const block = this.table.create(this.#address, bytes, device);
      this.table.setPool(block, pool);
      this.segments.push([{ block, address: this.#address, bytes, device, pool }]);
      this.#address += bytes;
      return;
    }
    if (this.segments.length === 0) return;
    const index = step.segment % this.segments.length;
    const segment = this.segments[index]!;
    const at = step.at % segment.length;
    const target = segment[at]!;
    if (step.do === 'split') {
      const bytes = Math.max(1, Math.floor(target.bytes * step.share));
      if (bytes >= target.bytes) return;
      const rest = this.table.split(target.block, bytes);
      segment.splice(at + 1, 0, { ...target, block: rest, address: target.address + bytes, bytes: target.bytes - bytes });
      target.bytes = bytes;
    } else if (step.do === 'absorb') {
      if (at + 1 === segment.length) return;
      this.table.absorbNext(target.block);
      target.bytes += segment.splice(at + 1, 1)[0]!.bytes;
    } else if (segment.length === 1) {
      this.table.remove(target.block);
      this.segments.splice(index, 1);
    }
  }

  check(): void {
    const { table } = this;
    table.checkInvariants();
    const wanted = this.segments.flatMap((segment) =>
      segment.map(({ block, address, bytes, device, pool }, at) => {
        const [previous, next] = [segment[at - 1]?.block ?? NONE, segment[at + 1]?.block ?? NONE];
        return [block, address, bytes, device, pool, previous, next, segment.length === 1].join();
      }),
    );
    const found = [...table].map((block) =>
      [
        block,
        table.addressOf(block),
        table.bytesOf(block),
        table.deviceOf(block),
        table.poolOf(block),
        table.previousOf(block),
        table.nextOf(block),
        table.isWholeSegment(block),
      ].join(),
    );
    if (found.sort().join(' ') !== wanted.sort().join(' ')) expect(found).toEqual(wanted);
    if (table.count !== wanted.length) expect(table.count).toBe(wanted.length);
  }
}

describe('BlockTable', () => {
  test('agrees with a list of segments after every step of any program', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (program) => {
        const modelled = new Modelled();
        for (const each of program) {
          modelled.perform(each);
          modelled.check();
        }
      }),
      { numRuns: 80 },
    );
  });

  test('keeps every block when it grows', () => {
    const table = new BlockTable();
    for (let i = 0; i < 5000; i++) table.create(512 * (i + 1), 512, i % 7);
    expect(table.count).toBe(5000);
    expect(table.addressOf(4999)).toBe(512 * 5000);
    expect([...table]).toHaveLength(5000);
    table.checkInvariants();
  });

  test('uses the rows of removed blocks again', () => {
    const table = new BlockTable();
    const blocks = Array.from({ length: 300 }, (_, i) => table.create(512 * (i + 1), 512, 0));
    for (const block of blocks) table.remove(block);
    expect([table.count, table.exists(blocks[7]!)]).toEqual([0, false]);
    const before = table.metadataBytes;
    for (let i = 0; i < 300; i++) table.create(512 * (i + 1), 512, 0);
    expect([table.rows, table.metadataBytes]).toEqual([300, before]);
  });

  describe('take', () => {
    test('makes a block live with locks and requested bytes until all locks are clear', () => {
      const table = new BlockTable();
      const block = table.create(4096, 1024, 3);
      expect([table.isFree(block), table.requestedOf(block)]).toEqual([true, 0]);
      table.take(block, 1000, USER_LOCK | REFERENCE_LOCK);
      expect([table.isFree(block), table.requestedOf(block), table.locksOf(block)]).toEqual([false, 1000, 6]);
      table.setLocks(block, MANAGER_LOCK);
      expect(table.isFree(block)).toBe(false);
      table.setLocks(block, 0);
      expect(table.isFree(block)).toBe(true);
    });
  });

  describe('checkInvariants', () => {
    test('throws when a holder has asked for more than the block has', () => {
      const table = new BlockTable();
      table.take(table.create(4096, 512, 0), 513, USER_LOCK);
      expect(() => table.checkInvariants()).toThrow(
        memoryError('ERR_MEM_INVARIANT', { invariant: 'requested <= bytes of block 0' }),
      );
    });
  });
});

describe('ensure', () => {
  test('throws the invariant that does not hold', () => {
    ensure(true, 'never');
    expect(() => ensure(false, 'a == b')).toThrow(memoryError('ERR_MEM_INVARIANT', { invariant: 'a == b' }));
  });
});
