import { MiB } from '../../core/units.js';
import { dtypeOfSafetensors } from '../dtypes.js';
import type { MappedFile } from '../mapped-file.js';
import { badModel, checkLayout, type DeclaredTensor, type ModelDescription, type ModelTensor } from './model-description.js';

/** @see Source: safetensors, MAX_HEADER_SIZE */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;
const METADATA = '__metadata__';

/**
 * Reads what a safetensors file says of itself: 8 bytes with the length of a JSON text, the text, then the data, which the
 * tensors cover without a gap. None of the data is touched.
 *
 * @see Source: the safetensors format, github.com/huggingface/safetensors
 * @throws ERR_MEM_BAD_INPUT that names the field
 */
export function readSafetensors(file: MappedFile): ModelDescription {
  const { path, bytes: fileBytes } = file;
  const { header, dataOffset } = readHeader(file);
  let metadata = new Map<string, string>();
  const declared: Declared[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === METADATA) metadata = readMetadata(entry, path);
    else declared.push(declare(name, entry, dataOffset, path));
  }
  const tensors = checkLayout(declared, { path, fileBytes, dataOffset, alignment: 1 });
  checkCover(tensors, declared, { path, fileBytes, dataOffset });
  return { format: 'safetensors', path, fileBytes, metadata, tensors, dataOffset };
}

interface Declared extends DeclaredTensor {
  /** Where its data ends in the file, as the header says. */
  readonly end: number;
}

function readHeader(file: MappedFile): { header: Record<string, unknown>; dataOffset: number } {
  const { path, bytes: fileBytes } = file;
  if (fileBytes < LENGTH_BYTES) throw badModel(path, 'it is too short for the length of a header');
  const start = file.bytesAt(0, LENGTH_BYTES);
  const length = new DataView(start.buffer, start.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    throw badModel(path, `the length of its header is ${length}, at most ${Math.round(MAX_HEADER_BYTES / MiB)} MiB are possible`);
  }
  const dataOffset = LENGTH_BYTES + Number(length);
  if (dataOffset > fileBytes) throw badModel(path, `its header of ${length} bytes ends beyond the file's ${fileBytes}`);
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(file.bytesAt(LENGTH_BYTES, Number(length)).slice()));
  } catch (error) {
    throw badModel(path, `its header is no JSON: ${(error as Error).message}`, error);
  }
  if (!isRecord(header)) throw badModel(path, 'its header is no JSON object');
  return { header, dataOffset };
}

function readMetadata(entry: unknown, path: string): Map<string, string> {
  if (!isRecord(entry)) throw badModel(path, `${METADATA} is no JSON object`);
  const metadata = new Map<string, string>();
  for (const [key, value] of Object.entries(entry)) {
    if (typeof value !== 'string') throw badModel(path, `${METADATA} ${JSON.stringify(key)} is no string`);
    metadata.set(key, value);
  }
  return metadata;
}

function declare(name: string, entry: unknown, dataOffset: number, path: string): Declared {
  const what = `tensor ${JSON.stringify(name)}`;
  if (!isRecord(entry)) throw badModel(path, `${what} is no JSON object`);
  const { dtype: type, shape, data_offsets: range } = entry;
  const dtype = typeof type === 'string' ? dtypeOfSafetensors(type) : undefined;
  if (dtype === undefined) throw badModel(path, `${what}: its dtype ${JSON.stringify(type)} is none that is known`);
  if (!isSizes(shape)) throw badModel(path, `${what}: its shape is no list of sizes`);
  if (!isSizes(range) || range.length !== 2) throw badModel(path, `${what}: its data_offsets are no two places`);
  return { name, dtype, shape, offset: dataOffset + range[0]!, end: dataOffset + range[1]! };
}

/** The data belongs to the tensors from its first to its last byte, and to each what its shape says. */
function checkCover(
  tensors: readonly ModelTensor[],
  declared: readonly Declared[],
  { path, fileBytes, dataOffset }: { readonly path: string; readonly fileBytes: number; readonly dataOffset: number },
): void {
  const ends = new Map(declared.map(({ name, end }) => [name, end]));
  let place = dataOffset;
  for (const { name, offset, bytes } of tensors) {
    const what = `tensor ${JSON.stringify(name)}`;
    const said = ends.get(name)! - offset;
    if (said !== bytes) throw badModel(path, `${what}: its data_offsets span ${said} bytes, its shape needs ${bytes}`);
    if (offset !== place) throw badModel(path, `${what}: ${offset - place} bytes before its data belong to no tensor`);
    place = offset + bytes;
  }
  if (place !== fileBytes) throw badModel(path, `its last ${fileBytes - place} bytes belong to no tensor`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
