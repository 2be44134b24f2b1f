import { checkArgument } from '../../core/errors.js';
import type { ModelHparams } from './model-hparams.js';

/** What a run of a model needs beside its weights. */
export interface RunSettings {
  /** Tokens that the cache of keys and values has room for. @defaultValue the model's own */
  readonly contextLength?: number;
  /** Tokens that are computed at once. @defaultValue 512 */
  readonly batchSize?: number;
  /** Bytes of a number in the cache of keys and values. @defaultValue 2: f16 */
  readonly cacheElementBytes?: number;
}

/** The bytes that a model needs, and what they are for. */
export interface MemoryEstimate {
  readonly weightBytes: number;
  /** Keys and values of the context. */
  readonly cacheBytes: number;
  /** Results of a batch on its way through the model. */
  readonly computeBytes: number;
  /** 10 % of the others: metadata, alignment, what allocators keep. */
  readonly overheadBytes: number;
  readonly totalBytes: number;
}

/** The parts of an estimate that depend on how many layers are where. */
export type LayerEstimate = Readonly<
  Record<'layerWeightBytes' | 'layerCacheBytes' | 'otherWeightBytes' | 'computeBytes', number>
>;

export const DEFAULT_CONTEXT_LENGTH = 4096;
export const DEFAULT_BATCH_SIZE = 512;
export const OVERHEAD = 0.1;
const F32_BYTES = 4;
const F16_BYTES = 2;

/**
 * Estimates the memory that a transformer needs, from its hyper-parameters:
 *
 * - weights: those of the file; else in f32 `vocabulary * e` for the embedding and as much for the output, and for each
 *   layer `e * e` for queries and output each, `e * (key + value)`, three times `e * ff`, two norms of `e`;
 * - cache: `layers * context * (key + value)` in f16;
 * - compute buffer, in f32: for each token of a batch `4 * e + 2 * ff`, the logits (`vocabulary`), and the attention's
 *   scores of one layer (`heads * context`);
 * - 10 % overhead.
 *
 * @see Source: seed 4, estimate_model_memory, which counts the weights and the overhead
 * @throws ERR_MEM_INVALID_ARGUMENT for a number that is not above 0
 */
export function estimateModelMemory(hparams: ModelHparams, settings: RunSettings = {}): MemoryEstimate {
  const { layerWeightBytes, layerCacheBytes, otherWeightBytes, computeBytes } = estimateLayers(hparams, settings);
  const weightBytes = Math.round(hparams.layers * layerWeightBytes + otherWeightBytes);
  const cacheBytes = Math.round(hparams.layers * layerCacheBytes);
  const overheadBytes = Math.round(OVERHEAD * (weightBytes + cacheBytes + computeBytes));
  return {
    weightBytes,
    cacheBytes,
    computeBytes,
    overheadBytes,
    totalBytes: weightBytes + cacheBytes + computeBytes + overheadBytes,
  };
}

/** Estimates what each layer needs and what does not belong to one. @throws as {@link estimateModelMemory} */
export function estimateLayers(hparams: ModelHparams, settings: RunSettings = {}): LayerEstimate {
  const { vocabularySize, embeddingLength: e, layers, feedForwardLength: ff, heads = 1 } = hparams;
  const { keyLength = e, weights } = hparams;
  const { valueLength = keyLength } = hparams;
  const { batchSize = DEFAULT_BATCH_SIZE, cacheElementBytes = F16_BYTES } = settings;
  const contextLength = settings.contextLength ?? hparams.contextLength ?? DEFAULT_CONTEXT_LENGTH;
  const numbers = { vocabularySize, embeddingLength: e, layers, feedForwardLength: ff, heads, keyLength, valueLength };
  checkPositive({ ...numbers, contextLength, batchSize, cacheElementBytes });
  const attention = 2 * e * e + e * (keyLength + valueLength);
  return {
    layerWeightBytes: weights === undefined ? F32_BYTES * (attention + 3 * e * ff + 2 * e) : weights.layerBytes / layers,
    layerCacheBytes: contextLength * (keyLength + valueLength) * cacheElementBytes,
    otherWeightBytes: weights?.otherBytes ?? F32_BYTES * 2 * vocabularySize * e,
    computeBytes: F32_BYTES * batchSize * (4 * e + 2 * ff + vocabularySize + heads * contextLength),
  };
}

function checkPositive(numbers: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(numbers)) {
    checkArgument(Number.isFinite(value) && value > 0, name, value, 'a number above 0');
  }
}
