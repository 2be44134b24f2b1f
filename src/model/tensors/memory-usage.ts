import { counted } from '../../core/counted.js';
import { formatBytes } from '../../core/units.js';
import type { DType } from '../dtypes.js';
import type { ModelTensor } from '../files/model-description.js';

/** What the tensors of one type take. */
export interface DTypeUsage extends Pick<MemoryUsage, 'tensors' | 'bytes'> {
  readonly dtype: DType['name'];
  /** Its part of all bytes, from 0 to 1. */
  readonly share: number;
}

/** What some tensors take, by type. */
export interface MemoryUsage {
  readonly tensors: number;
  readonly bytes: number;
  /** The type with the most bytes first. */
  readonly byDType: readonly DTypeUsage[];
}

/** Adds tensors up by their type. Cost: O(tensors). */
export function analyzeMemoryUsage(tensors: Iterable<Pick<ModelTensor, 'dtype' | 'bytes'>>): MemoryUsage {
  const sums = new Map<DType['name'], Pick<MemoryUsage, 'tensors' | 'bytes'>>();
  let [count, total] = [0, 0];
  for (const { dtype, bytes } of tensors) {
    const sum = sums.get(dtype.name) ?? { tensors: 0, bytes: 0 };
    sums.set(dtype.name, { tensors: sum.tensors + 1, bytes: sum.bytes + bytes });
    count++;
    total += bytes;
  }
  const byDType = Array.from(sums, ([dtype, sum]) => ({ dtype, ...sum, share: total === 0 ? 0 : sum.bytes / total }));
  return { tensors: count, bytes: total, byDType: byDType.sort((a, b) => b.bytes - a.bytes) };
}

/** Writes usage for people: a line for all, and one for each type. */
export function formatMemoryUsage({ tensors, bytes, byDType }: MemoryUsage): string {
  const lines = byDType.map(
    (one) => `  ${one.dtype}: ${counted(one.tensors, 'tensor')}, ${formatBytes(one.bytes)} (${(100 * one.share).toFixed(1)} %)`,
  );
  return [`${counted(tensors, 'tensor')}, ${formatBytes(bytes)}`, ...lines].join('\n');
}

/** The layer of a tensor: before the numbered layers, one of them, or behind them. */
export type ModelLayer = 'input' | number | 'output';

/** The tensors of one layer, and what they take. */
export interface LayerUsage extends MemoryUsage {
  readonly layer: ModelLayer;
}

// GGUF: blk.3.attn_q.weight. Others: model.layers.3.…, transformer.h.3.…, encoder.block.3.…, blocks.3.…
const NUMBERED = /(?:^|\.)(?:blk|layers?|h|blocks?)\.(\d+)\./;
const OUTPUT = /^(?:output|lm_head|cls)|(?:^|\.)(?:norm|ln_f|final_layer_norm|ln_post)\.|_norm\.weight$/;

/** Tells by its name which layer a tensor belongs to. */
export function layerOf(name: string): ModelLayer {
  const number = NUMBERED.exec(name)?.[1];
  if (number !== undefined) return Number(number);
  return OUTPUT.test(name) ? 'output' : 'input';
}

/** Groups tensors by layer: what comes first, the layers by number, what comes last. */
export function byLayer(tensors: readonly ModelTensor[]): Map<ModelLayer, ModelTensor[]> {
  const layers = new Map<ModelLayer, ModelTensor[]>();
  for (const tensor of tensors) {
    const layer = layerOf(tensor.name);
    const group = layers.get(layer) ?? [];
    group.push(tensor);
    layers.set(layer, group);
  }
  const ranks = { input: -1, output: Number.POSITIVE_INFINITY };
  const rank = (layer: ModelLayer) => (typeof layer === 'number' ? layer : ranks[layer]);
  return new Map([...layers].sort(([a], [b]) => rank(a) - rank(b)));
}

/** Adds tensors up by layer and type. Cost: O(tensors). */
export function analyzeLayers(tensors: readonly ModelTensor[]): LayerUsage[] {
  return Array.from(byLayer(tensors), ([layer, group]) => ({ layer, ...analyzeMemoryUsage(group) }));
}
