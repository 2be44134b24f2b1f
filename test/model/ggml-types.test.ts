import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DTYPES, dtypeOfGgml } from '../../src/model/dtypes.js';
import { shapeOfGgml, tensorBytes } from '../../src/model/tensors/tensor-layout.js';
import { requireLibrary } from '../fixtures/requires.js';

const PATH = 'hosts/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-base.so';
const ggml = requireLibrary('ggml', [join(import.meta.dirname, '..', PATH)]);

describe.skipIf(ggml.missing)(ggml.title, () => {
  test('has the same types, with the same names and blocks', () => {
    const { library } = ggml;
    const nameOf = library.func<(type: number) => string>('ggml_type_name', 'const char *', ['int']);
    const elementsOf = library.func<(type: number) => number>('ggml_blck_size', 'int64_t', ['int']);
    const bytesOf = library.func<(type: number) => number>('ggml_type_size', 'size_t', ['int']);
    const rowOf = library.func<(type: number, elements: number) => number>('ggml_row_size', 'size_t', ['int', 'int64_t']);
    const known = Object.values(DTYPES).map((dtype) => dtype.ggmlType ?? -1);
    for (let type = 0; type <= Math.max(...known); type++) {
      const [name, elements, bytes] = [nameOf(type), elementsOf(type), bytesOf(type)];
      const dtype = dtypeOfGgml(type);
      // What was dropped from ggml has no bytes.
      expect([dtype?.name, dtype?.blockElements, dtype?.blockBytes]).toEqual(
        bytes === 0 ? [undefined, undefined, undefined] : [name, elements, bytes],
      );
      if (dtype !== undefined) expect(tensorBytes(dtype, shapeOfGgml([768, 3]))).toBe(3 * rowOf(type, 768));
    }
  });
});
