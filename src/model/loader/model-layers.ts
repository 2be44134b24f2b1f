import type { ModelTensor } from '../files/model-description.js';
import { analyzeMemoryUsage, type MemoryUsage } from '../tensors/memory-usage.js';

/** Where a tensor belongs: before the layers, to one of them (by number), or behind them. */
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
    const group = layers.get(layer);
    if (group === undefined) layers.set(layer, [tensor]);
    else group.push(tensor);
  }
  return new Map([...layers].sort(([a], [b]) => rank(a) - rank(b)));
}

/** Adds tensors up by layer and type. Cost: O(tensors). */
export function analyzeLayers(tensors: readonly ModelTensor[]): LayerUsage[] {
  return Array.from(byLayer(tensors), ([layer, group]) => ({ layer, ...analyzeMemoryUsage(group) }));
}

function rank(layer: ModelLayer): number {
  if (layer === 'input') return -1;
  return layer === 'output' ? Number.POSITIVE_INFINITY : layer;
}
