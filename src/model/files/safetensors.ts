import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { exactBytes, MiB } from '../../core/units.js';
import { type DType, dtypeOfSafetensors, unknownDType } from '../dtypes.js';
import type { MappedFile } from '../mapped-file.js';
import {
  badFile,
  checkFile,
  checkLayout,
  type DeclaredTensor,
  type ModelDescription,
  type ModelTensor,
  partByName,
} from './model-description.js';

/** @see Source: safetensors, MAX_HEADER_SIZE */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;
const METADATA = '__metadata__';
const MAX_INDEX_BYTES = 100_000_000;
/** A tensor's entry has one object and two lists in some 50 bytes. */
const LEAST_CONTAINER_BYTES = 12;
const SPARE_CONTAINERS = 64;
const MAX_DEPTH = 16;
const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = Buffer.from('"\\[]{}') as unknown as number[];

/**
 * Reads the description in a safetensors file: 8 bytes with the length of a JSON text, the text, then the data, which the
 * tensors cover without a gap. None of the data is touched.
 *
 * @see Source: the safetensors format, github.com/huggingface/safetensors
 * @throws ERR_MEM_BAD_INPUT that names the field
 */
export function readSafetensors(file: MappedFile): ModelDescription {
  const { path, bytes: fileBytes } = file;
  const [header, dataOffset] = readHeader(file);
  let metadata = new Map<string, string>();
  const declared: Declared[] = [];
  const rules = { path, dataOffset, unknown: new Map<string, DType>() };
  for (const [name, entry] of Object.entries(header)) {
    if (name === METADATA) metadata = readMetadata(entry, path);
    else declared.push(declare(name, entry, rules));
  }
  const tensors = checkLayout(declared, { path, fileBytes, dataOffset, alignment: 1 });
  checkCover(tensors, { path, fileBytes, dataOffset });
  return { format: 'safetensors', path, fileBytes, metadata, part: partByName(path), tensors, dataOffset };
}

interface Declared extends DeclaredTensor {
  /** Where its data ends in the file, as the header says. */
  readonly end: number;
}

function readHeader(file: MappedFile): [header: Record<string, unknown>, dataOffset: number] {
  const { path, bytes: fileBytes } = file;
  checkFile(fileBytes >= LENGTH_BYTES, path, 'it is too short for the length of a header');
  const start = file.bytesAt(0, LENGTH_BYTES);
  const length = new DataView(start.buffer, start.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  const most = `at most ${Math.round(MAX_HEADER_BYTES / MiB)} MiB are possible`;
  checkFile(length <= MAX_HEADER_BYTES, path, `the length of its header is ${length}, ${most}`);
  const dataOffset = LENGTH_BYTES + Number(length);
  checkFile(
    dataOffset <= fileBytes,
    path,
    `its header of ${exactBytes(Number(length))} ends beyond the file's ${exactBytes(fileBytes)}`,
  );
  const header = parseJson(file.bytesAt(LENGTH_BYTES, Number(length)), path, 'its header');
  checkFile(isRecord(header), path, 'its header is no JSON object');
  return [header, dataOffset];
}

function readMetadata(entry: unknown, path: string): Map<string, string> {
  // It is optional, and null is none.
  const record = entry ?? {};
  checkFile(isRecord(record), path, `${METADATA} is no JSON object`);
  const entries = Object.entries(record as Record<string, string>);
  for (const [key, value] of entries)
    checkFile(typeof value === 'string', path, `${METADATA} ${JSON.stringify(key)} is no string`);
  return new Map(entries);
}

interface Rules extends Pick<ModelDescription, 'path' | 'dataOffset'> {
  /** Types that are not known here, by name: the first tensor that has elements tells the sizes. */
  readonly unknown: Map<string, DType>;
}

function declare(name: string, entry: unknown, { dataOffset, path, unknown }: Rules): Declared {
  const what = `tensor ${JSON.stringify(name)}`;
  checkFile(isRecord(entry), path, `${what} is no JSON object`);
  const { dtype: type, shape, data_offsets: range } = entry;
  checkFile(typeof type === 'string', path, `${what}: its dtype is no text`);
  checkFile(isSizes(shape), path, `${what}: its shape is no list of sizes`);
  checkFile(isSizes(range) && range.length === 2, path, `${what}: its data_offsets are no two places`);
  const [start, end] = range as [number, number];
  let dtype = dtypeOfSafetensors(type) ?? unknown.get(type);
  if (dtype === undefined) {
    const elements = shape.reduce((product, length) => product * length, 1);
    checkFile(start <= end && Number.isSafeInteger(elements), path, `${what}: its data has no size`);
    dtype = unknownDType(type, elements, end - start);
    if (elements > 0) unknown.set(type, dtype);
  }
  return { name, dtype, shape, offset: dataOffset + start, end: dataOffset + end };
}

/** The data belongs to the tensors from its first to its last byte, and to each what its shape says. */
function checkCover(
  tensors: readonly (Declared & ModelTensor)[],
  { path, fileBytes, dataOffset }: Pick<ModelDescription, 'path' | 'fileBytes' | 'dataOffset'>,
): void {
  let place = dataOffset;
  for (const { name, offset, end, bytes } of tensors) {
    const what = `tensor ${JSON.stringify(name)}`;
    checkFile(
      end - offset === bytes,
      path,
      `${what}: its data_offsets span ${exactBytes(end - offset)}, its shape needs ${exactBytes(bytes)}`,
    );
    checkFile(offset === place, path, `${what}: ${exactBytes(offset - place)} before its data belong to no tensor`);
    place = offset + bytes;
  }
  checkFile(place === fileBytes, path, `no tensor has the last ${exactBytes(fileBytes - place)}`);
}

/** Tells whether a path is that of an index of safetensors files. */
export function isSafetensorsIndex(path: string): boolean {
  return path.endsWith('.safetensors.index.json');
}

/**
 * Reads `model.safetensors.index.json`, which tells the file of each tensor.
 *
 * @returns the tensors' names by the path of their file
 * @throws ERR_MEM_BAD_INPUT that names the tensor
 */
export function readSafetensorsIndex(path: string): Map<string, string[]> {
  const index = parseJson(contentOf(path), path, 'it');
  const places = isRecord(index) ? index.weight_map : undefined;
  checkFile(isRecord(places), path, 'it has no "weight_map"');
  const files = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(places)) {
    // A file elsewhere is none of the set's.
    const isBeside = typeof file === 'string' && file !== '' && basename(file) === file;
    checkFile(isBeside, path, `weight_map ${JSON.stringify(tensor)} names no file beside it`);
    const at = join(dirname(path), file);
    const names = files.get(at) ?? [];
    names.push(tensor);
    files.set(at, names);
  }
  checkFile(files.size > 0, path, 'its "weight_map" is empty');
  return files;
}

function contentOf(path: string): Buffer {
  try {
    const { size } = statSync(path);
    if (size > MAX_INDEX_BYTES) throw new Error(`${size} bytes are too many for an index`);
    return readFileSync(path);
  } catch (error) {
    throw badFile(path, `it cannot be read: ${(error as Error).message}`, error);
  }
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

/**
 * Parses a JSON text of a model file, after a check of its nesting.
 *
 * @param what - the text, for messages: `it`, or `its header`
 * @throws ERR_MEM_BAD_INPUT for what is no JSON, or nests too deep or too often
 */
function parseJson(text: Uint8Array, path: string, what: string): unknown {
  checkNesting(text, path, what);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text.slice()));
  } catch (error) {
    throw badFile(path, `${what} is no JSON: ${(error as Error).message}`, error);
  }
}

/** Tells whether a parsed value is an object, and not a list. */
function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Checks that a JSON text has no more lists and objects than its size lets expect, nor deeper ones, before a parser makes
 * values of it: two bytes that make an object take 60 bytes then. Cost: O(bytes), without an allocation.
 *
 * @throws ERR_MEM_BAD_INPUT that names the byte of the text
 */
function checkNesting(text: Uint8Array, path: string, what: string): void {
  const most = SPARE_CONTAINERS + text.length / LEAST_CONTAINER_BYTES;
  let [containers, depth, inText] = [0, 0, false];
  for (let at = 0; at < text.length; at++) {
    const byte = text[at];
    if (inText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) {
      inText = true;
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > MAX_DEPTH) throw badFile(path, `${what} nests lists and objects more than ${MAX_DEPTH} deep at byte ${at}`);
      if (++containers > most) throw badFile(path, `${what} has too many lists and objects for its size at byte ${at}`);
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
      depth--;
    }
  }
}
