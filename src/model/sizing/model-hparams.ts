import type { MetadataValue, ModelDescription } from '../files/model-description.js';

/** What the memory of a transformer depends on. */
export interface ModelHparams {
  readonly vocabularySize: number;
  readonly embeddingLength: number;
  readonly layers: number;
  readonly feedForwardLength: number;
  /** @defaultValue 1: it matters to the compute buffer alone */
  readonly heads?: number;
  /** The length of a layer's keys for one token: heads for keys and values, times their length. @defaultValue `embeddingLength` */
  readonly keyLength?: number;
  /** The length of a layer's values for one token. @defaultValue `keyLength` */
  readonly valueLength?: number;
  /** The context that the model was made for. @defaultValue 4096 */
  readonly contextLength?: number;
  /** The bytes of the weights, where a file tells; else they are computed as f32. */
  readonly weights?: Readonly<Record<'layerBytes' | 'otherBytes', number>>;
}

/** A model file, or all files of one. */
export type DescribedModel = Pick<ModelDescription, 'metadata' | 'tensors' | 'part'>;

/**
 * Finds the hyper-parameters in the metadata of a GGUF file.
 *
 * @param model - a file, or a ModelSet of all its parts
 * @returns undefined when it does not tell enough, as safetensors files do not, nor a part of a model, whose weights are
 *   elsewhere, nor a file with a vocabulary alone
 */
export function hparamsOf(model: DescribedModel): ModelHparams | undefined {
  if (model.part !== undefined || model.tensors.length === 0) return undefined;
  const architecture = model.metadata.get('general.architecture');
  if (typeof architecture !== 'string') return undefined;
  const numberOf = (key: string) => positive(model.metadata.get(`${architecture}.${key}`));
  const embeddingLength = numberOf('embedding_length');
  const layers = numberOf('block_count');
  const feedForwardLength = numberOf('feed_forward_length');
  const vocabularySize = numberOf('vocab_size') ?? vocabularyOf(model);
  if (!embeddingLength || !layers || !feedForwardLength || !vocabularySize) return undefined;
  const heads = numberOf('attention.head_count') ?? 1;
  const keyHeads = numberOf('attention.head_count_kv') ?? heads;
  const headLength = embeddingLength / heads;
  const contextLength = numberOf('context_length');
  return {
    vocabularySize,
    embeddingLength,
    layers,
    feedForwardLength,
    heads,
    keyLength: keyHeads * (numberOf('attention.key_length') ?? headLength),
    valueLength: keyHeads * (numberOf('attention.value_length') ?? headLength),
    ...(contextLength === undefined ? {} : { contextLength }),
    weights: weightsOf(model),
  };
}

function weightsOf({ tensors }: DescribedModel): NonNullable<ModelHparams['weights']> {
  const weights = { layerBytes: 0, otherBytes: 0 };
  for (const { name, bytes } of tensors) weights[name.startsWith('blk.') ? 'layerBytes' : 'otherBytes'] += bytes;
  return weights;
}

function vocabularyOf(model: DescribedModel): number | undefined {
  const tokens = model.metadata.get('tokenizer.ggml.tokens');
  const embedding = model.tensors.find(({ name }) => name === 'token_embd.weight');
  return Array.isArray(tokens) ? tokens.length : embedding?.shape[0];
}

/** A number above 0; of a list, which has one number a layer, the mean. */
function positive(value: MetadataValue | undefined): number | undefined {
  if (Array.isArray(value)) {
    const numbers = value.map(Number);
    return positive(numbers.reduce((sum, one) => sum + one, 0) / numbers.length);
  }
  const number = typeof value === 'bigint' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) && number > 0 ? number : undefined;
}
