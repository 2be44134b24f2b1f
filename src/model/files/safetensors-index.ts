import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isRecord, parseJson } from './json.js';
import { badFile, checkFile } from './model-description.js';

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
    if (size > MAX_BYTES) throw new Error(`${size} bytes are too many for an index`);
    return readFileSync(path);
  } catch (error) {
    throw badFile(path, `it cannot be read: ${(error as Error).message}`, error);
  }
}
