import { closeSync } from 'node:fs';
import { attempt, orUndo } from '../../../src/core/attempt.js';
import '../../../src/core/disposable.js';
import type { Releasable } from '../../../src/core/disposable.js';
import { badArgument, checkArgument, checkRange, MemoryError } from '../../../src/core/errors.js';
import { checkBytes, type DevicePtr } from '../../../src/core/units.js';
import { descriptorOf } from '../../os/descriptors.js';
import { LiveRange, type LiveRanges } from '../live-ranges.js';
import { type GpuRange, GpuReservation } from './gpu-ranges.js';
import type { GpuRuntime } from './gpu-runtime.js';

/** Committed memory that another process can open, as numbers: it can be sent there as it is. */
export interface SharedPages {
  /** The process whose file descriptors these are. */
  readonly pid: number;
  /** One of each piece that the memory is mapped in, in order. */
  readonly descriptors: readonly number[];
  /** How large each of these pieces is. */
  readonly pieceBytes: readonly number[];
  /** Where the memory begins in the first piece. */
  readonly offsetBytes: number;
  readonly bytes: number;
}

/** How exported memory is opened. */
export interface ImportPagesOptions {
  /** True lets this process read it alone; copies and fills to it are refused. @defaultValue false */
  readonly readOnly?: boolean;
}

const EXPORTED = 'what exportPages gave: a descriptor and a size for each piece that the bytes lie in';

const READ = 1;
const READ_AND_WRITE = 3;

/** Memory that was exported. What opened it keeps it; this keeps the file descriptors until it is disposed. */
export class PageExport implements Releasable {
  #open: number[];

  constructor(readonly memory: SharedPages) {
    this.#open = [...memory.descriptors];
  }

  /** Closes the file descriptors: nobody can open the memory any more. A second time does nothing. */
  dispose(): void {
    for (let last = this.#open.at(-1); last !== undefined; last = this.#open.at(-1)) {
      closeSync(last);
      this.#open.pop();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Pages of another process that were opened here. */
export class ImportedPages extends LiveRange implements GpuRange {
  /** The pieces that are mapped: from their offset to their bytes. */
  readonly mapped = new Map<number, number>();

  constructor(
    /** Where the first piece is: the base, or below. */
    readonly firstPiece: DevicePtr,
    readonly shared: SharedPages,
    readonly isReadOnly: boolean,
    readonly device: number,
  ) {
    super((firstPiece + shared.offsetBytes) as DevicePtr, shared.bytes);
  }

  /** @throws ERR_MEM_OUT_OF_RANGE when pages were closed in part */
  override checkUsable(offset: number, bytes: number): void {
    if (this.mapped.size === this.shared.descriptors.length) return;
    throw new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: offset, bytes, blockBytes: 0 });
  }

  get piecesBytes(): number {
    return sumOf(this.shared.pieceBytes);
  }
}

/**
 * Exports a part of committed memory, a file descriptor a piece.
 *
 * @throws ERR_MEM_UNKNOWN_POINTER for memory that is not committed pages, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE
 * @throws ERR_MEM_NATIVE, also for pages of a device that was not made `shareable`
 */
export function exportPages(runtime: GpuRuntime, ranges: LiveRanges<GpuRange>, ptr: DevicePtr, bytes: number): PageExport {
  checkBytes(bytes);
  const range = ranges.around(ptr, GpuReservation);
  checkRange(ptr - range.base, bytes, range.bytes);
  checkArgument(bytes > 0, 'bytes', bytes, 'a positive number of bytes');
  range.checkUsable(ptr - range.base, bytes);
  const { offset, pieces } = range.piecesAround(ptr - range.base, bytes);
  const descriptors: number[] = [];
  const collect = () => {
    for (const piece of pieces) {
      descriptors.push(runtime.driver.exportDescriptor(piece.handle));
      piece.isExported = true;
    }
  };
  orUndo(collect, () => {
    for (const descriptor of descriptors) attempt(() => closeSync(descriptor));
  });
  const pieceBytes = pieces.map((piece) => piece.bytes);
  return new PageExport({ pid: process.pid, descriptors, pieceBytes, offsetBytes: ptr - range.base - offset, bytes });
}

/** Opens exported memory on the active device. @returns its address @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
export function importPages(
  runtime: GpuRuntime,
  ranges: LiveRanges<GpuRange>,
  memory: SharedPages,
  isReadOnly: boolean,
): DevicePtr {
  const shared = checkedCopy(memory);
  const { driver, activeDevice: device } = runtime;
  return runtime.on(device, () => {
    const base = driver.reserve(sumOf(shared.pieceBytes)) as DevicePtr;
    if (base === 0)
      throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'MemAddressReserve', status: 2, statusName: 'no room' });
    const imported = new ImportedPages(base, shared, isReadOnly, device);
    const map = () => {
      let offset = 0;
      for (const [i, descriptor] of shared.descriptors.entries()) {
        const pieceBytes = shared.pieceBytes[i] as number;
        mapPiece(runtime, imported, offset, pieceBytes, descriptor);
        offset += pieceBytes;
      }
      driver.setAccess(base, imported.piecesBytes, device, isReadOnly ? READ : READ_AND_WRITE);
    };
    orUndo(map, () => runtime.leftovers.drop(() => unmap(runtime, imported)));
    ranges.insert(imported);
    return imported.base;
  });
}

/** Closes imported pages after all work of their device. What the driver refuses can be closed again. @throws ERR_MEM_NATIVE */
export function closePages(runtime: GpuRuntime, ranges: LiveRanges<GpuRange>, imported: ImportedPages): void {
  runtime.on(imported.device, () => {
    runtime.call('DeviceSynchronize');
    unmap(runtime, imported);
  });
  ranges.remove(imported.base);
}

function mapPiece(
  { driver, leftovers }: GpuRuntime,
  imported: ImportedPages,
  offset: number,
  bytes: number,
  theirs: number,
): void {
  const descriptor = descriptorOf(imported.shared.pid, theirs);
  let handle: bigint;
  try {
    handle = driver.importDescriptor(descriptor);
  } finally {
    closeSync(descriptor);
  }
  try {
    driver.call('MemMap', imported.firstPiece + offset, bytes, 0, handle, 0);
    imported.mapped.set(offset, bytes);
  } finally {
    // From here on the mapping keeps the memory.
    leftovers.drop(() => driver.call('MemRelease', handle));
  }
}

function unmap({ driver }: GpuRuntime, imported: ImportedPages): void {
  for (const [offset, bytes] of imported.mapped) {
    driver.call('MemUnmap', imported.firstPiece + offset, bytes);
    imported.mapped.delete(offset);
  }
  driver.call('MemAddressFree', imported.firstPiece, imported.piecesBytes);
}

/** A copy, since the program may change what it was sent while the pages are mapped. @throws ERR_MEM_INVALID_ARGUMENT */
function checkedCopy(memory: SharedPages): SharedPages {
  checkArgument(typeof memory === 'object' && memory !== null, 'memory', memory, EXPORTED);
  const { pid, descriptors, pieceBytes, offsetBytes, bytes } = memory;
  const areAll = (list: unknown, least: number): list is readonly number[] =>
    Array.isArray(list) && list.length > 0 && list.every((each) => Number.isSafeInteger(each) && each >= least);
  for (const number of [pid, bytes]) if (!(Number.isSafeInteger(number) && number > 0)) throw bad(memory);
  if (!areAll(descriptors, 0) || !areAll(pieceBytes, 1) || pieceBytes.length !== descriptors.length) throw bad(memory);
  const end = sumOf(pieceBytes);
  const [first, last] = [pieceBytes[0] as number, pieceBytes.at(-1) as number];
  // The memory begins in the first piece, and ends in the last.
  const begins = Number.isSafeInteger(offsetBytes) && offsetBytes >= 0 && offsetBytes < first;
  if (!begins || !Number.isSafeInteger(end) || offsetBytes + bytes > end || offsetBytes + bytes <= end - last) throw bad(memory);
  return { pid, descriptors: [...descriptors], pieceBytes: [...pieceBytes], offsetBytes, bytes };
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, each) => sum + each, 0);
}

function bad({ pid, descriptors, pieceBytes, offsetBytes, bytes }: SharedPages): MemoryError<'ERR_MEM_INVALID_ARGUMENT'> {
  const pieces = `descriptors ${descriptors} of process ${pid}, for pieces of ${pieceBytes} bytes`;
  return badArgument('memory', `${bytes} bytes at offset ${offsetBytes} of ${pieces}`, EXPORTED);
}
