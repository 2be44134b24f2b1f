import { renameSync, rmSync, statSync } from 'node:fs';
import { MemoryError } from '../core/errors.js';
import { FileLogSink } from '../runtime/file-log-sink.js';
import type { ByteSink } from '../trace/formats/trace-writer.js';

/**
 * A file that a command makes. It is written beside its place and moved there when it is whole: a run that fails leaves what
 * was there. Something that is no file (a pipe, a terminal) is written directly.
 */
export class OutputFile implements ByteSink {
  readonly path: string;
  writtenBytes = 0;
  readonly #direct: boolean;
  readonly #sink: FileLogSink;

  /** @throws ERR_MEM_BAD_INPUT when the path cannot be written */
  constructor(path: string) {
    this.path = path;
    const found = statSync(path, { throwIfNoEntry: false });
    this.#direct = found !== undefined && !found.isFile();
    this.#sink = this.#open();
  }

  get #writtenPath(): string {
    return this.#direct ? this.path : `${this.path}.part`;
  }

  #open(): FileLogSink {
    try {
      return new FileLogSink(this.#writtenPath);
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_BAD_INPUT')) throw error;
      throw new MemoryError('ERR_MEM_BAD_INPUT', { ...error.facts, file: this.path }, error);
    }
  }

  /** @throws ERR_MEM_TRACE_WRITE when the file cannot be written to its end */
  write(chunk: string | Uint8Array): void {
    try {
      this.#sink.write(chunk);
    } catch (error) {
      throw new MemoryError('ERR_MEM_TRACE_WRITE', { file: this.path }, error);
    }
    this.writtenBytes += typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.length;
  }

  /** Puts the file in its place. */
  finish(): void {
    this.#sink.close();
    if (!this.#direct) renameSync(this.#writtenPath, this.path);
  }

  /** Leaves no trace of the run. */
  abandon(): void {
    this.#sink.close();
    if (!this.#direct) rmSync(this.#writtenPath, { force: true });
  }
}
