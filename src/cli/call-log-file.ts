import { statSync } from 'node:fs';
import type { LogSink } from '../core/call-log.js';
import { MemoryError } from '../core/errors.js';
import { FileLogSink } from '../runtime/file-log-sink.js';

/** A call log that a run writes. It remembers the first failed write, so that the run can fail with it. */
export class CallLogFile implements LogSink {
  writtenBytes = 0;
  readonly #sink: FileLogSink;
  #failure: unknown;

  /**
   * @param source - the file that the run reads, which the log must not overwrite
   * @throws ERR_MEM_BAD_INPUT when the path cannot be written or is the source
   */
  constructor(path: string, source: string) {
    if (isSameFile(path, source)) {
      throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason: 'the log would overwrite the trace' });
    }
    this.#sink = new FileLogSink(path);
  }

  get path(): string {
    return this.#sink.path;
  }

  /** Why the log is not complete; undefined when it is. */
  get failure(): string | undefined {
    if (this.#failure === undefined) return undefined;
    return `${this.path}: the call log is not complete: ${this.#failure instanceof Error ? this.#failure.message : String(this.#failure)}`;
  }

  write(chunk: string | Uint8Array): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    this.writeBytes(bytes, bytes.length);
  }

  writeBytes(bytes: Uint8Array, length: number): void {
    if (this.#failure !== undefined) return;
    try {
      this.#sink.writeBytes(bytes, length);
      this.writtenBytes += length;
    } catch (error) {
      this.#failure = error;
    }
  }

  close(): void {
    this.#sink.close();
  }
}

/** Tells whether two paths lead to one file. */
export function isSameFile(path: string, other: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  const source = statSync(other, { throwIfNoEntry: false });
  return found !== undefined && source !== undefined && found.isFile() && found.dev === source.dev && found.ino === source.ino;
}
