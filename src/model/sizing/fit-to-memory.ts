import { checkBytes, formatBytes } from '../../core/units.js';
import {
  DEFAULT_BATCH_SIZE,
  DEFAULT_CONTEXT_LENGTH,
  estimateLayers,
  OVERHEAD,
  type RunSettings,
} from './estimate-model-memory.js';
import type { ModelHparams } from './model-hparams.js';

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
  /** Whether it fits. If not, this is the least that there is. */
  readonly fits: boolean;
  readonly requiredBytes: number;
  readonly availableBytes: number;
  readonly steps: readonly FitStep[];
}

/** Smaller contexts and batches are hardly of use: none is proposed. @see Source: seed 4, whose conservative settings these are */
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
 * @throws ERR_MEM_INVALID_SIZE; ERR_MEM_INVALID_ARGUMENT for hyper-parameters that cannot be
 * @see Source: seed 4, "dynamic memory management"
 */
export function fitToMemory(
  hparams: ModelHparams,
  availableBytes: number,
  settings: Pick<RunSettings, 'contextLength' | 'batchSize' | 'cacheElementBytes'> = {},
): FitProposal {
  checkBytes(availableBytes);
  const { cacheElementBytes } = settings;
  const cache = cacheElementBytes === undefined ? {} : { cacheElementBytes };
  const requires = (of: FitSettings) => requiredBytes(hparams, of, cache);
  let now: FitSettings = {
    contextLength: settings.contextLength ?? hparams.contextLength ?? DEFAULT_CONTEXT_LENGTH,
    gpuLayers: hparams.layers,
    batchSize: settings.batchSize ?? DEFAULT_BATCH_SIZE,
  };
  const steps: FitStep[] = [];
  for (const { setting, next, why } of REDUCTIONS) {
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

interface Reduction {
  readonly setting: keyof FitSettings;
  /** The next smaller value, or the same where there is none. */
  readonly next: (value: number) => number;
  readonly why: string;
}

const REDUCTIONS: readonly Reduction[] = [
  {
    setting: 'contextLength',
    next: (value) => Math.max(Math.min(value, LEAST_CONTEXT_LENGTH), Math.floor(value / 2)),
    why: 'a cache of keys and values for fewer tokens',
  },
  { setting: 'gpuLayers', next: (value) => Math.max(0, value - 1), why: 'leaving layers in the mapped file, to the CPU,' },
  {
    setting: 'batchSize',
    next: (value) => Math.max(Math.min(value, LEAST_BATCH_SIZE), Math.floor(value / 2)),
    why: 'a compute buffer for fewer tokens at once',
  },
];

function requiredBytes(hparams: ModelHparams, { contextLength, gpuLayers, batchSize }: FitSettings, cache: RunSettings): number {
  const parts = estimateLayers(hparams, { ...cache, contextLength, batchSize });
  const others = gpuLayers === hparams.layers ? parts.otherWeightBytes : 0;
  const bytes = gpuLayers * (parts.layerWeightBytes + parts.layerCacheBytes) + others + parts.computeBytes;
  return Math.round(bytes * (1 + OVERHEAD));
}
