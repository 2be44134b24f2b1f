import { MemoryError } from '../../core/errors.js';
import type { DType } from '../dtypes.js';
import { type Shape, tensorBytes } from '../shapes.js';

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

/** What a model file says of itself, checked: every tensor's bytes lie in the file, and no two overlap. */
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
export function checkLayout(declared: readonly DeclaredTensor[], rules: LayoutRules): ModelTensor[] {
  const { path, fileBytes, dataOffset, alignment } = rules;
  const names = new Set<string>();
  const tensors = declared.map((tensor) => {
    const what = `tensor ${JSON.stringify(tensor.name)}`;
    if (names.has(tensor.name)) throw badModel(path, `${what} is there twice`);
    names.add(tensor.name);
    const bytes = sizeOf(tensor, path, what);
    const place = tensor.offset - dataOffset;
    if (place % alignment !== 0) throw badModel(path, `${what}: its offset ${place} is no multiple of ${alignment}`);
    if (place < 0 || tensor.offset + bytes > fileBytes) {
      const end = `ends at byte ${tensor.offset + bytes}`;
      throw badModel(path, `${what}: its data of ${bytes} bytes at offset ${place} ${end}, the file has ${fileBytes}`);
    }
    return { ...tensor, bytes };
  });
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  for (const [i, tensor] of tensors.entries()) {
    const next = tensors[i + 1];
    if (next !== undefined && tensor.offset + tensor.bytes > next.offset) {
      throw badModel(
        path,
        `tensor ${JSON.stringify(next.name)}: its data overlaps that of tensor ${JSON.stringify(tensor.name)}`,
      );
    }
  }
  return tensors;
}

/** Makes the error of a model file that cannot be used. */
export function badModel(file: string, reason: string, cause?: unknown): MemoryError<'ERR_MEM_BAD_INPUT'> {
  return new MemoryError('ERR_MEM_BAD_INPUT', { file, line: 0, reason }, cause);
}

function sizeOf(tensor: DeclaredTensor, path: string, what: string): number {
  try {
    return tensorBytes(tensor.dtype, tensor.shape);
  } catch (error) {
    if (!MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) throw error;
    throw badModel(path, `${what}: ${error.message}`, error);
  }
}
