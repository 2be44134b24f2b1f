import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { MemoryError } from '../../src/core/errors.js';
import type { ModelDescription } from '../../src/model/files/model-description.js';
import { readModel } from '../../src/model/files/read-model.js';
import { MappedFile } from '../../src/model/mapped-file.js';
import { searchRuns } from '../config/search.js';
import { type GgufParts, type GgufValue, ggufBytes } from '../fixtures/gguf-bytes.js';
import { safetensorsBytes } from '../fixtures/safetensors-bytes.js';
import { writeAnew } from '../fixtures/write-anew.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-models-'));
afterAll(() => rmSync(folder, { recursive: true }));

const path = join(folder, 'model');

async function read(bytes: Uint8Array): Promise<ModelDescription> {
  writeAnew(path, bytes);
  using file = MappedFile.open(path);
  return await readModel(file);
}

const u32 = (value: number): GgufValue => ({ type: 4, value });
const text = (value: string): GgufValue => ({ type: 8, value });

const GGUF: GgufParts = {
  metadata: [
    ['general.architecture', text('llama')],
    ['llama.block_count', u32(2)],
    ['words', { type: 9, itemType: 8, items: [text('a'), text('bc')] }],
    ['nested', { type: 9, itemType: 9, items: [{ type: 9, itemType: 4, items: [u32(1), u32(2)] }] }],
    ['version', u32(77)],
  ],
  tensors: [
    { name: 'token_embd.weight', ne: [64, 3], type: 0, offset: 0 },
    { name: 'blk.0.attn_q.weight', ne: [64, 2], type: 2, offset: 768 },
    { name: 'scalar', ne: [], type: 0, offset: 864 },
    { name: 'none', ne: [0], type: 0, offset: 896 },
  ],
  data: new Uint8Array(896),
};

const SAFETENSORS = {
  __metadata__: { format: 'pt' },
  a: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
  b: { dtype: 'BF16', shape: [4], data_offsets: [24, 32] },
  empty: { dtype: 'I64', shape: [0], data_offsets: [32, 32] },
  scalar: { dtype: 'U8', shape: [], data_offsets: [32, 33] },
};

describe('readModel', () => {
  describe('of a GGUF file', () => {
    test('gives metadata and tensors, by their place in the file', async () => {
      const bytes = ggufBytes(GGUF);
      const model = await read(bytes);
      const dataOffset = bytes.length - 896;
      expect(model).toMatchObject({ format: 'gguf', path, fileBytes: bytes.length, dataOffset });
      expect(model.metadata.get('words')).toEqual(['a', 'bc']);
      expect(model.metadata.get('nested')).toEqual([[1, 2]]);
      expect(
        model.tensors.map(({ name, dtype, shape, offset, bytes }) => [name, dtype.name, shape, offset - dataOffset, bytes]),
      ).toEqual([
        ['token_embd.weight', 'f32', [3, 64], 0, 768],
        ['blk.0.attn_q.weight', 'q4_0', [2, 64], 768, 72],
        ['scalar', 'f32', [], 864, 4],
        ['none', 'f32', [0], 896, 0],
      ]);
    });

    test('agrees with the parser that reads the file by itself', async () => {
      const model = await read(ggufBytes(GGUF));
      const parsed = await gguf(path, { allowLocalFile: true });
      expect(model.tensors.map(({ name, shape }) => [name, [...shape].reverse().map(BigInt)])).toEqual(
        parsed.tensorInfos.map(({ name, shape }) => [name, shape]),
      );
      expect(model.dataOffset).toBe(Number(parsed.tensorDataOffset));
    });

    test('reads headers that are longer than what the parser takes at a time', async () => {
      // Few and long ones: the parser makes a decoder for each text.
      const items = Array.from({ length: 3000 }, (_, i) => text(`token number ${i}${', and some more'.repeat(120)}`));
      const model = await read(
        ggufBytes({
          ...GGUF,
          metadata: [
            ['tokens', { type: 9, itemType: 8, items }],
            ['last', text('x')],
          ],
        }),
      );
      expect(model.dataOffset).toBeGreaterThan(5e6);
      expect((model.metadata.get('tokens') as string[])[2999]).toBe(`token number 2999${', and some more'.repeat(120)}`);
      expect(model.metadata.get('last')).toBe('x');
    });

    const metadata = (key: string, value: GgufValue) => ({ ...GGUF, metadata: [[key, value]] as const });
    const tensor = (change: object) => ({ ...GGUF, tensors: [{ ...GGUF.tensors![0]!, ...change }] });
    const cases: [what: string, parts: GgufParts, message: RegExp][] = [
      ['an unknown version', { version: 4 }, /version 4 is none of 2, 3/],
      ['version 1', { version: 1 }, /version 1 is none/],
      ['the other byte order', { version: 0x03000000 }, /big-endian/],
      [
        'too many tensors',
        { ...GGUF, tensorCount: 2n ** 63n },
        /tensor_count is 9223372036854775808, but the rest .* room for \d+/,
      ],
      ['one tensor too many', { ...GGUF, tensorCount: 900n }, /tensor_count is 900|dimensions/],
      ['too much metadata', { ...GGUF, metadataCount: 2n ** 64n - 1n }, /metadata_kv_count is 18446744073709551615/],
      ['a type that is none', metadata('key', { type: 13 as 4, value: 1 }), /the type of metadata "key" is 13/],
      [
        'an element type that is none',
        metadata('k', { type: 9, itemType: 99, items: [u32(1)] }),
        /the type of metadata "k" is 99/,
      ],
      ['a long string', metadata('long', text('x'.repeat(500_000))), /the length of metadata "long" is 500000/],
      [
        'a key twice',
        {
          metadata: [
            ['k', u32(1)],
            ['k', u32(2)],
          ],
        },
        /metadata "k" is there twice/,
      ],
      ['arrays in arrays', metadata('deep', nest(6)), /metadata "deep"\[0\]\[0\]\[0\]\[0\] has arrays in arrays/],
      ['an alignment of 0', metadata('general.alignment', u32(0)), /general\.alignment/],
      ['an alignment of 24', metadata('general.alignment', u32(24)), /"general\.alignment" is 24, it must be a power of two/],
      [
        'an alignment that is text',
        metadata('general.alignment', text('32')),
        /"general\.alignment" is 32, it must be a power of two/,
      ],
      ['five dimensions', tensor({ ne: [1, 1, 1, 1, 1] }), /tensor "token_embd\.weight" has 5 dimensions/],
      ['a huge dimension', tensor({ ne: [2n ** 40n] }), /token_embd\.weight" dimension 0 is 1099511627776/],
      ['huge dimensions', tensor({ ne: [2 ** 32, 2 ** 32] }), /tensor "token_embd\.weight": shape .* at most 2\^53/],
      ['an unknown type', tensor({ type: 5 }), /tensor "token_embd\.weight": its type 5 is none that ggml has/],
      ['part of a block', tensor({ type: 2, ne: [33] }), /tensor "token_embd\.weight": innermost dimension is 33/],
      ['an offset that is not aligned', tensor({ offset: 8 }), /its offset 8 is no multiple of 32/],
      [
        'an offset beyond the file',
        tensor({ offset: 896 }),
        /its data of 768 bytes at offset 896 ends at byte \d+, the file has \d+/,
      ],
      ['an offset that wraps', tensor({ offset: 2n ** 64n - 32n }), /its offset 18446744073709551584 lies beyond the file/],
      [
        'a name twice',
        { ...GGUF, tensors: [GGUF.tensors![0]!, GGUF.tensors![0]!] },
        /tensor "token_embd\.weight" is there twice/,
      ],
      [
        'data that overlaps',
        { ...GGUF, tensors: [GGUF.tensors![0]!, { name: 'b', ne: [8], type: 0, offset: 736 }] },
        /tensor "b": its data overlaps that of tensor "token_embd\.weight"/,
      ],
    ];
    test.each(cases)('refuses %s', async (_, parts, message) => {
      await expect(read(ggufBytes(parts))).rejects.toMatchObject({
        code: 'ERR_MEM_BAD_INPUT',
        message: expect.stringMatching(message),
        facts: { file: path },
      });
    });

    test('refuses an array of more elements than are read', async () => {
      const bytes = ggufBytes(metadata('many', { type: 9, itemType: 7, items: [u32(0)] }));
      // The length of the array stands 8 bytes before its element; there is room for so many.
      const at = bytes.indexOf('many') + 4 + 4 + 4;
      bytes.writeBigUInt64LE(2n ** 23n + 1n, at);
      await expect(read(Buffer.concat([bytes, Buffer.alloc(2 ** 23)]))).rejects.toThrow(
        /metadata "many" has 8388609 elements, at most 8388608 are read in all arrays together/,
      );
    });

    test('refuses a file that was cut off anywhere', async () => {
      const bytes = ggufBytes(GGUF);
      for (let length = 1; length < bytes.length; length += 7) {
        await expect(read(bytes.subarray(0, length)), `${length} bytes`).rejects.toMatchObject({ code: 'ERR_MEM_BAD_INPUT' });
      }
    });
  });

  describe('of a safetensors file', () => {
    test('gives metadata and tensors', async () => {
      const model = await read(safetensorsBytes(SAFETENSORS, new Uint8Array(33)));
      expect(model).toMatchObject({ format: 'safetensors', fileBytes: model.dataOffset + 33 });
      expect([...model.metadata]).toEqual([['format', 'pt']]);
      expect(
        model.tensors.map(({ name, dtype, shape, offset, bytes }) => [name, dtype.name, shape, offset - model.dataOffset, bytes]),
      ).toEqual([
        ['a', 'f32', [2, 3], 0, 24],
        ['b', 'bf16', [4], 24, 8],
        ['empty', 'i64', [0], 32, 0],
        ['scalar', 'u8', [], 32, 1],
      ]);
    });

    const a = (change: object) => ({ a: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24], ...change } });
    const cases: [what: string, header: unknown, dataBytes: number, message: RegExp][] = [
      ['no JSON', 'not JSON', 24, /its header is no JSON: /],
      ['bytes that are no text', '\ud800', 24, /its header is no JSON/],
      ['an array', [], 0, /no JSON object/],
      ['metadata that is none', { __metadata__: 5 }, 0, /__metadata__ is no JSON object/],
      ['metadata that is no text', { __metadata__: { a: 5 } }, 0, /__metadata__ "a" is no string/],
      ['a tensor that is none', { a: null }, 0, /tensor "a" is no JSON object/],
      ['a dtype that is none', a({ dtype: 7 }), 24, /tensor "a": its dtype is no text/],
      ['an unknown dtype of a negative size', a({ dtype: 'F31', data_offsets: [24, 0] }), 24, /tensor "a": its data has no size/],
      [
        'an unknown dtype of two sizes',
        { ...a({ dtype: 'F31' }), b: { dtype: 'F31', shape: [2], data_offsets: [24, 26] } },
        26,
        /tensor "b": its data_offsets span 2 bytes, its shape needs 8|tensor "b": its data of 8 bytes/,
      ],
      ['deep nesting', `{"a":${'['.repeat(1000)}`, 0, /its header nests lists and objects more than 16 deep at byte 20/],
      ['many empty objects', `[${'{},'.repeat(1000)}0]`, 0, /its header has too many lists and objects for its size at byte \d+/],
      ['a negative size', a({ shape: [-2, 3] }), 24, /tensor "a": its shape is no list of sizes/],
      ['a size that is text', a({ shape: ['2', 3] }), 24, /its shape/],
      ['a huge shape', a({ shape: [2 ** 50, 2 ** 50] }), 24, /tensor "a": shape/],
      ['offsets that are none', a({ data_offsets: [0] }), 24, /data_offsets are no two places/],
      ['offsets that are parts', a({ data_offsets: [0, 24.5] }), 24, /data_offsets/],
      ['offsets that are large', a({ data_offsets: [0, 2 ** 60] }), 24, /data_offsets/],
      ['offsets the wrong way round', a({ data_offsets: [24, 0] }), 24, /tensor "a": its data/],
      [
        'offsets that do not fit the shape',
        a({ data_offsets: [0, 20] }),
        24,
        /its data_offsets span 20 bytes, its shape needs 24/,
      ],
      ['data beyond the file', a({}), 23, /tensor "a": its data of 24 bytes at offset 0 ends at byte \d+, the file has \d+/],
      ['data behind the last tensor', a({}), 25, /no tensor has the last 1 byte/],
      ['a hole', a({ data_offsets: [4, 28] }), 28, /tensor "a": 4 bytes before its data belong to no tensor/],
      [
        'data that overlaps',
        { ...a({}), b: { dtype: 'F32', shape: [2], data_offsets: [20, 28] } },
        28,
        /tensor "b": its data overlaps that of tensor "a"/,
      ],
    ];
    test.each(cases)('refuses %s', async (_, header, dataBytes, message) => {
      const bytes = safetensorsBytes(header, new Uint8Array(dataBytes));
      // A lone surrogate cannot be written as UTF-8: a byte that is none stands for it.
      if (header === '\ud800') bytes[8] = 0xff;
      await expect(read(bytes)).rejects.toMatchObject({ code: 'ERR_MEM_BAD_INPUT', message: expect.stringMatching(message) });
    });

    test('takes elements of types that are not known here by their sizes alone', async () => {
      const header = {
        __metadata__: null,
        a: { dtype: 'F8_E4M3FNUZ', shape: [4], data_offsets: [0, 4] },
        b: { dtype: 'F8_E5M2FNUZ', shape: [4], data_offsets: [4, 8] },
        none: { dtype: 'X24', shape: [0], data_offsets: [8, 8] },
        c: { dtype: 'X24', shape: [2, 2], data_offsets: [8, 20] },
        d: { dtype: 'X12', shape: [4], data_offsets: [20, 26] },
      };
      const model = await read(safetensorsBytes(header, new Uint8Array(26)));
      expect(model.metadata.size).toBe(0);
      expect(
        model.tensors.map(({ name, dtype, bytes }) => [name, dtype.name, dtype.blockElements, dtype.blockBytes, bytes]),
      ).toEqual([
        ['a', 'f8_e4m3fnuz', 1, 1, 4],
        ['b', 'f8_e5m2fnuz', 1, 1, 4],
        ['none', 'X24', 1, 1, 0],
        ['c', 'X24', 1, 3, 12],
        ['d', 'X12', 2, 3, 6],
      ]);
      expect(model.tensors[3]!.dtype.arrayClass).toBeUndefined();
    });

    test.each([
      [
        'a Git LFS pointer',
        'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4265146304\n',
        /it is a Git LFS pointer/,
      ],
      ['an HTML page', '<!DOCTYPE html>\n<html></html>', /it is an HTML page/],
      ['a ZIP archive', 'PK\u0003\u0004 and more than that', /it is a ZIP archive/],
      ['an index', '{\n  "metadata": {},\n  "weight_map": {}}', /it is a JSON text, not a model/],
    ])('says that it is %s', async (_, content, message) => {
      await expect(read(Buffer.from(content))).rejects.toThrow(message);
    });

    test('reads a file whose header has a length that begins as gzip does', async () => {
      const bytes = safetensorsBytes(JSON.stringify(SAFETENSORS).padEnd(0x8b1f), new Uint8Array(33));
      expect([bytes[0], bytes[1]]).toEqual([0x1f, 0x8b]);
      expect((await read(bytes)).tensors.length).toBe(4);
    });

    test('refuses a length that no header has', async () => {
      const bytes = safetensorsBytes(SAFETENSORS, new Uint8Array(33));
      bytes.writeBigUInt64LE(2n ** 63n, 0);
      await expect(read(bytes)).rejects.toThrow(/the length of its header is 9223372036854775808/);
      bytes.writeBigUInt64LE(BigInt(bytes.length), 0);
      await expect(read(bytes)).rejects.toThrow(/its header of \d+ bytes ends beyond the file/);
      await expect(read(Buffer.of(1, 2, 3))).rejects.toThrow(/it is no model that is known here/);
    });
  });

  test.each([
    ['GGUF', ggufBytes(GGUF)],
    ['safetensors', safetensorsBytes(SAFETENSORS, new Uint8Array(33))],
  ])('gives a checked description or one clear error for any damaged %s file', async (_, good) => {
    const headerBytes = good.length - (good.length > 900 ? 896 : 33);
    const flips = fc.array(fc.record({ at: fc.nat(headerBytes - 1), bit: fc.nat(7) }), { minLength: 1, maxLength: 4 });
    const damage = fc.record({ flips, cut: fc.option(fc.nat(good.length - 1), { freq: 5 }) });
    await fc.assert(
      fc.asyncProperty(damage, async ({ flips, cut }) => {
        const bytes = Buffer.from(good);
        for (const { at, bit } of flips) bytes[at]! ^= 1 << bit;
        const model = await read(bytes.subarray(0, cut === null ? bytes.length : Math.max(1, cut))).catch((error: unknown) => {
          if (!MemoryError.is(error, 'ERR_MEM_BAD_INPUT')) throw error;
          expect(error.message.startsWith(`${path}: `)).toBe(true);
          expect(error.message).not.toContain('\n');
          return undefined;
        });
        if (model === undefined) return;
        let end = model.dataOffset;
        for (const tensor of model.tensors) {
          expect(tensor.offset).toBeGreaterThanOrEqual(end);
          end = tensor.offset + tensor.bytes;
        }
        expect(end).toBeLessThanOrEqual(model.fileBytes);
      }),
      { numRuns: searchRuns(400) },
    );
  });
});

function nest(depth: number): GgufValue {
  return depth === 0 ? u32(1) : { type: 9, itemType: depth === 1 ? 4 : 9, items: [nest(depth - 1)] };
}
