import { basename, dirname, join } from 'node:path';
import type { MetadataValue, ModelPart } from './model-description.js';

/** How split files are named: `model-00001-of-00003.gguf`. @see Source: llama.cpp, llama_split_path; huggingface_hub */
const NAME = /^(.*-)(\d{5,})-of-(\d{5,})(\.\w+)$/;

/** Tells by the metadata of a GGUF file which part it is. */
export function partByMetadata(metadata: ReadonlyMap<string, MetadataValue>): ModelPart | undefined {
  return partOf(Number(metadata.get('split.no') ?? 0) + 1, Number(metadata.get('split.count') ?? 1));
}

/** Tells by its name which part a file is. */
export function partByName(path: string): ModelPart | undefined {
  const [, , number, count] = NAME.exec(basename(path)) ?? [];
  return partOf(Number(number), Number(count));
}

/** Where the parts of a model are, by number; undefined when the name of one does not tell. */
export function partPaths(path: string, { number, count }: ModelPart): string[] | undefined {
  const [, before, own, all, end] = NAME.exec(basename(path)) ?? [];
  if (before === undefined || own === undefined || all === undefined || Number(own) !== number || Number(all) !== count)
    return undefined;
  return Array.from({ length: count }, (_, i) =>
    join(dirname(path), `${before}${String(i + 1).padStart(own.length, '0')}-of-${all}${end}`),
  );
}

/** More files than this are no set. */
const MAX_PARTS = 10_000;

function partOf(number: number, count: number): ModelPart | undefined {
  const isPart = Number.isInteger(number) && Number.isInteger(count) && number >= 1 && number <= count && count <= MAX_PARTS;
  return isPart && count > 1 ? { number, count } : undefined;
}
