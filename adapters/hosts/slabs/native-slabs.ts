import { orUndo } from '../../../src/core/attempt.js';
import type { MemoryError } from '../../../src/core/errors.js';
import { checkStackRoom, checkStackRoomHere } from '../../../src/core/stack-room.js';
import { type DevicePtr, KiB, MiB } from '../../../src/core/units.js';
import { readWords } from '../../os/bytes.js';
import { checkSystem } from '../../os/libc.js';
import { mapPages, PROT_EXEC, PROT_READ, protectPages, unmapPages } from '../../os/mapping.js';
import { nativeView } from '../../os/native-view.js';
import { SLAB_CODE } from './slab-code.js';

/** The largest block that a cell serves. @see Source: slabs.c, also for all places below */
const MAX_CELL_BYTES = 8 * KiB;
const STEP_BYTES = 16;
const HEADER_BYTES = 16;
const MAX_SLABS = 16_384;
const FREE_MARK = 0x5ce11f0e;

/** Where the heap lies behind the start of the code, and places in it, in words of 32 bits. */
const HEAP_OFFSET_BYTES = 64 * KiB;
const LOCK = 0;
const LIVE = 1;
const FUNCTIONS = 2;
const LISTS = 16;
const CLASS_OF_BYTES = 576;
const SLABS = 512;
const SLAB_WORDS = 16;
const HEAP_BYTES = (SLABS + MAX_SLABS * SLAB_WORDS) * 4;
/** Words of a slab. */
const FRESH = 2;
const END = 4;
const CELL_BYTES = 6;
const SIZE_CLASS = 7;
const SLAB_LIVE = 8;
const NEXT = 9;
const LISTED = 10;
const KEPT = 11;

const WORD = 2 ** 32;
/** A class grows by an eighth of what it has, within bounds. */
const GROWTH_SHARE = 8;
const MIN_CELLS = 4;
const MIN_SLAB_BYTES = 4 * KiB;
const MAX_SLAB_BYTES = MiB;

/** Cell sizes: steps of 16 bytes up to 512, then eighths of a power of two, which lose 11 % at most. */
const CELL_SIZES: readonly number[] = cellSizes();

/** Where slabs come from, and what serves larger blocks. */
export interface SlabSource {
  /** @throws what there is to say when there is no memory */
  alloc(bytes: number): DevicePtr;
  /** One that cannot be given back is the source's to keep and to try again. @throws why */
  free(ptr: DevicePtr): void;
  /** The error for more slabs than there is room for in the books. */
  outOfMemory(requestedBytes: number): MemoryError;
}

/** Addresses of C functions that the code calls: registered callbacks. */
export interface SlabCallbacks {
  /** `int (uint32_t)`: calls {@link NativeSlabs.refill}; 0 when that throws. */
  readonly refill: number;
  /** Serves blocks above 8 KiB: `void *(size_t)`, `void (void *)`, `void *(void *, size_t)`. Their size stands 16 bytes before them, and a mark of 4 bytes right before them. */
  readonly malloc: number;
  readonly free: number;
  readonly realloc: number;
  /** `void (uint32_t)`: calls {@link NativeSlabs.emptied}. */
  readonly emptied: number;
}

/** What C holds in cells, and what is set aside for it. */
export interface SlabUsage {
  readonly slabs: number;
  readonly slabBytes: number;
  readonly liveCells: number;
}

interface Slab {
  readonly ptr: DevicePtr;
  readonly bytes: number;
  readonly sizeClass: number;
  /** Its manager was replaced: it goes back as soon as it is empty. */
  isRetired: boolean;
}

/**
 * Serves the small blocks of a C library in machine code, with no call into JavaScript but for a slab: a block of a manager
 * that is cut into cells of one size. Every byte that C holds lies in such blocks. An allocation with its free takes some 20 ns,
 * two callbacks of koffi 200.
 *
 * A slab goes back when its last cell is free; one is kept for each size, until no cell at all lives.
 */
export class NativeSlabs {
  /** Addresses of C functions. */
  readonly functions: Readonly<typeof SLAB_CODE.offsets>;
  readonly #source: SlabSource;
  readonly #address: number;
  readonly #words: Uint32Array;
  /** By number; 0 is none. */
  readonly #slabs: (Slab | undefined)[] = [undefined];
  readonly #unused: number[] = [];
  readonly #classBytes: number[] = CELL_SIZES.map(() => 0);
  /** A slab of each class that stays when it is empty; 0 is none. */
  readonly #kept: number[] = CELL_SIZES.map(() => 0);
  #swaps = 0;

  /** Whether there is code for this machine: Linux on x64. */
  static readonly isSupported: boolean = process.platform === 'linux' && process.arch === 'x64';

  /**
   * Maps the code and its books, 1 MiB of addresses.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM
   * @throws ERR_MEM_NATIVE when the system does not let a program run pages that it has written
   */
  constructor(source: SlabSource, callbacks: SlabCallbacks, code = SLAB_CODE) {
    checkSystem(NativeSlabs.isSupported, 'native slabs');
    this.#source = source;
    const bytes = Buffer.from(code.base64, 'base64');
    const address = mapPages(HEAP_OFFSET_BYTES + HEAP_BYTES);
    orUndo(
      () => {
        new Uint8Array(nativeView(address, bytes.length)).set(bytes);
        protectPages(address, HEAP_OFFSET_BYTES, PROT_READ | PROT_EXEC);
      },
      () => unmapPages(address, HEAP_OFFSET_BYTES + HEAP_BYTES),
    );
    this.#address = address;
    this.#words = new Uint32Array(nativeView(address + HEAP_OFFSET_BYTES, HEAP_BYTES));
    this.functions = Object.fromEntries(
      Object.entries(code.offsets).map(([name, offset]) => [name, address + offset]),
    ) as typeof this.functions;
    const { refill, malloc, free, realloc, emptied } = callbacks;
    for (const [i, pointer] of [refill, malloc, free, realloc, emptied].entries()) this.#setPointer(FUNCTIONS + 2 * i, pointer);
    this.#writeClasses();
  }

  usage(): SlabUsage {
    const slabs = this.#slabs.filter((slab) => slab !== undefined);
    return { slabs: slabs.length, slabBytes: slabs.reduce((sum, { bytes }) => sum + bytes, 0), liveCells: this.#words[LIVE]! };
  }

  /** Makes a slab for a size class that has no room. Does nothing but allocate where it throws. @throws as the source */
  refill(sizeClass: number): void {
    // A manager that is replaced while it is asked serves nothing new: the next one is asked. Where that is replaced, too, it
    // serves the one cell that C waits for.
    if (!this.#addSlab(sizeClass, false)) this.#addSlab(sizeClass, true);
  }

  /** Takes note that the last cell of a slab was freed; 0: of all slabs. @throws what the source throws for what goes back */
  emptied(number: number): void {
    if (number === 0) this.trim();
    else if (!this.#keep(number)) this.#giveBack(number);
  }

  /** Gives every slab back that has no live cell. @returns how many @throws the first error of the source, when all were given back */
  trim(): number {
    const errors: unknown[] = [];
    let count = 0;
    for (let number = 1; number < this.#slabs.length; number++) {
      try {
        if (this.#giveBack(number)) count++;
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
    return count;
  }

  /**
   * Has no slab of before serve an allocation any more: each goes back with its last cell. For when their manager was replaced.
   *
   * @throws as {@link trim}
   */
  retire(): void {
    this.#swaps++;
    this.#lock();
    try {
      for (let sizeClass = 0; sizeClass < CELL_SIZES.length; sizeClass++) {
        this.#words[LISTS + sizeClass] = 0;
        this.#kept[sizeClass] = 0;
      }
      for (let number = 1; number < this.#slabs.length; number++) {
        const slab = this.#slabs[number];
        if (slab === undefined) continue;
        slab.isRetired = true;
        const at = SLABS + number * SLAB_WORDS;
        // In no list, and never to be put into one.
        this.#words[at + LISTED] = 1;
        this.#words[at + KEPT] = 0;
      }
    } finally {
      this.#words[LOCK] = 0;
    }
    this.trim();
  }

  /** Tells whether a pointer that C has freed, and that heads no live cell, heads a free one. Reads the memory before it. */
  isFree(ptr: number): boolean {
    const header = new Uint32Array(HEADER_BYTES / 4);
    readWords(header, ptr - HEADER_BYTES, HEADER_BYTES);
    const [, , number = 0, mark] = header;
    const slab = this.#slabs[number];
    return mark === FREE_MARK && slab !== undefined && ptr > slab.ptr && ptr < slab.ptr + slab.bytes;
  }

  /** Unmaps the code. C must have forgotten {@link functions}, and there is no slab. */
  dispose(): void {
    unmapPages(this.#address, HEAP_OFFSET_BYTES + HEAP_BYTES);
  }

  /**
   * Makes a slab and lists it.
   *
   * @param always - lists a slab of one cell when its manager was replaced meanwhile, instead of giving it back
   * @returns false when it went back
   */
  #addSlab(sizeClass: number, always: boolean): boolean {
    checkStackRoom();
    const cellBytes = CELL_SIZES[sizeClass]!;
    const stride = cellBytes + HEADER_BYTES;
    const wanted = Math.min(Math.max(MIN_SLAB_BYTES, this.#classBytes[sizeClass]! / GROWTH_SHARE), MAX_SLAB_BYTES);
    // Cells start behind the start: no cell's header is taken for the block that the manager knows.
    const bytes = HEADER_BYTES + Math.max(MIN_CELLS, Math.floor(wanted / stride)) * stride;
    const number = this.#unused.pop() ?? this.#slabs.push(undefined) - 1;
    const swaps = this.#swaps;
    const ptr = orUndo(
      () => {
        if (number >= MAX_SLABS) throw this.#source.outOfMemory(bytes);
        return this.#source.alloc(bytes);
      },
      () => this.#unused.push(number),
    );
    const isRetired = swaps !== this.#swaps;
    this.#slabs[number] = { ptr, bytes, sizeClass, isRetired };
    this.#classBytes[sizeClass]! += bytes;
    const at = SLABS + number * SLAB_WORDS;
    this.#words.fill(0, at, at + SLAB_WORDS);
    this.#setPointer(at + FRESH, ptr + HEADER_BYTES);
    this.#setPointer(at + END, ptr + (isRetired ? HEADER_BYTES + stride : bytes));
    this.#words[at + CELL_BYTES] = cellBytes;
    this.#words[at + SIZE_CLASS] = sizeClass;
    this.#words[at + LISTED] = 1;
    if (isRetired && !always) {
      this.#giveBack(number);
      return false;
    }
    this.#lock();
    try {
      if (!isRetired && this.#kept[sizeClass] === 0) {
        this.#kept[sizeClass] = number;
        this.#words[at + KEPT] = 1;
      }
      this.#words[at + NEXT] = this.#words[LISTS + sizeClass]!;
      this.#words[LISTS + sizeClass] = number;
      return true;
    } finally {
      this.#words[LOCK] = 0;
    }
  }

  /** Whether a slab stays where it is. */
  #keep(number: number): boolean {
    this.#lock();
    try {
      const slab = this.#slabs[number];
      // Another thread may have used it, or given it back, since it was empty.
      if (slab === undefined || this.#words[SLABS + number * SLAB_WORDS + SLAB_LIVE]! > 0) return true;
      if (slab.isRetired) return false;
      const kept = this.#kept[slab.sizeClass]!;
      if (kept !== 0) {
        const at = SLABS + kept * SLAB_WORDS;
        if (this.#words[at + SLAB_LIVE] === 0) return false;
        this.#words[at + KEPT] = 0;
      }
      this.#kept[slab.sizeClass] = number;
      this.#words[SLABS + number * SLAB_WORDS + KEPT] = 1;
      return true;
    } finally {
      this.#words[LOCK] = 0;
    }
  }

  /** Gives a slab back that has no live cell. @returns false when there is none with that number, or one lives @throws as the source */
  #giveBack(number: number): boolean {
    checkStackRoom();
    if (!this.#unlink(number)) return false;
    const { ptr, bytes, sizeClass } = this.#slabs[number]!;
    this.#slabs[number] = undefined;
    this.#unused.push(number);
    this.#classBytes[sizeClass]! -= bytes;
    this.#source.free(ptr);
    return true;
  }

  /** Takes a slab that has no live cell out of every list. @returns false when there is none with that number, or one has */
  #unlink(number: number): boolean {
    this.#lock();
    try {
      const slab = this.#slabs[number];
      if (slab === undefined || this.#words[SLABS + number * SLAB_WORDS + SLAB_LIVE]! > 0) return false;
      if (this.#kept[slab.sizeClass] === number) this.#kept[slab.sizeClass] = 0;
      let link = LISTS + slab.sizeClass;
      while (this.#words[link] !== 0 && this.#words[link] !== number) link = SLABS + this.#words[link]! * SLAB_WORDS + NEXT;
      if (this.#words[link] === number) this.#words[link] = this.#words[SLABS + number * SLAB_WORDS + NEXT]!;
      return true;
    } finally {
      this.#words[LOCK] = 0;
    }
  }

  /**
   * Keeps the code of other threads out until the word at `LOCK` is 0 again. Nothing is called meanwhile: the stack could end
   * there. V8 may still look for its end at a loop: so there must be room, and a `finally` writes the word, without a call.
   * On x64 other threads see that store after all before it.
   */
  #lock(): void {
    checkStackRoomHere();
    while (Atomics.compareExchange(this.#words, LOCK, 0, 1) !== 0);
  }

  #setPointer(at: number, pointer: number): void {
    this.#words[at] = pointer;
    this.#words[at + 1] = pointer / WORD;
  }

  #writeClasses(): void {
    const steps = MAX_CELL_BYTES / STEP_BYTES;
    const classOf = new Uint8Array(this.#words.buffer, CLASS_OF_BYTES, steps + 1);
    for (let step = 0; step <= steps; step++) classOf[step] = CELL_SIZES.findIndex((bytes) => bytes >= step * STEP_BYTES);
  }
}

function cellSizes(): number[] {
  const sizes: number[] = [];
  for (let bytes = STEP_BYTES; bytes <= 512; bytes += STEP_BYTES) sizes.push(bytes);
  for (let power = 512; power < MAX_CELL_BYTES; power *= 2) {
    for (let eighth = 1; eighth <= 8; eighth++) sizes.push(power + (power * eighth) / 8);
  }
  return sizes;
}
