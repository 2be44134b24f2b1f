import { closeSync, fstatSync, openSync } from 'node:fs';
import {
  type AccessPattern,
  adviseAccess,
  adviseSequentialFile,
  MAP_NORESERVE,
  MAP_PRIVATE,
  pageBytes,
  populate,
  readAhead,
  replacePages,
  residentBytes,
} from '../../adapters/os/mapping.js';
import { NativeMemory, type NativeMemoryEnd } from '../../adapters/os/native-memory.js';
import { ViewWindows } from '../../adapters/os/native-view.js';
import { mapThreadPages, unmapThreadPages } from '../../adapters/os/thread-memory.js';
import { type ByteRange, ByteRanges } from '../blocks/byte-ranges.js';
import { orUndo } from '../core/attempt.js';
import { checkArgument, checkRange, checkUsable } from '../core/errors.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import type { TypedArrayClass } from '../core/typed-array.js';
import { alignUp, type DevicePtr, exactBytes } from '../core/units.js';
import { badFile, checkFile } from './files/model-description.js';
import { MemoryLock } from './memory-lock.js';

/** How a file is mapped. */
export interface MappedFileOptions {
  /**
   * Reads ahead: true the whole file, a number that many bytes from its beginning. Off with `numa`.
   * @defaultValue false
   */
  readonly prefetch?: boolean | number;
  /**
   * For machines with several NUMA nodes: nothing is read ahead, so that each page comes to lie on the node of the
   * thread that touches it first, and access counts as random.
   * @defaultValue false
   */
  readonly numa?: boolean;
  /** How the file will be read. @defaultValue `sequential`; `random` with `numa` */
  readonly access?: AccessPattern;
}

/** Their names. */
export const MAPPED_FILE_OPTIONS: OptionNames<MappedFileOptions> = { prefetch: true, numa: true, access: true };

/** The parts of a mapping; `move()` passes them to another handle. */
interface Mapping {
  readonly memory: NativeMemory;
  readonly file: OpenFile;
  readonly windows: ViewWindows;
  readonly mapped: ByteRanges;
  lock: MemoryLock | undefined;
}

/**
 * A file in memory, without a copy: `using file = MappedFile.open('model.gguf')`. Its pages are read when they are touched,
 * and shared with every process that maps the same file.
 *
 * The file is never changed: a byte that is written into an array over it goes to a copy of its page that this process
 * alone has. Arrays stay safe to touch after {@link dispose} and {@link unmapFragment}; they then show zeros.
 *
 * Every method that reads bytes first checks the size of the file. When the file was truncated, the method throws
 * ERR_MEM_BAD_INPUT, and arrays taken earlier show zeros beyond the new end from then on. Two things are not detected: an
 * array that is touched between the truncation and the next such call ends the process with SIGBUS, and bytes that are
 * overwritten in place show as they are. Replace files by renaming, not by rewriting.
 */
export class MappedFile {
  #mapping: Mapping | undefined;

  private constructor(
    readonly path: string,
    /** The size of the file when it was mapped. */
    readonly bytes: number,
    mapping: Mapping,
  ) {
    this.#mapping = mapping;
  }

  /**
   * Maps a regular file. Cost: some 10 us, whatever its size; with `prefetch` the disk begins to read.
   *
   * @throws ERR_MEM_BAD_INPUT when it cannot be opened, is empty, or is no regular file
   * @throws ERR_MEM_NATIVE, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
   */
  static open(path: string, options: MappedFileOptions = {}): MappedFile {
    checkOptionNames('MappedFile.open', options, MAPPED_FILE_OPTIONS);
    const { prefetch = false, numa = false, access = numa ? 'random' : 'sequential' } = options;
    if (typeof prefetch === 'number') checkPlace('prefetch', prefetch);
    const file = new OpenFile(path);
    const mapped = orUndo(
      () => {
        const bytes = file.size();
        checkFile(bytes > 0, path, 'it is empty');
        if (access === 'sequential') adviseSequentialFile(file.fd);
        return new MappedFile(path, bytes, map(file, bytes));
      },
      () => file.close(),
    );
    orUndo(
      () => {
        mapped.advise(access);
        if (!numa && prefetch !== false) mapped.prefetch(0, prefetch === true ? mapped.bytes : Math.min(prefetch, mapped.bytes));
      },
      () => mapped.dispose(),
    );
    return mapped;
  }

  /** Where it begins in memory. */
  get base(): DevicePtr {
    return this.#live.memory.base;
  }

  get disposed(): boolean {
    return this.#mapping === undefined;
  }

  /** The parts of the file that are still mapped, in order. */
  get mappedRanges(): readonly ByteRange[] {
    return this.#live.mapped.within(0, this.bytes);
  }

  /** Bytes that {@link lock} keeps in physical memory. */
  get lockedBytes(): number {
    return this.#live.lock?.lockedBytes ?? 0;
  }

  /**
   * Gives a part of the file, without a copy. Cost: about 2 us.
   *
   * @throws ERR_MEM_OUT_OF_RANGE beyond the file's end, ERR_MEM_DISPOSED for a part that was unmapped
   * @throws ERR_MEM_BAD_INPUT when the file has become too short for it
   * @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB
   */
  bytesAt(offset: number, bytes: number): Uint8Array {
    const { buffer, byteOffset } = this.#checked(offset, bytes).windows.at(offset, bytes);
    return new Uint8Array(buffer, byteOffset, bytes);
  }

  /**
   * Gives a part of the file as a typed array, without a copy.
   *
   * @param type - the array's class, `Float32Array` say
   * @param offset - in bytes; a multiple of the element's size
   * @param length - elements
   * @throws as {@link bytesAt}
   */
  view<T>(type: TypedArrayClass<T>, offset: number, length: number): T {
    const { BYTES_PER_ELEMENT } = type;
    checkArgument(offset % BYTES_PER_ELEMENT === 0, 'offset', offset, `a multiple of ${BYTES_PER_ELEMENT} bytes`);
    const bytes = this.bytesAt(offset, length * BYTES_PER_ELEMENT);
    return new type(bytes.buffer, bytes.byteOffset, length);
  }

  /**
   * The address of a part, for native code. It must not be used after the part was unmapped.
   *
   * @throws as {@link bytesAt}, whatever the size
   */
  addressOf(offset: number, bytes: number): DevicePtr {
    return (this.#checked(offset, bytes).memory.base + offset) as DevicePtr;
  }

  /** Asks the system to read a part ahead, and does not wait. @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE */
  prefetch(first = 0, last: number = this.bytes): void {
    for (const [address, bytes] of this.#pages(first, last)) readAhead(address, bytes);
  }

  /**
   * Reads a part into memory and waits for it, so that the first touch costs nothing.
   *
   * @returns false where the system cannot (Linux before 5.14, macOS): it is then read ahead without waiting
   * @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_BAD_INPUT, ERR_MEM_NATIVE
   */
  populate(first = 0, last: number = this.bytes): boolean {
    this.#checkSize(this.#live, last);
    const missed = this.#pages(first, last).filter(([address, bytes]) => !populate(address, bytes));
    for (const [address, bytes] of missed) readAhead(address, bytes);
    return missed.length === 0;
  }

  /** Tells the system how a part will be read. @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE */
  advise(pattern: AccessPattern, first = 0, last: number = this.bytes): void {
    for (const [address, bytes] of this.#pages(first, last)) adviseAccess(address, bytes, pattern);
  }

  /**
   * Gives a part that is not needed any more back: the whole pages inside of it. Its addresses stay out of use until
   * {@link dispose}, and arrays over it show zeros.
   *
   * @param first - in bytes
   * @param last - in bytes, behind the last one
   * @returns the bytes of the file that are no longer mapped by this call
   * @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE
   */
  unmapFragment(first: number, last: number): number {
    const mapping = this.#live;
    checkPart(first, last - first, this.bytes);
    const before = mapping.mapped.bytes;
    // The file's last page holds nothing else.
    unmap(mapping, alignUp(first, pageBytes()), last === this.bytes ? last : Math.floor(last / pageBytes()) * pageBytes());
    return before - mapping.mapped.bytes;
  }

  /**
   * Keeps the file, or what lies before `bytes`, in physical memory; called again with more, it locks what is new, page
   * by page. Where the system refuses, a process warning says why and how to raise the limit, and nothing fails.
   *
   * @returns whether all of it is locked
   * @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_BAD_INPUT when the file has become too short for it
   */
  lock(bytes: number = this.bytes): boolean {
    const mapping = this.#checked(0, bytes, false);
    mapping.lock ??= new MemoryLock(mapping.memory.base, mapping.mapped);
    return mapping.lock.growTo(bytes);
  }

  /**
   * Bytes of the file, in whole pages, that are in physical memory, whichever process read them. (For files that this user
   * may not write, Linux reports all bytes.)
   *
   * @throws ERR_MEM_NATIVE
   */
  residentBytes(first = 0, last: number = this.bytes): number {
    return this.#pages(first, last).reduce((sum, [address, bytes]) => sum + residentBytes(address, bytes), 0);
  }

  /** Hands the mapping to a new object; this one is then as if it were disposed. */
  move(): MappedFile {
    const moved = new MappedFile(this.path, this.bytes, this.#live);
    this.#mapping = undefined;
    return moved;
  }

  /** Unmaps the file. Does nothing the second time. @throws ERR_MEM_NATIVE; nothing has changed then */
  dispose(): void {
    if (this.#mapping === undefined) return;
    const { memory, file, windows } = this.#mapping;
    memory.retire();
    this.#mapping = undefined;
    windows.clear();
    file.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  get #live(): Mapping {
    checkUsable(this.#mapping !== undefined, 'mapped file');
    return this.#mapping;
  }

  /** Checks that bytes are there, before they are touched. */
  #checked(offset: number, bytes: number, whole = true): Mapping {
    const mapping = this.#live;
    checkPart(offset, bytes, this.bytes);
    this.#checkSize(mapping, offset + bytes);
    checkUsable(!whole || mapping.mapped.covers(offset, offset + bytes), `part of ${this.path}`);
    return mapping;
  }

  #checkSize(mapping: Mapping, needed: number): void {
    const size = mapping.file.size();
    if (size >= this.bytes) return;
    // A page behind the end of the file would end the process: zeros take its place from now on.
    unmap(mapping, alignUp(size, pageBytes()), this.bytes);
    checkFile(
      size >= needed,
      this.path,
      `it was truncated from ${exactBytes(this.bytes)} to ${exactBytes(size)} while it was mapped`,
    );
  }

  /** The pages that a range touches and that are still mapped. */
  #pages(first: number, last: number): (readonly [address: number, bytes: number])[] {
    const { memory, mapped } = this.#live;
    checkPart(first, last - first, this.bytes);
    return mapped
      .within(Math.floor(first / pageBytes()) * pageBytes(), last)
      .map((part) => [memory.base + part.first, alignUp(part.last, pageBytes()) - part.first]);
  }
}

/** An open file that is closed once. */
class OpenFile {
  readonly fd: number;
  #open = true;

  constructor(readonly path: string) {
    try {
      this.fd = openSync(path, 'r');
    } catch (error) {
      throw badFile(path, `it cannot be opened: ${(error as Error).message}`, error);
    }
  }

  size(): number {
    const stats = fstatSync(this.fd);
    checkFile(stats.isFile(), this.path, 'it is no regular file');
    return stats.size;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }
}

function map(file: OpenFile, bytes: number): Mapping {
  const size = alignUp(bytes, pageBytes());
  // Private and writable: what a program writes by mistake lands in a copy of the page, and does not end the process.
  const base = mapThreadPages(size, { flags: MAP_PRIVATE | MAP_NORESERVE, fd: file.fd });
  const memory = new NativeMemory(base, size, endOf(file));
  const windows = new ViewWindows(bytes, (offset, length) => memory.bytesAt(offset, length).buffer);
  return { memory, file, windows, mapped: new ByteRanges(bytes), lock: undefined };
}

/** Gives pages of the mapping back; zeros take their place. */
function unmap({ memory, mapped }: Mapping, first: number, last: number): void {
  for (const part of mapped.within(first, last)) {
    replacePages(memory.base + part.first, alignUp(part.last, pageBytes()) - part.first);
    mapped.remove(part.first, part.last);
  }
}

/** A function of its own, whose closures hold the file alone: what leads to the memory would never be collected. */
function endOf(file: OpenFile): NativeMemoryEnd {
  return {
    what: 'mapped file',
    empty: replacePages,
    release: (base, bytes) => {
      file.close();
      unmapThreadPages(base, bytes);
    },
  };
}

function checkPart(offset: number, bytes: number, size: number): void {
  checkPlace('offset', offset);
  checkRange(offset, bytes, size);
}

function checkPlace(name: string, value: number): void {
  checkArgument(Number.isSafeInteger(value) && value >= 0, name, value, 'a number of bytes from 0 on');
}
