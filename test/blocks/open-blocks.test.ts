import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NONE } from '../../src/blocks/block-table.js';
import { kernel } from '../../src/blocks/kernel.js';
import { TableBench } from './table-bench.js';

const UNIT_BYTES = 16;

/** A range of units, each of them taken, free or without memory, and what should be in which bins of it. */
class Range {
  readonly bench = new TableBench();
  readonly free = this.bench.free({ fit: 'exact' });
  readonly holes = this.bench.free({ fit: 'exact', group: -1 }).holdHoles();

  constructor(kind: 'beside holes' | 'whole segments') {
    this.free.addOpenBlocks(kind);
  }

  get table() {
    return this.bench.table;
  }

  /** Those of the blocks in bins that pass, by size, then address. */
  freeBlocks(passes: (block: number) => boolean): number[] {
    const { table } = this;
    const found = [...table].filter((block) => this.free.has(block) && passes(block));
    return found.sort((a, b) => table.bytesOf(a) - table.bytesOf(b) || table.addressOf(a) - table.addressOf(b));
  }

  /** Takes memory away behind a free block, or gives it to a hole, as a pool does: whole blocks at a time. */
  exchange(block: number): void {
    const { table, free, holes } = this;
    const [from, to] = table.isHole(block) ? [holes, free] : [free, holes];
    from.takeOut(block);
    // Neighbours learn what they lie beside when they come in.
    const around = [table.previousOf(block), table.nextOf(block)].filter((each) => free.has(each));
    for (const each of around) free.takeOut(each);
    to.join(block);
    for (const each of around) if (table.find(table.addressOf(each)) === each && !table.isInBins(each)) free.join(each);
  }

  check(wanted: readonly number[]): void {
    const { free, holes, table } = this;
    table.checkInvariants();
    if (!free.isSound || !holes.isSound) expect.fail('unsound');
    const open = Array.from({ length: free.openCount }, (_, position) => free.openAt(position));
    if (open.join() !== wanted.join()) expect(open).toEqual(wanted);
    for (const bytes of [0, UNIT_BYTES, 3 * UNIT_BYTES, 10 * UNIT_BYTES, 2 ** 50]) {
      const position = wanted.filter((block) => table.bytesOf(block) < bytes).length;
      if (free.openPositionOf(bytes) !== position) expect(free.openPositionOf(bytes), `${bytes} bytes`).toBe(position);
    }
  }
}

const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ add: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 5, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 5, arbitrary: fc.record({ back: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ exchange: fc.nat() }) },
);

/** Runs programs of taking and giving back. @param open - which of the blocks in bins should be listed */
function run(kind: 'beside holes' | 'whole segments', open: (range: Range) => (block: number) => boolean): void {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (program) => {
      const range = new Range(kind);
      const { free, holes, bench } = range;
      const taken: number[] = [];
      for (const each of program) {
        if ('add' in each) bench.fill(each.add * UNIT_BYTES, free);
        else if ('take' in each) {
          const block = free.take(each.take * UNIT_BYTES);
          if (block !== NONE) taken.push(block);
        } else if ('back' in each) {
          const [block] = taken.splice(each.back % Math.max(taken.length, 1), 1);
          if (block !== undefined) free.join(block);
        } else if (kind === 'beside holes') {
          const all = [...free.toArray(), ...holes.toArray()];
          if (all.length > 0) range.exchange(all[each.exchange % all.length]!);
        }
        range.check(range.freeBlocks(open(range)));
      }
    }),
    { numRuns: 80 },
  );
}

describe('FreeBlocks', () => {
  describe('addOpenBlocks', () => {
    test('lists whole segments in the order of size, then address, after every step of any program', () => {
      run(
        'whole segments',
        ({ table }) =>
          (block) =>
            table.isWholeSegment(block),
      );
    });

    test('lists blocks beside holes in the order of size, then address, after every step of any program', () => {
      run(
        'beside holes',
        ({ table }) =>
          (block) =>
            table.isHole(table.previousOf(block)) || table.isHole(table.nextOf(block)),
      );
    });

    test('lists hundreds of blocks', () => {
      const range = new Range('whole segments');
      const blocks = Array.from({ length: 500 }, (_, i) => range.bench.fill(16 * (1 + ((i * 7919) % 50)), range.free));
      range.check(range.freeBlocks(() => true));
      blocks.forEach((block, i) => {
        if (i % 3 !== 0) range.free.takeOut(block);
      });
      range.check(range.freeBlocks(() => true));
      expect(range.free.openCount).toBe(167);
    });

    test('takes its list along when blocks move to others that have none, and back', () => {
      const range = new Range('whole segments');
      const plain = range.bench.free({ group: 1 });
      for (let i = 1; i < 10; i++) range.bench.fill(16 * i, range.free);
      range.free.moveAllTo(plain);
      expect([range.free.openCount, range.free.count, plain.count, plain.isSound]).toEqual([0, 0, 9, true]);
      plain.moveAllTo(range.free);
      range.check(range.freeBlocks(() => true));
      expect(range.free.openCount).toBe(9);
    });
  });

  describe('holdHoles', () => {
    const beside = () => {
      const range = new Range('beside holes');
      const [left, hole, right] = range.bench.cut([64, 128, 256], range.free) as [number, number, number];
      range.holes.putIn(hole);
      return { range, ...range, table: range.table, left, hole, right };
    };

    test('makes blocks holes, which are no free blocks and are found by size', () => {
      const { table, holes, free, hole, left } = beside();
      expect([table.isHole(hole), table.isHole(left), table.isHole(NONE), table.isInBins(hole)]).toEqual([
        true,
        false,
        false,
        false,
      ]);
      expect([holes.has(hole), free.has(hole), holes.fit(100), holes.fit(129)]).toEqual([false, false, hole, NONE]);
      holes.takeOut(hole);
      expect([table.isHole(hole), holes.count]).toEqual([false, 0]);
    });

    test('keeps free blocks from being joined with holes', () => {
      const { range, bench, free, holes, left, right } = beside();
      free.join(left);
      free.join(right);
      expect([bench.sizes(free.toArray()), bench.sizes(holes.toArray())]).toEqual([[64, 256], [128]]);
      range.check([left, right]);
    });
  });

  describe('isSound', () => {
    test('is false when a block came to lie beside a hole and was not told', () => {
      const range = new Range('beside holes');
      const [left, middle] = range.bench.cut([64, 128], range.free) as [number, number];
      range.free.putIn(left);
      expect(range.free.isSound).toBe(true);
      range.holes.putIn(middle);
      expect(range.free.isSound).toBe(false);
    });

    test('is false when an open block changes its size', () => {
      const range = new Range('whole segments');
      const blocks = [32, 48, 64].map((bytes) => range.bench.fill(bytes, range.free));
      kernel.split(blocks[2]!, 16);
      expect(range.free.isSound).toBe(false);
    });
  });
});
