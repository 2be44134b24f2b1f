import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { ModelLoader } from '../../src/model/loader/model-loader.js';
import { ModelSet } from '../../src/model/loader/model-set.js';
import { hparamsOf } from '../../src/model/sizing/model-hparams.js';
import { type GgufTensor, type GgufValue, ggufBytes } from '../fixtures/gguf-bytes.js';
import { safetensorsBytes } from '../fixtures/safetensors-bytes.js';

const root = mkdtempSync(join(tmpdir(), 'stowage-sets-'));
afterAll(() => rmSync(root, { recursive: true }));
let folder = root;
let folders = 0;
beforeEach(() => mkdirSync((folder = join(root, `${folders++}`))));

const u16 = (value: number): GgufValue => ({ type: 4, value });
const MODEL: [string, GgufValue][] = [
  ['general.architecture', { type: 8, value: 'llama' }],
  ['llama.embedding_length', u16(64)],
  ['llama.block_count', u16(2)],
  ['llama.feed_forward_length', u16(128)],
  ['llama.vocab_size', u16(100)],
];

/** Writes a part as llama.cpp's gguf-split does: the hyper-parameters are in the first alone. */
function ggufPart(number: number, tensors: readonly GgufTensor[], { count = 3, total = 2, named = number } = {}): string {
  const metadata: [string, GgufValue][] = [
    ...(number === 1 ? MODEL : []),
    ['split.no', u16(number - 1)],
    ['split.count', u16(count)],
    ['split.tensors.count', u16(total)],
  ];
  const path = join(folder, `big-0000${named}-of-00003.gguf`);
  writeFileSync(path, ggufBytes({ metadata, tensors, data: new Uint8Array(tensors.length * 256) }));
  return path;
}
const layer = (number: number): GgufTensor => ({ name: `blk.${number}.attn_q.weight`, ne: [64], type: 0, offset: 0 });

function safetensorsPart(name: string, ...tensors: string[]): string {
  const header = Object.fromEntries(
    tensors.map((tensor, i) => [tensor, { dtype: 'U8', shape: [4], data_offsets: [4 * i, 4 * i + 4] }]),
  );
  const path = join(folder, name);
  writeFileSync(path, safetensorsBytes(header, new Uint8Array(4 * tensors.length)));
  return path;
}

function index(weight_map: unknown): string {
  const path = join(folder, 'model.safetensors.index.json');
  writeFileSync(path, JSON.stringify({ metadata: { total_size: 12 }, weight_map }));
  return path;
}

describe('ModelSet', () => {
  describe('open', () => {
    test('reads all parts of a split GGUF file, whichever is named', async () => {
      const paths = [ggufPart(1, []), ggufPart(2, [layer(0)]), ggufPart(3, [layer(1)])];
      for (const path of paths) {
        using set = await ModelSet.open(path);
        expect([set.loaders.length, set.part, set.missing, set.format]).toEqual([3, undefined, [], 'gguf']);
        expect(set.usage()).toMatchObject({ tensors: 2, bytes: 512 });
        expect(set.usageByLayer().map((one) => one.layer)).toEqual([0, 1]);
        expect(hparamsOf(set)).toMatchObject({ layers: 2, weights: { layerBytes: 512, otherBytes: 0 } });
      }
    });

    test('says which part a file is when others are missing, and gives no hyper-parameters', async () => {
      const path = ggufPart(1, []);
      ggufPart(3, [layer(1)]);
      using set = await ModelSet.open(path);
      expect([set.part, set.missing]).toEqual([{ number: 1, count: 3 }, ['big-00002-of-00003.gguf']]);
      expect(hparamsOf(set)).toBeUndefined();
      using loader = await ModelLoader.open(path);
      expect(loader.model.part).toEqual({ number: 1, count: 3 });
      expect(hparamsOf(loader.model)).toBeUndefined();
    });

    test('knows a part by its metadata when its name does not tell', async () => {
      const path = ggufPart(2, [layer(0)], { named: 7 });
      using set = await ModelSet.open(path);
      expect([set.part, set.missing]).toEqual([{ number: 2, count: 3 }, []]);
    });

    test.each([
      [
        'a part of another number',
        () => ggufPart(3, [layer(1)], { named: 2 }),
        /-00002-of-00003\.gguf: it is part 3 of 3, where part 2 of 3/,
      ],
      ['a part of another set', () => ggufPart(2, [layer(1)], { count: 2 }), /it is part 2 of 2, where part 2 of 3 should be/],
      [
        'a tensor twice',
        () => ggufPart(2, [layer(1)]),
        /-00003-of-00003\.gguf: tensor "blk\.1\.attn_q\.weight" is in big-00002-of-00003\.gguf, too/,
      ],
      ['a tensor too few', () => ggufPart(2, []), /its parts have 1 tensors, "split\.tensors\.count" says 2/],
    ])('refuses %s', async (_, second, message) => {
      const path = ggufPart(1, []);
      ggufPart(3, [layer(1)]);
      second();
      await expect(ModelSet.open(path)).rejects.toMatchObject({
        code: 'ERR_MEM_BAD_INPUT',
        message: expect.stringMatching(message),
      });
      // Nothing stays open.
      using alone = await ModelLoader.open(path);
      expect(alone.sharedBy).toBe(1);
    });

    test('takes a model of one file as a set of one, and a vocabulary alone as no model', async () => {
      const path = join(folder, 'vocab.gguf');
      writeFileSync(path, ggufBytes({ metadata: MODEL }));
      using set = await ModelSet.open(path);
      expect([set.loaders.length, set.part, set.usage().tensors]).toEqual([1, undefined, 0]);
      expect(hparamsOf(set)).toBeUndefined();
    });

    test('reads the files that an index names', async () => {
      safetensorsPart('model-00001-of-00002.safetensors', 'a', 'b');
      safetensorsPart('model-00002-of-00002.safetensors', 'c');
      const [one, two] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
      for (const path of [index({ a: one, b: one, c: two }), join(folder, two!)]) {
        using set = await ModelSet.open(path);
        expect(set.tensors.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
        expect([set.usage().bytes, set.part]).toEqual([12, undefined]);
      }
    });

    test.each([
      ['a tensor that its file lacks', { a: 'one.safetensors', z: 'one.safetensors' }, /tensor "z" is not in one\.safetensors$/],
      ['a file that is not there', { a: 'two.safetensors' }, /two\.safetensors/],
      ['a file elsewhere', { a: '../one.safetensors' }, /weight_map "a" names no file beside it/],
      ['a file that is none', { a: 7 }, /weight_map "a" names no file beside it/],
      ['no file', {}, /its "weight_map" is empty/],
      ['nothing', null, /it has no "weight_map"/],
    ])('refuses an index that names %s', async (_, map, message) => {
      safetensorsPart('one.safetensors', 'a');
      await expect(ModelSet.open(index(map))).rejects.toMatchObject({
        code: 'ERR_MEM_BAD_INPUT',
        message: expect.stringMatching(message),
      });
    });

    test('refuses an index that is damaged or nested deep', async () => {
      const path = index({});
      writeFileSync(path, '{"weight_map":');
      await expect(ModelSet.open(path)).rejects.toThrow(`${path}: it is no JSON: `);
      writeFileSync(path, '['.repeat(100_000));
      await expect(ModelSet.open(path)).rejects.toThrow(`${path}: it nests lists and objects more than 16 deep at byte 16`);
    });
  });
});
