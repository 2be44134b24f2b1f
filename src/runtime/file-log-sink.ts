import { closeSync, openSync, writeSync } from 'node:fs';
import type { LogSink } from '../core/call-log.js';
import type { Releasable } from '../core/disposable.js';
import { checkUsable, MemoryError } from '../core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../core/option-names.js';
import { checkUnwritten, noteOpenFile } from './written-files.js';

const NO_PERMISSION = 'there is no permission to write it';
/** Why a file cannot be written, by the system's code. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'its folder does not exist'],
  ['ENOTDIR', 'its folder is not a folder'],
  ['EISDIR', 'it is a folder, not a file'],
  ['EACCES', NO_PERMISSION],
  ['EPERM', NO_PERMISSION],
  ['EROFS', NO_PERMISSION],
  ['ENAMETOOLONG', 'its name is too long'],
  ['ELOOP', 'its links lead in a circle'],
  ['EEXIST', 'there is something of that name'],
]);

/** How a log file is made. */
export interface FileLogSinkOptions {
  /** Whether to refuse a path at which there is something, be it a link. @defaultValue false */
  readonly exclusive?: boolean;
}

const OPTIONS: OwnOptions<FileLogSinkOptions> = { of: () => FileLogSink, names: { exclusive: true } };

/**
 * Writes a call log into a file, synchronously: what was handed over is in the file, also after process.exit.
 * Lines that a log still buffers are handed over when it is flushed, disabled or shut down.
 */
export class FileLogSink implements LogSink {
  #file: number | undefined;
  readonly #noted: Releasable;

  /**
   * Creates the file, for its owner alone (mode 0600), or empties the one that is there.
   *
   * @throws ERR_MEM_BAD_INPUT when the path cannot be written, or another log or recording here writes it
   */
  constructor(
    readonly path: string,
    options: FileLogSinkOptions = {},
  ) {
    checkOwnOptions(OPTIONS, new.target, options);
    const { exclusive = false } = options;
    checkUnwritten(path);
    try {
      this.#file = openSync(path, exclusive ? 'wx' : 'w', 0o600);
    } catch (error) {
      throw cannotWrite(path, error);
    }
    this.#noted = noteOpenFile(this.#file);
  }

  /**
   * Appends to the file. Cost: one system call, as a rule.
   *
   * @throws ERR_MEM_DISPOSED when the sink was disposed, and what the system throws, such as for a full disk
   */
  write(chunk: string | Uint8Array): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    this.writeBytes(bytes, bytes.length);
  }

  /** Appends the first `length` of `bytes`, and makes no garbage. @throws as {@link write} */
  writeBytes(bytes: Uint8Array, length: number): void {
    checkUsable(this.#file !== undefined, 'log file');
    for (let done = 0; done < length; ) done += writeSync(this.#file, bytes, done, length - done);
  }

  /** Closes the file. Does nothing the second time. */
  dispose(): void {
    if (this.#file === undefined) return;
    const file = this.#file;
    this.#file = undefined;
    this.#noted.dispose();
    closeSync(file);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Says why a path cannot be written. @internal */
export function cannotWrite(file: string, error: unknown): MemoryError<'ERR_MEM_BAD_INPUT'> {
  const { code = '', message } = error as NodeJS.ErrnoException;
  const reason = REASONS.get(code) ?? `it cannot be written: ${message}`;
  return new MemoryError('ERR_MEM_BAD_INPUT', { file, line: 0, reason }, error);
}
