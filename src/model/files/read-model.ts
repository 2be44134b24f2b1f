import type { MappedFile } from '../mapped-file.js';
import { readGguf } from './gguf.js';
import type { ModelDescription } from './model-description.js';
import { readSafetensors } from './safetensors.js';

const GGUF = 'GGUF';

/**
 * Reads what a model file says of itself. The format is told by the first bytes, not by the name: GGUF begins with
 * `GGUF`; anything else is read as safetensors.
 *
 * @throws ERR_MEM_BAD_INPUT, as a rejection, for a file that is neither, damaged or cut off; it names the field
 */
export async function readModel(file: MappedFile): Promise<ModelDescription> {
  const magic = Buffer.from(file.bytesAt(0, Math.min(GGUF.length, file.bytes))).toString('latin1');
  return magic === GGUF ? readGguf(file) : readSafetensors(file);
}
