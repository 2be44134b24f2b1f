import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DTYPES, type DTypeName, dtype, dtypeOfGgml, dtypeOfSafetensors } from '../../src/model/dtypes.js';
import { contiguousStrides, elementsOf, rowBytes, shapeOfGgml, tensorBytes } from '../../src/model/tensors/tensor-layout.js';
import { codeOf } from '../fixtures/code-of.js';

describe('dtypes', () => {
  test('every type has one name, one ggml number and one safetensors name', () => {
    const all = Object.values(DTYPES);
    for (const names of [all.map((one) => one.ggmlType), all.map((one) => one.safetensorsName)]) {
      const given = names.filter((name) => name !== undefined);
      expect(new Set(given).size).toBe(given.length);
    }
    for (const one of all) expect(dtype(one.name as DTypeName)).toBe(one);
  });

  test('an array element is as large as the type', () => {
    for (const { arrayClass, blockBytes, blockElements } of Object.values(DTYPES)) {
      if (arrayClass !== undefined) expect([blockBytes, blockElements]).toEqual([arrayClass.BYTES_PER_ELEMENT, 1]);
    }
  });

  test('finds types by the numbers and names of files', () => {
    expect(dtypeOfGgml(12)?.name).toBe('q4_K');
    expect(dtypeOfGgml(12)?.ggufName).toBe('Q4_K');
    expect(dtypeOfGgml(4)).toBeUndefined();
    expect(dtypeOfSafetensors('BF16')?.name).toBe('bf16');
    expect(dtypeOfSafetensors('f32')).toBeUndefined();
  });

  test.each(['Q4_K', 'toString', '', '__proto__'])('refuses the name %j', (name) => {
    expect(codeOf(() => dtype(name as 'f32'))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });
});

describe('shapes', () => {
  test('a shape without dimensions is one element, a length of 0 none', () => {
    expect([elementsOf([]), elementsOf([3, 0]), elementsOf([2, 3])]).toEqual([1, 0, 6]);
    expect(shapeOfGgml([4096, 32])).toEqual([32, 4096]);
  });

  test('quantised rows are whole blocks', () => {
    expect(rowBytes(DTYPES.q4_K, 4096)).toBe(2304);
    expect(tensorBytes(DTYPES.q8_0, [3, 64])).toBe(204);
    expect(contiguousStrides(DTYPES.q8_0, [2, 3, 64])).toEqual([204, 68, 34]);
    expect(contiguousStrides(DTYPES.f32, [2, 3, 4])).toEqual([48, 16, 4]);
    expect(codeOf(() => tensorBytes(DTYPES.q8_0, [64, 3]))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => tensorBytes(DTYPES.q8_0, []))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test.each([[[-1]], [[1.5]], [[Number.NaN]], [[2 ** 53]], [[2 ** 27, 2 ** 27]], [[0, 2 ** 40, 2 ** 40]], [[2 ** 51]]])(
    'refuses %j of f64',
    (shape) => {
      expect(codeOf(() => tensorBytes(DTYPES.f64, shape))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => contiguousStrides(DTYPES.f64, shape))).toBe('ERR_MEM_INVALID_ARGUMENT');
    },
  );

  test('the outermost stride times its length is the size', () => {
    const names = Object.values(DTYPES);
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
        (type, lengths) => {
          const shape = [...lengths.slice(0, -1), lengths.at(-1)! * type.blockElements];
          const strides = contiguousStrides(type, shape);
          const blocks = shape.length === 1 ? lengths[0]! : shape[0]!;
          expect(strides[0]! * blocks).toBe(tensorBytes(type, shape));
        },
      ),
    );
  });
});
