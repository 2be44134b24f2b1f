import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { checkNesting } from './json-nesting.js';
import { badModel } from './model-description.js';

const MAX_BYTES = 100_000_000;

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
  const text = contentOf(path);
  checkNesting(text, (reason) => badModel(path, `it ${reason}`));
  let index: unknown;
  try {
    index = JSON.parse(text.toString('utf8'));
  } catch (error) {
    throw badModel(path, `it is no JSON: ${(error as Error).message}`, error);
  }
  const places = (index as { readonly weight_map?: unknown } | null)?.weight_map;
  if (typeof places !== 'object' || places === null || Array.isArray(places)) throw badModel(path, 'it has no "weight_map"');
  const files = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(places)) {
    const what = `weight_map ${JSON.stringify(tensor)}`;
    // A file elsewhere is none of the set's.
    if (typeof file !== 'string' || file === '' || basename(file) !== file)
      throw badModel(path, `${what} names no file beside it`);
    const at = join(dirname(path), file);
    const names = files.get(at);
    if (names === undefined) files.set(at, [tensor]);
    else names.push(tensor);
  }
  if (files.size === 0) throw badModel(path, 'its "weight_map" is empty');
  return files;
}

function contentOf(path: string): Buffer {
  try {
    const { size } = statSync(path);
    if (size > MAX_BYTES) throw new Error(`${size} bytes are too many for an index`);
    return readFileSync(path);
  } catch (error) {
    throw badModel(path, `it cannot be read: ${(error as Error).message}`, error);
  }
}
