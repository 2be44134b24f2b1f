import { endianness } from 'node:os';
import { MemoryError } from '../../core/errors.js';
import { alignUp, isPowerOfTwo, MiB } from '../../core/units.js';
import { dtypeOfGgml } from '../dtypes.js';
import type { MappedFile } from '../mapped-file.js';
import { shapeOfGgml } from '../tensors/tensor-layout.js';
import { checkGgufHeader } from './gguf-header.js';
import {
  badFile,
  checkFile,
  checkLayout,
  type DeclaredTensor,
  type MetadataValue,
  type ModelDescription,
  partByMetadata,
} from './model-description.js';

type Parser = typeof import('@huggingface/gguf');
type Parsed = Awaited<ReturnType<Parser['gguf']>>;

/** What the parser reads of a header at most. */
const MAX_HEADER_BYTES = 45 * MiB;
const DEFAULT_ALIGNMENT = 32;
/** Names that the parser adds to a file's metadata. */
const PARSERS_OWN = ['version', 'tensor_count', 'kv_count'];
/** The parser asks for ranges of this address; nothing goes to a network. */
const MAPPED = 'https://mapped.invalid/model.gguf';

/**
 * Reads the description in a GGUF file with `@huggingface/gguf`. The header's structure is checked before, the tensors are
 * checked afterwards. None of their data is touched.
 *
 * @throws ERR_MEM_BAD_INPUT that names the field, as a rejection
 * @throws ERR_MEM_DEVICE_ABSENT when `@huggingface/gguf` is not installed, ERR_MEM_UNSUPPORTED_PLATFORM on big-endian machines
 */
export async function readGguf(file: MappedFile): Promise<ModelDescription> {
  const { path, bytes: fileBytes } = file;
  if (endianness() !== 'LE') throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'GGUF', platform: process.arch });
  const headerBytes = checkGgufHeader(file.bytesAt(0, Math.min(fileBytes, MAX_HEADER_BYTES)), path);
  const parsed = await parse(file, headerBytes);
  const metadata = new Map(Object.entries(parsed.metadata as Record<string, MetadataValue>));
  for (const key of PARSERS_OWN) metadata.delete(key);
  const alignment = alignmentOf(metadata, path);
  const dataOffset = alignUp(headerBytes, alignment);
  const declared = parsed.tensorInfos.map((tensor) => declare(tensor, dataOffset, path));
  const tensors = checkLayout(declared, { path, fileBytes, dataOffset, alignment });
  return { format: 'gguf', path, fileBytes, metadata, part: partByMetadata(metadata), tensors, dataOffset };
}

async function parse(file: MappedFile, headerBytes: number): Promise<Parsed> {
  const { gguf } = await loadParser();
  try {
    const parsed = await gguf(MAPPED, { fetch: rangesOf(file) });
    checkFile(parsed.tensorInfoByteRange[1] === headerBytes, file.path, 'its header cannot be read');
    return parsed;
  } catch (error) {
    if (MemoryError.is(error)) throw error;
    throw badFile(file.path, `its header cannot be read: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

async function loadParser(): Promise<Parser> {
  try {
    return await import('@huggingface/gguf');
  } catch (error) {
    const device = '@huggingface/gguf';
    throw new MemoryError('ERR_MEM_DEVICE_ABSENT', { device, reason: `install the package ${device} to read GGUF files` }, error);
  }
}

/** Answers requests for ranges from the mapping: the file is opened once, and its truncation is noticed. */
function rangesOf(file: MappedFile): typeof fetch {
  return async (_input, init) => {
    const range = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init?.headers).get('range') ?? '');
    const first = Math.min(Number(range?.[1] ?? 0), file.bytes);
    const last = Math.min(Number(range?.[2] ?? -1) + 1, file.bytes);
    // A copy: the answer's body must not be the mapping itself.
    return new Response(file.bytesAt(first, last - first).slice(), {
      status: 206,
      headers: { 'content-range': `bytes ${first}-${last - 1}/${file.bytes}` },
    });
  };
}

function alignmentOf(metadata: ReadonlyMap<string, MetadataValue>, path: string): number {
  const value = metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT;
  const isAlignment = typeof value === 'number' && isPowerOfTwo(value);
  checkFile(isAlignment, path, `metadata "general.alignment" is ${String(value)}, it must be a power of two`);
  return value;
}

function declare(tensor: Parsed['tensorInfos'][number], dataOffset: number, path: string): DeclaredTensor {
  const what = `tensor ${JSON.stringify(tensor.name)}`;
  const dtype = dtypeOfGgml(tensor.dtype);
  checkFile(dtype !== undefined, path, `${what}: its type ${tensor.dtype} is none that ggml has`);
  const offset = dataOffset + Number(tensor.offset);
  checkFile(Number.isSafeInteger(offset), path, `${what}: its offset ${tensor.offset} lies beyond the file`);
  return { name: tensor.name, dtype, shape: shapeOfGgml(tensor.shape.map(Number)), offset };
}
