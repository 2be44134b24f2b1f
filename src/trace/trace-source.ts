import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import { createGunzip, type Gunzip } from 'node:zlib';
import { MemoryError } from '../core/errors.js';
import type { OptionNames } from '../core/option-names.js';

const CHUNK_BYTES = 256 * 1024;
/** Bytes that are decompressed in one step: they may grow a thousandfold. */
const PACKED_BYTES = 32 * 1024;
const GZIP_MAGIC = [0x1f, 0x8b];

/** How a trace is read. */
export interface ReadOptions {
  /** Called with the bytes of the file that were read so far, and its size: 0 when that is not known, as for a pipe. */
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
}

/** Their names. */
export const READ_OPTIONS: OptionNames<ReadOptions> = { onProgress: true };

/** How a file is read, and who is told about it. */
interface SourceOptions extends ReadOptions {
  /** The line that the parser has reached, for messages. */
  readonly lineNow: () => number;
  /** Called when gzip data lacks its end. All that can be decompressed is still yielded. */
  readonly onCutOff: () => void;
}

/**
 * Reads a file piece by piece, decompressed when it begins with gzip's magic bytes. A pipe will do.
 *
 * @throws ERR_MEM_BAD_INPUT when the file cannot be read or its gzip data is damaged
 */
export async function* readChunks(path: string, { lineNow, onCutOff, onProgress }: SourceOptions): AsyncGenerator<Buffer> {
  try {
    const chunks = counted(path, onProgress);
    let head: Buffer = Buffer.alloc(0);
    while (head.length < GZIP_MAGIC.length) {
      const next = await chunks.next();
      if (next.done === true) break;
      head = Buffer.concat([head, next.value]);
    }
    const plain = withHead(head, chunks);
    yield* GZIP_MAGIC.every((byte, i) => head[i] === byte) ? gunzip(plain, onCutOff) : plain;
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const isDamaged = code === 'Z_DATA_ERROR';
    const reason = REASONS[code] ?? `${isDamaged ? 'the gzip data is damaged' : 'it cannot be read'}: ${message}`;
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: isDamaged ? lineNow() : 0, reason }, error);
  }
}

/** The reasons why a file cannot be opened, by the system's error code. */
const REASONS: { readonly [code: string]: string | undefined } = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a folder, not a file',
  EACCES: 'there is no permission to read it',
  EPERM: 'there is no permission to read it',
};

async function* counted(path: string, onProgress: SourceOptions['onProgress']): AsyncGenerator<Buffer> {
  const { size } = onProgress === undefined ? { size: 0 } : await stat(path);
  let done = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
    yield chunk as Buffer;
    done += (chunk as Buffer).length;
    onProgress?.(done, size);
  }
}

async function* withHead(head: Buffer, chunks: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  try {
    if (head.length > 0) yield head;
    yield* chunks;
  } finally {
    await chunks.return(undefined);
  }
}

/** Decompresses a piece while the consumer uses the previous one. */
async function* gunzip(chunks: AsyncIterable<Buffer>, onCutOff: () => void): AsyncGenerator<Buffer> {
  const unpacker = createGunzip({ chunkSize: CHUNK_BYTES });
  const ready: Buffer[] = [];
  // An error also rejects the promise of a piece or of the end.
  unpacker.on('data', (plain: Buffer) => ready.push(plain)).on('error', () => undefined);
  let work = Promise.resolve();
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += PACKED_BYTES) {
      await work;
      const plain = ready.splice(0);
      work = written(unpacker, chunk.subarray(at, at + PACKED_BYTES));
      yield* plain;
    }
  }
  await work;
  await finished(unpacker.end()).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'Z_BUF_ERROR') throw error;
    onCutOff();
  });
  yield* ready;
}

/** Resolves when a piece was decompressed. Its rejection may be awaited late. */
function written(unpacker: Gunzip, packed: Buffer): Promise<void> {
  const done = new Promise<void>((resolve, reject) => {
    // The callback of a write whose data is damaged is never called.
    unpacker.once('error', reject);
    unpacker.write(packed, () => {
      unpacker.off('error', reject);
      resolve();
    });
  });
  done.catch(() => undefined);
  return done;
}
