import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compiled } from '../fixtures/compiled.js';
import { ggufBytes } from '../fixtures/gguf-bytes.js';
import { safetensorsBytes } from '../fixtures/safetensors-bytes.js';
import { stowage, stowageHere } from './compiled-cli.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-model-cli-'));
const gguf = join(folder, 'tiny.gguf');
const safetensors = join(folder, 'tiny.safetensors');
const u32 = (value: number) => ({ type: 4, value }) as const;

beforeAll(() => {
  compiled();
  writeFileSync(
    gguf,
    ggufBytes({
      metadata: [
        ['general.architecture', { type: 8, value: 'llama' }],
        ['llama.embedding_length', u32(64)],
        ['llama.block_count', u32(1)],
        ['llama.feed_forward_length', u32(128)],
        ['llama.context_length', u32(8192)],
      ],
      tensors: [
        { name: 'token_embd.weight', ne: [64, 100], type: 0, offset: 0 },
        { name: 'blk.0.attn_q.weight', ne: [64, 64], type: 8, offset: 25_600 },
      ],
      data: new Uint8Array(25_600 + 4352),
    }),
  );
  writeFileSync(safetensors, safetensorsBytes({ a: { dtype: 'F16', shape: [4], data_offsets: [0, 8] } }, new Uint8Array(8)));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe('stowage model', () => {
  test('says that a file is a part whose others are missing, and gives no fit', async () => {
    const part = join(folder, 'big-00001-of-00003.gguf');
    writeFileSync(
      part,
      ggufBytes({
        metadata: [
          ['general.architecture', { type: 8, value: 'llama' }],
          ['llama.embedding_length', u32(8192)],
          ['llama.block_count', u32(80)],
          ['llama.feed_forward_length', u32(28_672)],
          ['llama.vocab_size', u32(32_000)],
          ['split.no', u32(0)],
          ['split.count', u32(3)],
        ],
      }),
    );
    const { code, stdout } = await stowageHere(['model', part]);
    expect(code).toBe(0);
    expect(stdout).toContain(
      'this is part 1 of 3 of a model, and nothing can be said of a fit: ' +
        'big-00002-of-00003.gguf, big-00003-of-00003.gguf not found',
    );
    expect(stdout).not.toContain('it fits');
    expect(JSON.parse((await stowageHere(['model', part, '--json'])).stdout)).toMatchObject({
      part: { number: 1, count: 3 },
      estimate: null,
      fit: null,
    });
  });

  test('prints what the model takes by type and layer, and that it fits this machine', () => {
    const { code, stdout, stderr } = stowage(['model', gguf, '--load']);
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/: gguf, \d+\.\d\d KiB, 2 tensors of 29\.25 KiB$/);
    expect(lines).toContain('f32         1  25.00 KiB  85.5 %');
    expect(lines).toContain('q8_0        1   4.25 KiB  14.5 %');
    expect(lines).toContain('input        1  25.00 KiB  f32');
    expect(lines).toContain('0            1   4.25 KiB  q8_0');
    expect(stdout).toMatch(/available: it fits with a context of 8192, 1 layer there, batches of 512: /);
    expect(stdout).toMatch(/\nloaded in \d+ ms\n$/);
  });

  test('says what has to be smaller, and why', async () => {
    const { code, stdout } = await stowageHere(['model', gguf, '-m', '9 MiB']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/9\.00 MiB available: it fits with a context of \d+/);
    expect(stdout).toMatch(/\n {2}contextLength 8192 -> \d+: [\d.]+ MiB were lacking; a cache .* saves [\d.]+ MiB\n/);
  });

  test('prints JSON', async () => {
    const report = JSON.parse((await stowageHere(['model', gguf, '--json', '--memory', '1GiB'])).stdout);
    expect(report).toMatchObject({
      version: 1,
      path: gguf,
      format: 'gguf',
      usage: { tensors: 2, bytes: 29_952 },
      layers: [{ layer: 'input' }, { layer: 0, byDType: [{ dtype: 'q8_0' }] }],
      fit: { fits: true, availableBytes: 2 ** 30, steps: [] },
      loadMs: null,
    });
    expect(report.estimate.weightBytes).toBe(29_952);
    expect(JSON.parse((await stowageHere(['model', safetensors, '--json'])).stdout)).toMatchObject({
      format: 'safetensors',
      estimate: null,
      fit: null,
    });
    expect((await stowageHere(['model', safetensors])).stdout).toContain('the file names no hyper-parameters to fit it by');
  });

  test.each([
    [['package.json'], /^stowage: package\.json: it is a JSON text, not a model: /],
    [['nowhere.gguf'], /^stowage: nowhere\.gguf: it cannot be opened: ENOENT/],
    [[gguf, '-m', 'much'], /^stowage: --memory is "much"/],
  ])('is one clear line for %o', async (args, message) => {
    const { code, stdout, stderr } = await stowageHere(['model', ...args]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
    expect(stderr.split('\n')).toHaveLength(2);
  });
});
