import { basename, dirname, join } from 'node:path';
import { MemoryError } from '../../core/errors.js';
import { exactBytes } from '../../core/units.js';
import type { DType } from '../dtypes.js';
import { type Shape, tensorBytes } from '../tensors/tensor-layout.js';

/** Which part of a model a file is, where the model was split over several files. */
export interface ModelPart {
  /** From 1. */
  readonly number: number;
  /** 2 or more. */
  readonly count: number;
}

/** The file formats that are read. */
export type ModelFormat = 'gguf' | 'safetensors';

/** A value of a model file's metadata; 64-bit integers are BigInts. */
export type MetadataValue = string | number | bigint | boolean | readonly MetadataValue[];

/** A tensor in a model file. */
export interface ModelTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Where its data begins in the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** The checked description of a model file: every tensor's bytes lie in the file, and no two overlap. */
export interface ModelDescription {
  readonly format: ModelFormat;
  readonly path: string;
  readonly fileBytes: number;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** Which part of a model the file is; undefined for a whole one. ModelSet opens all parts. */
  readonly part?: ModelPart | undefined;
  /** In the order of the file. */
  readonly tensors: readonly ModelTensor[];
  /** Where the tensors' data begins in the file. */
  readonly dataOffset: number;
}

/** A tensor as its file describes it; the offsets are not checked yet. */
export type DeclaredTensor = Omit<ModelTensor, 'bytes'>;

/** What the tensors of a format have to keep to. */
export interface LayoutRules extends Pick<ModelDescription, 'path' | 'fileBytes' | 'dataOffset'> {
  /** Of each offset, in bytes from the beginning of the data. */
  readonly alignment: number;
}

/**
 * Computes the tensors' sizes and checks that their data lies in the file, aligned, without overlaps.
 *
 * @returns them by their place in the file
 * @throws ERR_MEM_BAD_INPUT that names the tensor
 */
export function checkLayout<T extends DeclaredTensor>(
  declared: readonly T[],
  { path, fileBytes, dataOffset, alignment }: LayoutRules,
): (T & ModelTensor)[] {
  const names = new Set<string>();
  const tensors = declared.map((tensor) => {
    const what = `tensor ${JSON.stringify(tensor.name)}`;
    checkFile(!names.has(tensor.name), path, `${what} is there twice`);
    names.add(tensor.name);
    const bytes = sizeOf(tensor, path, what);
    const place = tensor.offset - dataOffset;
    const end = tensor.offset + bytes;
    checkFile(place % alignment === 0, path, `${what}: its offset ${place} is no multiple of ${alignment}`);
    const reach = `its data of ${exactBytes(bytes)} at offset ${place} ends at byte ${end}`;
    checkFile(place >= 0 && end <= fileBytes, path, `${what}: ${reach}, the file has ${exactBytes(fileBytes)}`);
    return { ...tensor, bytes };
  });
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  for (const [i, { name, offset }] of tensors.slice(1).entries()) {
    const before = tensors[i]!;
    const overlap = `its data overlaps that of tensor ${JSON.stringify(before.name)}`;
    checkFile(before.offset + before.bytes <= offset, path, `tensor ${JSON.stringify(name)}: ${overlap}`);
  }
  return tensors;
}

/** @throws ERR_MEM_BAD_INPUT unless `ok` */
export function checkFile(ok: boolean, file: string, reason: string): asserts ok {
  if (!ok) throw badFile(file, reason);
}

/** Makes the error of a model file that cannot be used. */
export function badFile(file: string, reason: string, cause?: unknown): MemoryError<'ERR_MEM_BAD_INPUT'> {
  return new MemoryError('ERR_MEM_BAD_INPUT', { file, line: 0, reason }, cause);
}

function sizeOf(tensor: DeclaredTensor, path: string, what: string): number {
  try {
    return tensorBytes(tensor.dtype, tensor.shape);
  } catch (error) {
    if (!MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) throw error;
    throw badFile(path, `${what}: ${error.message}`, error);
  }
}

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
