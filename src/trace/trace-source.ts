import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { MemoryError } from '../core/errors.js';

const CHUNK_BYTES = 256 * 1024;
const GZIP_MAGIC = [0x1f, 0x8b];

/** What a reader says and hears. */
export interface SourceOptions {
  /** The line that the reader has come to, for messages. */
  readonly lineNow: () => number;
  /** Called with the bytes of the file so far and its size, 0 when that is not known. */
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
}

/**
 * Reads a file piece by piece, decompressed when it begins with gzip's magic bytes. A pipe will do.
 *
 * @throws ERR_MEM_BAD_INPUT when the file cannot be read or its gzip data is cut off or damaged
 */
export async function* readChunks(path: string, { lineNow, onProgress }: SourceOptions): AsyncGenerator<Buffer> {
  try {
    const chunks = counted(path, onProgress);
    let head: Buffer = Buffer.alloc(0);
    while (head.length < GZIP_MAGIC.length) {
      const next = await chunks.next();
      if (next.done === true) break;
      head = Buffer.concat([head, next.value]);
    }
    const plain = withHead(head, chunks);
    yield* GZIP_MAGIC.every((byte, i) => head[i] === byte) ? gunzip(plain) : plain;
  } catch (error) {
    const { reason, inside } = reasonOf(error);
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: inside ? lineNow() : 0, reason }, error);
  }
}

async function* counted(path: string, onProgress: SourceOptions['onProgress']): AsyncGenerator<Buffer> {
  const { size } = onProgress === undefined ? { size: 0 } : await stat(path);
  let done = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
    yield chunk as Buffer;
    done += (chunk as Buffer).length;
    onProgress?.(done, size);
  }
}

async function* withHead(head: Buffer, chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    if (head.length > 0) yield head;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  } finally {
    await chunks.return?.();
  }
}

async function* gunzip(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  // The callback is there for pipeline's sake: an error of either end reaches the loop over its result.
  const plain = pipeline(chunks, createGunzip({ chunkSize: CHUNK_BYTES }), () => undefined);
  for await (const chunk of plain) yield chunk as Buffer;
}

/** What went wrong, and whether it did so inside the text. */
function reasonOf(error: unknown): { reason: string; inside: boolean } {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return { reason: 'there is no such file', inside: false };
    case 'EISDIR':
      return { reason: 'it is a folder, not a file', inside: false };
    case 'EACCES':
    case 'EPERM':
      return { reason: 'there is no permission to read it', inside: false };
    case 'Z_BUF_ERROR':
      return { reason: 'the gzip data is cut off', inside: true };
    case 'Z_DATA_ERROR':
      return { reason: `the gzip data is damaged: ${message}`, inside: true };
    default:
      return { reason: `it cannot be read: ${message}`, inside: false };
  }
}
