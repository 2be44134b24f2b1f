import { randomBytes } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import '../core/disposable.js';
import { MemoryError } from '../core/errors.js';
import { cannotWrite } from '../runtime/file-log-sink.js';
import type { ByteSink } from '../trace/formats/trace-writer.js';
import { behindLinks, isOpenFile } from './behind-links.js';

/** The name that means standard output or standard input. */
const STANDARD = '-';
const STDIN_PATH = '/dev/stdin';
const STANDARD_OUTPUTS = [1, 2];
const OWNER_ONLY = 0o600;
/** Less the process's mask. */
const ORDINARY = 0o666;
const PERMISSIONS = 0o7777;
const BUSY_PAUSE_MS = 1;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const idle = new Int32Array(new SharedArrayBuffer(4));

/** How a file is written. */
export interface OutputOptions {
  /** The file that the run reads, which must not be overwritten. */
  readonly input?: string | undefined;
  /** Whether it is written in place from the first byte on: then a run that fails leaves what it has written. */
  readonly inPlace?: boolean;
  /**
   * Whether a new file is as others that the user makes, and not for its owner alone: what is made to be shown, such as a page.
   * Traces and logs hold the addresses, sites and tags of a program.
   */
  readonly isShown?: boolean;
}

/**
 * A file that a command writes. The constructor refuses a bad path; nothing is opened before the first write.
 *
 * It is written under another name beside its place and renamed when it is complete: a run that fails, or is interrupted, leaves
 * the old file.
 * Links are followed. A file that cannot be replaced without harm (not regular, with several names, or of another user) is
 * written in place. `-` is standard output.
 */
export class OutputFile implements ByteSink {
  writtenBytes = 0;
  /** Its place, behind all links; undefined for a standard stream. */
  readonly #target: string | undefined;
  readonly #found: Stats | undefined;
  readonly #inPlace: boolean;
  /** The mode of a new file. */
  readonly #mode: number;
  #file: number | undefined;
  /** The file beside the place that is being written. */
  #part: string | undefined;
  /** Whether the reader of the pipe has closed it. */
  #unread = false;

  /** @throws ERR_MEM_BAD_INPUT when the path cannot be written, or is the input's */
  constructor(
    readonly path: string,
    { input, inPlace = false, isShown = false }: OutputOptions = {},
  ) {
    this.#mode = isShown ? ORDINARY : OWNER_ONLY;
    if (path === '') throw refusal('""', 'a file has a name');
    try {
      const place = path === STANDARD ? undefined : behindLinks(path);
      this.#found =
        place === undefined ? fstatSync(1) : (isOpenFile(place) ? statSync : lstatSync)(place, { throwIfNoEntry: false });
      this.#file = STANDARD_OUTPUTS.find((fd) => isSame(this.#found, fstatSync(fd)));
      if (this.#file === undefined) {
        this.#target = place as string;
        checkWritable(path, this.#target, this.#found);
      }
    } catch (error) {
      throw MemoryError.is(error) ? error : cannotWrite(path, error);
    }
    const source = input === undefined ? undefined : statSync(input, { throwIfNoEntry: false });
    if (source?.isFile() === true && isSame(this.#found, source)) throw refusal(path, 'it is the input, too: name another file');
    this.#inPlace = inPlace || (this.#found !== undefined && !isReplaceable(this.#found)) || isOpenFile(this.#target ?? '');
  }

  /** Whether it is this process's standard output. */
  get isStandardOutput(): boolean {
    return this.#target === undefined && this.#file === STANDARD_OUTPUTS[0];
  }

  /** Whether it is, or will be, a regular file. */
  get isRegularFile(): boolean {
    return this.#target !== undefined && this.#found?.isFile() !== false;
  }

  /** @throws ERR_MEM_BAD_INPUT when another output of the run has the same place */
  checkOther(other: OutputFile | undefined): void {
    if (other === undefined || this.#target === undefined || this.#target !== other.#target) return;
    throw refusal(this.path, `it is the same file as ${other.path}: name another one`);
  }

  /** @throws ERR_MEM_TRACE_WRITE when the file cannot be written to its end, ERR_MEM_BAD_INPUT when it cannot be opened */
  write(chunk: string | Uint8Array): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    this.writeBytes(bytes, bytes.length);
  }

  /** Writes the first `length` of `bytes`. @throws as {@link write} */
  writeBytes(bytes: Uint8Array, length: number): void {
    const file = (this.#file ??= this.#open());
    try {
      for (let done = 0; done < length && !this.#unread; ) done += this.#writeSome(file, bytes, done, length);
    } catch (error) {
      throw new MemoryError('ERR_MEM_TRACE_WRITE', { file: this.path }, error);
    }
    this.writtenBytes += length;
  }

  /** Closes the file and moves it to its place. */
  finish(): void {
    if (this.#target === undefined) return;
    const part = this.#part;
    this.#close(this.#file ?? this.#open());
    if (part !== undefined) renameSync(part, this.#target);
    this.#forgetPart();
  }

  /** Removes a file that was not finished. */
  [Symbol.dispose](): void {
    if (this.#target !== undefined && this.#file !== undefined) this.#close(this.#file);
    if (this.#part !== undefined) rmSync(this.#part, { force: true });
    this.#forgetPart();
  }

  #open(): number {
    const target = this.#target as string;
    try {
      if (this.#inPlace) return openInPlace(target, this.#found, this.#mode);
      const part = join(dirname(target), `.stowage-${randomBytes(8).toString('hex')}.part`);
      // Exclusive: never an existing file, and never through a link.
      const file = openSync(part, 'wx', this.#mode);
      this.#part = part;
      startWatching(this);
      if (this.#found !== undefined) fchmodSync(file, this.#found.mode & PERMISSIONS);
      return file;
    } catch (error) {
      throw cannotWrite(this.path, error);
    }
  }

  #writeSome(file: number, bytes: Uint8Array, done: number, length: number): number {
    try {
      return writeSync(file, bytes, done, length - done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') this.#unread = true;
      else if (code === 'EAGAIN') Atomics.wait(idle, 0, 0, BUSY_PAUSE_MS);
      else throw error;
      return 0;
    }
  }

  #close(file: number): void {
    this.#file = undefined;
    closeSync(file);
  }

  #forgetPart(): void {
    this.#part = undefined;
    stopWatching(this);
  }
}

/** The path of an input that a command line names: `-` is standard input. */
export function inputPath(path: string): string {
  return path === STANDARD ? STDIN_PATH : path;
}

/** The stream for a command's messages: standard output, unless an output of the command goes there. */
export function messageStream(...outputs: readonly (OutputFile | undefined)[]): NodeJS.WriteStream {
  return outputs.some((output) => output?.isStandardOutput) ? process.stderr : process.stdout;
}

/** @throws what the system says of a place that cannot be written */
function checkWritable(path: string, place: string, found: Stats | undefined): void {
  if (path.endsWith('/') || found?.isDirectory() === true) throw Object.assign(new Error(path), { code: 'EISDIR' });
  // With the dot it throws if the folder is no folder.
  accessSync(found === undefined ? `${dirname(place)}/.` : place, constants.W_OK);
}

/** Whether another file can replace it: it has one name, and the owner stays the same. */
function isReplaceable(found: Stats): boolean {
  return found.isFile() && found.nlink === 1 && found.uid === (process.geteuid?.() ?? found.uid);
}

/** Opens and empties the file that was found at a place, or makes one: never through a link that was made since. */
function openInPlace(place: string, found: Stats | undefined, mode: number): number {
  if (found === undefined) return openSync(place, 'wx', mode);
  // O_CREAT is set although the file exists: only then does the kernel protect others' files in folders like /tmp.
  const flags = isOpenFile(place) ? constants.O_WRONLY : constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
  const file = openSync(place, flags, mode);
  try {
    if (!isSame(found, fstatSync(file))) throw Object.assign(new Error(place), { code: 'EEXIST' });
    if (found.isFile()) ftruncateSync(file);
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function isSame(one: Stats | undefined, other: Stats): boolean {
  return one !== undefined && one.dev === other.dev && one.ino === other.ino;
}

function refusal(file: string, reason: string): MemoryError {
  return new MemoryError('ERR_MEM_BAD_INPUT', { file, line: 0, reason });
}

/** The files whose parts must be removed when the process ends. */
const unfinished = new Set<OutputFile>();

function startWatching(output: OutputFile): void {
  if (unfinished.size === 0) {
    process.on('exit', abandonAll);
    for (const signal of SIGNALS) process.on(signal, endBySignal);
  }
  unfinished.add(output);
}

function stopWatching(output: OutputFile): void {
  if (!unfinished.delete(output) || unfinished.size > 0) return;
  process.off('exit', abandonAll);
  for (const signal of SIGNALS) process.off(signal, endBySignal);
}

function abandonAll(): void {
  for (const output of unfinished) output[Symbol.dispose]();
}

/** Ends the process by the signal, as it would end without this library's listeners. */
function endBySignal(signal: NodeJS.Signals): void {
  abandonAll();
  process.kill(process.pid, signal);
}
