import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { DTYPES } from '../../src/model/dtypes.js';
import { readModel } from '../../src/model/files/read-model.js';
import { MappedFile } from '../../src/model/mapped-file.js';
import { rowBytes } from '../../src/model/tensors/tensor-layout.js';
import { ggufBytes } from '../fixtures/gguf-bytes.js';
import { GGML_DTYPES, needed, openGgml } from './ggml.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-gguf-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf(needed.missing)(needed.title, () => {
  const path = join(folder, 'all-types.gguf');
  const tensors = GGML_DTYPES.map((dtype, i) => {
    const ne = [256 * (1 + (i % 3)), 3, ...(i % 2 === 0 ? [2] : [])];
    const bytes = rowBytes(dtype, ne[0]!) * ne.slice(1).reduce((product, length) => product * length, 1);
    return { name: `blk.${i}.${dtype.name}`, dtype, ne, data: Uint8Array.from({ length: bytes }, (_, at) => at * 7 + i) };
  });

  test('counts the bytes of every type as we do', () => {
    const ggml = openGgml();
    expect(GGML_DTYPES.length).toBeGreaterThan(30);
    for (const dtype of GGML_DTYPES) expect(ggml.rowBytes(dtype, 768), dtype.name).toBe(rowBytes(dtype, 768));
  });

  test('writes a file that readModel reads', async () => {
    const ggml = openGgml();
    ggml.write(path, tensors);
    using file = MappedFile.open(path);
    const model = await readModel(file);
    expect(model.format).toBe('gguf');
    expect(model.tensors.map(({ name }) => name)).toEqual(tensors.map(({ name }) => name));
    for (const [i, tensor] of model.tensors.entries()) {
      const written = tensors[i]!;
      expect(tensor.dtype).toBe(written.dtype);
      expect([...tensor.shape].reverse()).toEqual(written.ne);
      expect(tensor.offset % 32).toBe(0);
      expect(Buffer.compare(file.bytesAt(tensor.offset, tensor.bytes), written.data)).toBe(0);
    }
    expect(ggml.read(path)).toEqual(
      model.tensors.map(({ name, dtype, offset, bytes }) => ({ name, type: dtype.ggmlType, offset, bytes })),
    );
    expect(Object.fromEntries(model.metadata)).toEqual({
      'general.architecture': 'llama',
      'general.name': 'tiny ünï',
      'llama.block_count': 2,
      big: 2n ** 60n,
      half: 0.5,
      yes: true,
      numbers: [1, -2, 3],
      words: ['one', '', 'drei'],
    });
  });

  test.each([8, 64, 4096])('reads a file of ours with an alignment of %i as readModel does', async (alignment) => {
    const ours = join(folder, 'aligned.gguf');
    const parts = {
      metadata: [['general.alignment', { type: 4, value: alignment }]] as const,
      tensors: [
        { name: 'a', ne: [3], type: 0, offset: 0 },
        { name: 'b', ne: [1, 5], type: 1, offset: Math.max(16, alignment) },
      ],
      data: new Uint8Array(Math.max(32, 2 * alignment)),
      alignment,
    };
    writeFileSync(ours, ggufBytes(parts));
    using file = MappedFile.open(ours);
    const { tensors } = await readModel(file);
    expect(openGgml().read(ours)).toEqual(
      tensors.map(({ name, dtype, offset, bytes }) => ({ name, type: dtype.ggmlType, offset, bytes })),
    );
  });

  test('reads what the tests write, and refuses what readModel refuses', async () => {
    const ggml = openGgml();
    const parts = {
      metadata: [['general.architecture', { type: 8, value: 'llama' }]] as const,
      tensors: [{ name: 'a', ne: [4, 2], type: 0, offset: 0 }],
      data: new Uint8Array(32),
    };
    const good = join(folder, 'good.gguf');
    writeFileSync(good, ggufBytes(parts));
    expect(ggml.read(good)).toEqual([{ name: 'a', type: 0, offset: readFileSync(good).length - 32, bytes: 32 }]);
    const bad = [
      ggufBytes({ ...parts, magic: 'GGUX' }),
      ggufBytes({ ...parts, version: 9 }),
      ggufBytes({ ...parts, tensorCount: 2n ** 40n }),
      ggufBytes({ ...parts, metadataCount: 2n ** 40n }),
      ggufBytes({ ...parts, tensors: [{ name: 'a', ne: [4, 2], type: 4, offset: 0 }] }),
      ggufBytes({ ...parts, tensors: [{ name: 'a', ne: [33], type: DTYPES.q4_0.ggmlType!, offset: 0 }] }),
      ggufBytes(parts).subarray(0, 60),
    ];
    for (const [i, bytes] of bad.entries()) {
      const path = join(folder, `bad-${i}.gguf`);
      writeFileSync(path, bytes);
      expect(ggml.read(path), `ggml refuses file ${i}`).toBeUndefined();
      using file = MappedFile.open(path);
      await expect(readModel(file), `file ${i}`).rejects.toMatchObject({ code: 'ERR_MEM_BAD_INPUT' });
    }
  });
});
