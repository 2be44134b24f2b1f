import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DTYPES } from '../../../src/model/dtypes.js';
import { elementsOf, TensorLayout } from '../../../src/model/tensors/tensor-layout.js';
import { codeOf } from '../../fixtures/code-of.js';
import { atLeast } from '../../fixtures/same.js';

/** The places of all elements, computed index by index. */
function places({ shape, stridesBytes, offsetBytes }: TensorLayout): number[] {
  let all = [offsetBytes];
  shape.forEach((length, dimension) => {
    all = all.flatMap((at) => Array.from({ length }, (_, i) => at + i * stridesBytes[dimension]!));
  });
  return all;
}

/** The same as the layout itself tells it. */
function visited(layout: TensorLayout): number[] {
  const all: number[] = [];
  let expected = 0;
  layout.forEachRun((spanOffset, packedOffset, bytes) => {
    expect(packedOffset).toBe(expected);
    expect(spanOffset + bytes).toBeLessThanOrEqual(layout.spanBytes);
    expected += bytes;
    for (let at = 0; at < bytes; at += layout.dtype.blockBytes) all.push(layout.offsetBytes + spanOffset + at);
  });
  expect(expected).toBe(layout.bytes);
  return all;
}

const step = fc.record({ kind: fc.constantFrom('slice', 'permute', 'reshape'), a: fc.nat(), b: fc.nat(), c: fc.nat() });

function apply(layout: TensorLayout, { kind, a, b, c }: { kind: string; a: number; b: number; c: number }): TensorLayout {
  const { shape } = layout;
  if (kind === 'slice') {
    const dimension = a % shape.length;
    const from = b % (shape[dimension]! + 1);
    return layout.slice(dimension, from, from + (c % (shape[dimension]! - from + 1)));
  }
  if (kind === 'permute') return layout.transpose(a % shape.length, b % shape.length);
  return layout.isPacked ? layout.reshape([elementsOf(shape)]).reshape(shape) : layout;
}

describe('TensorLayout', () => {
  test('views of views name the elements that their indexes say', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
        fc.array(step, { maxLength: 4 }),
        (shape, steps) => {
          const packed = TensorLayout.packed(DTYPES.f32, shape, 64);
          const layout = steps.reduce(apply, packed);
          const at = places(layout);
          expect(visited(layout)).toEqual(at);
          expect(layout.isPacked).toBe(at.every((place, i) => place === layout.offsetBytes + 4 * i));
          for (const place of at) {
            atLeast(place, 64);
            atLeast(64 + packed.bytes, place + 4);
          }
          if (at.length > 0) expect(Math.max(...at) + 4 - layout.offsetBytes).toBe(layout.spanBytes);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('a permutation names the dimensions of the source', () => {
    const layout = TensorLayout.packed(DTYPES.u8, [2, 3, 4]).permute([2, 0, 1]);
    expect([layout.shape, layout.stridesBytes]).toEqual([
      [4, 2, 3],
      [1, 12, 4],
    ]);
  });

  test('quantised rows are cut between blocks', () => {
    const layout = TensorLayout.packed(DTYPES.q4_0, [3, 4, 128]);
    const cut = layout.slice(2, 32, 96);
    expect([cut.shape, cut.offsetBytes, cut.bytes, cut.isPacked]).toEqual([[3, 4, 64], 18, 3 * 4 * 36, false]);
    expect(visited(cut).length).toBe(24);
    expect(layout.transpose(0, 1).shape).toEqual([4, 3, 128]);
    expect(codeOf(() => layout.slice(2, 16, 48))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => layout.transpose(1, 2))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test.each<[string, (layout: TensorLayout) => unknown]>([
    ['a slice beyond the end', (layout) => layout.slice(0, 1, 3)],
    ['a slice backwards', (layout) => layout.slice(0, 2, 1)],
    ['a slice from -1', (layout) => layout.slice(0, -1, 1)],
    ['a slice of half an index', (layout) => layout.slice(0, 0.5, 1)],
    ['a dimension that it has not', (layout) => layout.slice(2, 0, 1)],
    ['a dimension of -1', (layout) => layout.transpose(-1, 0)],
    ['a dimension twice', (layout) => layout.permute([0, 0])],
    ['too few dimensions', (layout) => layout.permute([0])],
    ['a shape of other elements', (layout) => layout.reshape([5])],
    ['another shape of what has gaps', (layout) => layout.transpose(0, 1).reshape([6])],
  ])('refuses %s', (_, make) => {
    expect(codeOf(() => make(TensorLayout.packed(DTYPES.f32, [2, 3])))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });
});
