import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GiB } from '../../src/core/units.js';
import { DTYPES } from '../../src/model/dtypes.js';
import type { MetadataValue, ModelDescription } from '../../src/model/files/model-description.js';
import { estimateModelMemory, type FitProposal, fitToMemory } from '../../src/model/sizing/estimate-model-memory.js';
import { hparamsOf, type ModelHparams } from '../../src/model/sizing/model-hparams.js';
import { codeOf } from '../fixtures/code-of.js';

/** LLaMA 7B, by its paper. */
const LLAMA: ModelHparams = { vocabularySize: 32_000, embeddingLength: 4096, layers: 32, feedForwardLength: 11_008, heads: 32 };

describe('estimateModelMemory', () => {
  test("counts the weights as the seed's estimate_model_memory does, in f32", () => {
    const [e, ff, vocabulary, layers] = [4096, 11_008, 32_000, 32];
    let seed = vocabulary * e * 4;
    for (let i = 0; i < layers; i++) seed += (3 * e * e + e * e + 3 * e * ff + 2 * e) * 4;
    seed += e * vocabulary * 4;
    const estimate = estimateModelMemory(LLAMA);
    expect(estimate.weightBytes).toBe(seed);
    // The 6.74 thousand million parameters of the paper, less the last norm.
    expect(estimate.weightBytes / 4).toBe(6_738_415_616 - e);
  });

  test('counts two numbers for each token, layer and length of keys and values', () => {
    expect(estimateModelMemory(LLAMA, { contextLength: 2048 }).cacheBytes).toBe(2048 * 32 * 2 * 4096 * 2);
    const grouped = { ...LLAMA, keyLength: 1024, valueLength: 512 };
    expect(estimateModelMemory(grouped, { contextLength: 100, cacheElementBytes: 4 }).cacheBytes).toBe(100 * 32 * 1536 * 4);
    expect(estimateModelMemory({ ...LLAMA, contextLength: 7 }).cacheBytes).toBe(7 * 32 * 2 * 4096 * 2);
  });

  test('adds 10 % to all of it', () => {
    const { weightBytes, cacheBytes, computeBytes, overheadBytes, totalBytes } = estimateModelMemory(LLAMA, { batchSize: 128 });
    expect(computeBytes).toBe(4 * 128 * (4 * 4096 + 2 * 11_008 + 32_000 + 32 * 4096));
    expect(overheadBytes).toBe(Math.round(0.1 * (weightBytes + cacheBytes + computeBytes)));
    expect(totalBytes).toBe(weightBytes + cacheBytes + computeBytes + overheadBytes);
  });

  test('takes the weights of the file where they are known', () => {
    const estimate = estimateModelMemory({ ...LLAMA, weights: { layerBytes: 3_000_000, otherBytes: 77 } });
    expect(estimate.weightBytes).toBe(3_000_077);
  });

  test.each([{ layers: 0 }, { embeddingLength: Number.NaN }, { vocabularySize: -1 }, { keyLength: Number.POSITIVE_INFINITY }])(
    'refuses %o',
    (wrong) => {
      expect(codeOf(() => estimateModelMemory({ ...LLAMA, ...wrong }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    },
  );
});

describe('fitToMemory', () => {
  const settingsOf = ({ contextLength, gpuLayers, batchSize }: FitProposal) => [contextLength, gpuLayers, batchSize];

  test('proposes what the model was made for when it fits', () => {
    const fit = fitToMemory(LLAMA, 64 * GiB);
    expect(settingsOf(fit)).toEqual([4096, 32, 512]);
    expect(fit).toMatchObject({ fits: true, steps: [], availableBytes: 64 * GiB });
    expect(fit.requiredBytes).toBeCloseTo(estimateModelMemory(LLAMA).totalBytes, -1);
  });

  test("goes the seed's way: the context, then the layers, then the batch, with a reason for each", () => {
    const first = fitToMemory(LLAMA, 29 * GiB);
    expect(settingsOf(first)).toEqual([2048, 32, 512]);
    expect(first.steps).toHaveLength(1);
    expect(first.steps[0]).toMatchObject({ setting: 'contextLength', from: 4096, to: 2048 });
    expect(first.steps[0]!.reason).toMatch(
      /^[\d.]+ GiB were lacking; a cache of keys and values for fewer tokens saves [\d.]+ GiB$/,
    );
    const second = fitToMemory(LLAMA, 14 * GiB);
    expect(second.fits).toBe(true);
    expect([second.contextLength, second.batchSize]).toEqual([1024, 512]);
    expect(second.gpuLayers).toBeGreaterThan(10);
    expect(second.gpuLayers).toBeLessThan(20);
    const third = fitToMemory(LLAMA, 50_000_000);
    expect([third.contextLength, third.gpuLayers]).toEqual([1024, 0]);
    expect(third.steps.map(({ setting }) => setting)).toEqual(['contextLength', 'gpuLayers', 'batchSize']);
  });

  test('says that it does not fit, and what the least is', () => {
    const fit = fitToMemory(LLAMA, 0);
    expect(fit).toMatchObject({ fits: false, contextLength: 1024, gpuLayers: 0, batchSize: 128 });
    expect(fit.requiredBytes).toBeGreaterThan(0);
    expect(codeOf(() => fitToMemory(LLAMA, -1))).toBe('ERR_MEM_INVALID_SIZE');
  });

  test('never makes larger what was asked to be small', () => {
    const fit = fitToMemory(LLAMA, 1000, { contextLength: 100, batchSize: 7 });
    expect([fit.contextLength, fit.batchSize]).toEqual([100, 7]);
  });

  test('proposes something that fits, and never less for more memory', () => {
    const available = fc.integer({ min: 0, max: 40 * GiB });
    fc.assert(
      fc.property(available, available, (a, b) => {
        const [less, more] = [fitToMemory(LLAMA, Math.min(a, b)), fitToMemory(LLAMA, Math.max(a, b))];
        for (const fit of [less, more]) expect(fit.fits).toBe(fit.requiredBytes <= fit.availableBytes);
        settingsOf(less).forEach((value, i) => {
          expect(value).toBeLessThanOrEqual(settingsOf(more)[i]!);
        });
      }),
      { numRuns: 200 },
    );
  });
});

describe('hparamsOf', () => {
  const model = (metadata: Record<string, MetadataValue>): ModelDescription => ({
    format: 'gguf',
    path: 'model.gguf',
    fileBytes: 1000,
    dataOffset: 0,
    metadata: new Map(Object.entries(metadata)),
    tensors: [
      { name: 'token_embd.weight', dtype: DTYPES.f16, shape: [50, 8], offset: 0, bytes: 800 },
      { name: 'blk.0.attn_q.weight', dtype: DTYPES.f16, shape: [8, 8], offset: 800, bytes: 128 },
    ],
  });
  const LEAST = { 'general.architecture': 'x', 'x.embedding_length': 8, 'x.block_count': 1, 'x.feed_forward_length': 16 };

  test('reads them from the metadata of the architecture', () => {
    const more = { 'x.attention.head_count': 4, 'x.attention.head_count_kv': 2, 'x.context_length': 777n, 'x.vocab_size': 60 };
    expect(hparamsOf(model({ ...LEAST, ...more }))).toEqual({
      vocabularySize: 60,
      embeddingLength: 8,
      layers: 1,
      feedForwardLength: 16,
      heads: 4,
      keyLength: 4,
      valueLength: 4,
      contextLength: 777,
      weights: { layerBytes: 128, otherBytes: 800 },
    });
    const lengths = { 'x.attention.head_count_kv': [2, 4], 'x.attention.key_length': 5, 'x.attention.value_length': 6 };
    expect(hparamsOf(model({ ...LEAST, ...lengths }))).toMatchObject({ keyLength: 15, valueLength: 18 });
  });

  test('counts the vocabulary where it is not given', () => {
    expect(hparamsOf(model(LEAST))?.vocabularySize).toBe(50);
    expect(hparamsOf(model({ ...LEAST, 'tokenizer.ggml.tokens': ['a', 'b'] }))?.vocabularySize).toBe(2);
  });

  test.each([{}, { 'general.architecture': 5 }, { ...LEAST, 'x.block_count': 0 }, { ...LEAST, 'x.embedding_length': 'many' }])(
    'gives nothing for %o',
    (metadata) => {
      expect(hparamsOf(model(metadata as Record<string, MetadataValue>))).toBeUndefined();
    },
  );
});
