import { checkArgument } from '../../core/errors.js';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import { checkBytes, formatBytes } from '../../core/units.js';
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

const SETTINGS: OptionNames<RunSettings> = { contextLength: true, batchSize: true, cacheElementBytes: true };

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
type LayerEstimate = Readonly<Record<'layerWeightBytes' | 'layerCacheBytes' | 'otherWeightBytes' | 'computeBytes', number>>;

export const DEFAULT_CONTEXT_LENGTH = 4096;
export const DEFAULT_BATCH_SIZE = 512;
const OVERHEAD = 0.1;
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
function estimateLayers(hparams: ModelHparams, settings: RunSettings = {}): LayerEstimate {
  checkOptionNames('the run', settings, SETTINGS);
  const { vocabularySize, embeddingLength: e, layers, feedForwardLength: ff, heads = 1, weights } = hparams;
  const { keyLength = e, valueLength = keyLength } = hparams;
  const { batchSize = DEFAULT_BATCH_SIZE, cacheElementBytes = F16_BYTES } = settings;
  const contextLength = settings.contextLength ?? hparams.contextLength ?? DEFAULT_CONTEXT_LENGTH;
  const numbers = { vocabularySize, embeddingLength: e, layers, feedForwardLength: ff, heads, keyLength, valueLength };
  for (const [name, value] of Object.entries({ ...numbers, contextLength, batchSize, cacheElementBytes })) {
    checkArgument(Number.isFinite(value) && value > 0, name, value, 'a number above 0');
  }
  const attention = 2 * e * e + e * (keyLength + valueLength);
  return {
    layerWeightBytes: weights === undefined ? F32_BYTES * (attention + 3 * e * ff + 2 * e) : weights.layerBytes / layers,
    layerCacheBytes: contextLength * (keyLength + valueLength) * cacheElementBytes,
    otherWeightBytes: weights?.otherBytes ?? F32_BYTES * 2 * vocabularySize * e,
    computeBytes: F32_BYTES * batchSize * (4 * e + 2 * ff + vocabularySize + heads * contextLength),
  };
}

/** How a model is to be run. */
export interface FitSettings extends Required<Pick<RunSettings, 'contextLength' | 'batchSize'>> {
  /** Layers whose weights and cache lie in the memory in question; the others stay in the mapped file. */
  readonly gpuLayers: number;
}

/** One thing that was made smaller, and why. */
export interface FitStep {
  readonly setting: keyof FitSettings;
  readonly from: number;
  readonly to: number;
  readonly savedBytes: number;
  readonly reason: string;
}

/** What {@link fitToMemory} proposes. */
export interface FitProposal extends FitSettings {
  /** Whether it fits. If not, these are the smallest settings. */
  readonly fits: boolean;
  readonly requiredBytes: number;
  readonly availableBytes: number;
  readonly steps: readonly FitStep[];
}

/** Smaller contexts and batches are of little use: none is proposed. @see Source: seed 4, whose conservative settings these are */
const LEAST_CONTEXT_LENGTH = 1024;
const LEAST_BATCH_SIZE = 128;

/**
 * Proposes settings with which a model fits into memory: the model's own where they do; else it makes smaller, until it
 * fits, first the context (by halves, to 1024), then the layers that are put there (one by one), then the batch (by halves,
 * to 128). The first two are tried as far as they go before the next.
 *
 * Layers that are not put there stay in the mapped file, where the CPU uses them; so do the embeddings and the output when
 * not all layers are there.
 *
 * @param availableBytes - of the memory that the layers are put into: the GPU's, or the machine's
 * @param settings - what to begin with. @defaultValue the model's context, all layers, a batch of 512
 * @throws ERR_MEM_INVALID_SIZE; ERR_MEM_INVALID_ARGUMENT for a hyper-parameter that is not above 0
 * @see Source: seed 4, "dynamic memory management"
 */
export function fitToMemory(
  hparams: ModelHparams,
  availableBytes: number,
  settings: Pick<RunSettings, 'contextLength' | 'batchSize' | 'cacheElementBytes'> = {},
): FitProposal {
  checkBytes(availableBytes);
  const requires = ({ contextLength, gpuLayers, batchSize }: FitSettings) => {
    const parts = estimateLayers(hparams, { ...settings, contextLength, batchSize });
    const others = gpuLayers === hparams.layers ? parts.otherWeightBytes : 0;
    const bytes = gpuLayers * (parts.layerWeightBytes + parts.layerCacheBytes) + others + parts.computeBytes;
    return Math.round(bytes * (1 + OVERHEAD));
  };
  let now: FitSettings = {
    contextLength: settings.contextLength ?? hparams.contextLength ?? DEFAULT_CONTEXT_LENGTH,
    gpuLayers: hparams.layers,
    batchSize: settings.batchSize ?? DEFAULT_BATCH_SIZE,
  };
  const steps: FitStep[] = [];
  for (const [setting, next, why] of REDUCTIONS) {
    const before = now;
    const lacked = requires(now) - availableBytes;
    while (requires(now) > availableBytes) {
      const value = next(now[setting]);
      if (value >= now[setting]) break;
      now = { ...now, [setting]: value };
    }
    if (now === before) continue;
    const savedBytes = requires(before) - requires(now);
    const reason = `${formatBytes(lacked)} were lacking; ${why} saves ${formatBytes(savedBytes)}`;
    steps.push({ setting, from: before[setting], to: now[setting], savedBytes, reason });
  }
  return { ...now, fits: requires(now) <= availableBytes, requiredBytes: requires(now), availableBytes, steps };
}

/** A setting, the next smaller value of it (the same where there is none), and what that is. */
type Reduction = readonly [setting: keyof FitSettings, next: (value: number) => number, why: string];

const REDUCTIONS: readonly Reduction[] = [
  ['contextLength', halveTo(LEAST_CONTEXT_LENGTH), 'a cache of keys and values for fewer tokens'],
  ['gpuLayers', (value) => Math.max(0, value - 1), 'leaving layers in the mapped file, to the CPU,'],
  ['batchSize', halveTo(LEAST_BATCH_SIZE), 'a compute buffer for fewer tokens at once'],
];

function halveTo(least: number): (value: number) => number {
  return (value) => Math.max(Math.min(value, least), Math.floor(value / 2));
}
