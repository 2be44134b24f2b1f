import { foreignFile } from '../../core/foreign-file.js';
import type { MappedFile } from '../mapped-file.js';
import { readGguf } from './gguf.js';
import { badFile, type ModelDescription } from './model-description.js';
import { readSafetensors } from './safetensors.js';

const GGUF = 'GGUF';
const HEAD_BYTES = 64;
const JSON_TEXT =
  'it is a JSON text, not a model: ModelSet and "stowage model" open the index of a set by its name, *.safetensors.index.json';

const NO_MODEL = 'it is no model that is known here: it begins neither as a GGUF nor as a safetensors file';
/** Where the JSON text of a safetensors file begins, with a brace. */
const JSON_PLACE = 8;

/**
 * Reads the description in a model file. The first bytes tell the format, not the name: GGUF begins with
 * `GGUF`; anything else is read as safetensors.
 *
 * @throws ERR_MEM_BAD_INPUT, as a rejection, for a file that is neither, damaged or cut off; it names the field
 */
export async function readModel(file: MappedFile): Promise<ModelDescription> {
  const head = Buffer.from(file.bytesAt(0, Math.min(HEAD_BYTES, file.bytes)));
  if (head.toString('latin1', 0, GGUF.length) === GGUF) return readGguf(file);
  try {
    return readSafetensors(file);
  } catch (error) {
    // Only then: the length of a good header can begin as other files do.
    const foreign = foreignFile(head) ?? (/^\s*\{\s*"/.test(head.toString('latin1')) ? JSON_TEXT : noModel(file, head));
    throw foreign === undefined ? error : badFile(file.path, foreign, error);
  }
}

/** @returns a reason for a message when neither the name nor the content is that of a safetensors file */
function noModel({ path, bytes }: MappedFile, head: Buffer): string | undefined {
  const isLength = head.length >= JSON_PLACE && head.readBigUInt64LE() <= bytes;
  return isLength || path.endsWith('.safetensors') || head[JSON_PLACE] === '{'.charCodeAt(0) ? undefined : NO_MODEL;
}
