import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ALL_CACHED, ReleaseBounds } from '../../src/blocks/release-bounds.js';

const ANY = Number.POSITIVE_INFINITY;

/** Gives pieces back by bounds. @returns what went of each, in order */
function given(sizes: readonly number[], bounds: ReleaseBounds, unit = 0): [piece: number, bytes: number][] {
  const gone: [number, number][] = [];
  bounds.giveBack(
    sizes.map((_, piece) => piece),
    {
      bytesOf: (piece) => sizes[piece]!,
      release: (piece, bytes) => gone.push([piece, bytes]),
      unitOf: () => unit,
    },
  );
  return gone;
}
const sum = (gone: readonly [number, number][]) => gone.reduce((all, [, bytes]) => all + bytes, 0);

describe('ReleaseBounds', () => {
  describe('giveBack', () => {
    test('gives every piece back in its order when nothing bounds it', () => {
      expect(given([3, 9, 0, 5], ALL_CACHED)).toEqual([
        [0, 3],
        [1, 9],
        [3, 5],
      ]);
    });

    test.each<[string, number[], [number, number], [number, number][]]>([
      ['the smallest piece that suffices', [20, 7, 3, 8], [6, ANY], [[1, 7]]],
      [
        'the largest pieces until one suffices',
        [2, 9, 8, 3],
        [10, ANY],
        [
          [1, 9],
          [0, 2],
        ],
      ],
      [
        'smaller pieces when a larger one would exceed the most',
        [20, 4, 5, 3],
        [8, 10],
        [
          [2, 5],
          [3, 3],
        ],
      ],
      ['nothing when every piece exceeds the most', [20, 30], [1, 19], []],
      ['a piece of just the most', [20, 30], [1, 20], [[0, 20]]],
    ])('gives back %s', (_, sizes, [wanted, most], expected) => {
      expect(given(sizes, new ReleaseBounds(wanted, most))).toEqual(expected);
    });

    test('cuts what is wanted off a piece that can be cut, in whole units', () => {
      expect(given([40, 400], new ReleaseBounds(31, ANY), 10)).toEqual([[0, 40]]);
      expect(given([100, 400], new ReleaseBounds(31, ANY), 10)).toEqual([[0, 40]]);
      expect(given([100, 400], new ReleaseBounds(31, 39), 10)).toEqual([[1, 30]]);
    });

    test('leaves a piece alone that has gone or grown since, and goes on after a failure', () => {
      const sizes = [5, 6, 7];
      const gone: number[] = [];
      const release = () =>
        new ReleaseBounds(18, 18).giveBack([0, 1, 2], {
          bytesOf: (piece) => sizes[piece]!,
          release: (piece) => {
            gone.push(piece);
            sizes[1] = 60;
            throw new Error(`piece ${piece} is refused`);
          },
        });
      expect(release).toThrow('piece 2 is refused');
      expect(gone).toEqual([2, 0]);
    });

    test('keeps its bounds for any pieces: enough went, or nothing that is left fits', () => {
      const size = fc.integer({ min: 0, max: 60 });
      fc.assert(
        fc.property(fc.array(size, { maxLength: 12 }), size, size, fc.constantFrom(0, 1, 4), (sizes, wanted, most, unit) => {
          const pieces = unit === 0 ? sizes : sizes.map((bytes) => bytes * unit);
          const gone = given(pieces, new ReleaseBounds(wanted, most), unit);
          const gave = sum(gone);
          expect(gave).toBeLessThanOrEqual(most);
          expect(new Set(gone.map(([piece]) => piece)).size).toBe(gone.length);
          const left = pieces.map((bytes, piece) => bytes - (gone.find(([one]) => one === piece)?.[1] ?? 0));
          if (gave < wanted) for (const bytes of left) if (bytes > 0) expect(unit || bytes).toBeGreaterThan(most - gave);
          // No piece went for nothing.
          for (const [, bytes] of gone) expect(gave - bytes).toBeLessThan(wanted);
        }),
        { numRuns: 500 },
      );
    });
  });

  describe('inTurn', () => {
    test('lets pieces go in turn until enough did, and none that would exceed the most', () => {
      const goes = new ReleaseBounds(10, 12).inTurn();
      expect([4, 9, 5, 4, 3, 1].map((bytes) => goes(bytes))).toEqual([true, false, true, false, true, false]);
    });
  });
});
