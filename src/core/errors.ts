import type { BudgetRefusal } from './budget-report.js';
import { counted } from './counted.js';
import { exactBytes } from './format-bytes.js';
import { given } from './given.js';

/**
 * What each error code means and which facts it carries. Units stand in the facts' names.
 * docs/errors.md says of each what happened, and what to do.
 */
export interface MemoryErrorFacts {
  /** Every step of the out-of-memory ladder failed. */
  ERR_MEM_OUT_OF_MEMORY: {
    requestedBytes: number;
    allocatedBytes: number;
    reservedBytes: number;
    capacityBytes: number;
    device: number;
    /** The size of the native segment that the device refused, where it is not what was requested. */
    segmentBytes?: number;
    /** What refused, where it was not the device: `512 bytes`, `10 blocks`. Cached memory given back does not help then. */
    quota?: string;
    /** How many bytes more would have been enough, where that is known. */
    missingBytes?: number;
    /** The budget that refused: who holds what there, what was tried, and what would have to go. */
    budget?: BudgetRefusal;
  };
  /** A size is negative, no integer, NaN or above 2^53 - 1. */
  ERR_MEM_INVALID_SIZE: { bytes: number };
  /** An alignment is no power of two. */
  ERR_MEM_INVALID_ALIGNMENT: { alignmentBytes: number };
  /** A number cannot be an address. */
  ERR_MEM_INVALID_POINTER: { pointer: number };
  /** An argument or setting has a value that it cannot have. */
  ERR_MEM_INVALID_ARGUMENT: { name: string; value: string; expected: string };
  /** No manager here owns this pointer. */
  ERR_MEM_UNKNOWN_POINTER: { pointer: number };
  /** The block that this pointer heads is already free. */
  ERR_MEM_DOUBLE_FREE: { pointer: number };
  /** A function of the device interface was called before an installer (or a test) set it. */
  ERR_MEM_NOT_INSTALLED: { functionName: string };
  /** A device interface already serves another manager or slot. */
  ERR_MEM_TABLE_IN_USE: { manager: string };
  /** A manager's lifecycle has no such transition. */
  ERR_MEM_LIFECYCLE: { manager: string; from: string; to: string };
  /** A native engine cannot take a host now: it has another one, or it is too late. */
  ERR_MEM_ENGINE_IN_USE: { engine: string; reason: string };
  /** A slot was changed from inside one of its own callbacks. */
  ERR_MEM_REENTRANT: { operation: string };
  /** The device id does not exist, or no manager state exists for it. */
  ERR_MEM_INVALID_DEVICE: { device: number; deviceCount: number };
  /** A device still has live blocks, a call on it is under way, or its manager keeps memory of it. */
  ERR_MEM_DEVICE_BUSY: { device: number; liveBlocks: number };
  /** Logging was enabled without a sink. */
  ERR_MEM_NO_LOG_STREAM: { manager: string };
  /** The log sink threw; logging is off from then on. */
  ERR_MEM_LOG_SINK: { manager: string };
  /** A trace could not be written to its end. A recording is off from then on. */
  ERR_MEM_TRACE_WRITE: { file: string };
  /** The handle was disposed, moved away, or its runtime was closed. */
  ERR_MEM_DISPOSED: {
    what: string;
    /** Whether it was moved: another one has what it had. Left out when it was not. */
    moved?: boolean;
  };
  /** A tensor has no memory yet: its context was made with noAlloc, and nobody has placed it. */
  ERR_MEM_NO_DATA: { tensor: string };
  /** A byte range does not lie inside its block. */
  ERR_MEM_OUT_OF_RANGE: { offsetBytes: number; bytes: number; blockBytes: number };
  /** A device, driver or library is not on this machine. */
  ERR_MEM_DEVICE_ABSENT: { device: string; reason: string };
  /** Blocks are kept in WebAssembly, which cannot be had in this process. */
  ERR_MEM_NO_WEBASSEMBLY: { reason: string; remedy: string };
  /** This platform or device has no such capability. */
  ERR_MEM_UNSUPPORTED_PLATFORM: { what: string; platform: string };
  /** A native call answered with an error status. */
  ERR_MEM_NATIVE: {
    functionName: string;
    status: number;
    statusName: string;
    /** What the library says about the status, where it says anything. */
    statusText?: string;
  };
  /** A trace, log or other file cannot be read; the place is where. */
  ERR_MEM_BAD_INPUT: { file: string; line: number; reason: string };
  /** A shared segment cannot be used: it is damaged, truncated, not one of this library, or still being created. */
  ERR_MEM_BAD_SEGMENT: { url: string; reason: string };
  /** A shared segment of that name exists already; its creator is 0 where that cannot be told. */
  ERR_MEM_SEGMENT_EXISTS: { url: string; creatorPid: number; creatorAlive: boolean };
  /** There is no shared segment of that name. */
  ERR_MEM_SEGMENT_ABSENT: { url: string };
  /** A replay stopped at an event; the cause says why. Every block of the replay was freed. */
  ERR_MEM_REPLAY: { file: string; line: number; event: number; reason: string };
  /** Bytes before or after a block were overwritten; the offset of the first one is from the block's start. */
  ERR_MEM_CORRUPTED: {
    pointer: number;
    bytes: number;
    side: 'before' | 'after';
    offsetBytes: number;
    damagedBytes: number;
    /** Where the block was allocated, if that is known. */
    site?: string | undefined;
  };
  /** Words that an allocator keeps in a shared region make no sense: somebody wrote over them, or it holds no such allocator. */
  ERR_MEM_REGION_DAMAGED: { offset: number; reason: string };
  /** Another thread has had the lock of a shared region for too long; its process is 0 where that cannot be told. */
  ERR_MEM_LOCK_TIMEOUT: { ownerPid: number; waitedMs: number };
  /** A shared block was freed since the token was made, or its reference is in other hands. */
  ERR_MEM_STALE_TOKEN: { offset: number; generation: number };
  /** A shared block was freed by its offset while references are counted on it. */
  ERR_MEM_STILL_SHARED: { offset: number; references: number };
  /** What a process holds was to be reclaimed, and it still runs. */
  ERR_MEM_OWNER_ALIVE: { pid: number };
  /** A check of the library's own invariants failed, or a method of a policy gave what it must not: a defect in a manager. */
  ERR_MEM_INVARIANT: { invariant: string };
}

/** A stable error code, `ERR_MEM_…`. */
export type MemoryErrorCode = keyof MemoryErrorFacts;

const MESSAGES: { readonly [C in MemoryErrorCode]: (facts: MemoryErrorFacts[C]) => string } = {
  ERR_MEM_OUT_OF_MEMORY: (f) =>
    `out of memory: ${exactBytes(f.requestedBytes)} requested on device ${f.device}` +
    `${f.segmentBytes === undefined ? '' : `, in a segment of ${exactBytes(f.segmentBytes)}`}; ` +
    `${exactBytes(f.allocatedBytes)} allocated, ${exactBytes(f.reservedBytes)} reserved, ` +
    `${f.quota === undefined ? `capacity ${exactBytes(f.capacityBytes)}` : f.quota}`,
  ERR_MEM_INVALID_SIZE: (f) => `${given(f.bytes)} is not a size: it must be an integer from 0 to 2^53 - 1 bytes`,
  ERR_MEM_INVALID_ALIGNMENT: (f) => `${given(f.alignmentBytes)} is not an alignment: it must be a power of two`,
  ERR_MEM_INVALID_POINTER: (f) => `${given(f.pointer)} is not an address: it must be an integer from 0 to 2^53 - 1`,
  ERR_MEM_INVALID_ARGUMENT: (f) => `${f.name} is ${f.value}, but must be ${f.expected}`,
  ERR_MEM_UNKNOWN_POINTER: (f) => `pointer ${f.pointer} belongs to no manager here`,
  ERR_MEM_DOUBLE_FREE: (f) => `pointer ${f.pointer} is already free`,
  ERR_MEM_NOT_INSTALLED: (f) => `${f.functionName} is not set: install the manager first`,
  ERR_MEM_TABLE_IN_USE: (f) => `this device interface already serves ${f.manager}`,
  ERR_MEM_LIFECYCLE: (f) => `${f.manager} cannot become ${f.to}: it is ${f.from}`,
  ERR_MEM_ENGINE_IN_USE: (f) => `${f.engine} cannot take this host: ${f.reason}`,
  ERR_MEM_REENTRANT: (f) => `${f.operation} was called from inside a manager's own callback`,
  ERR_MEM_INVALID_DEVICE: (f) => `there is no device ${f.device}: ${f.deviceCount} known`,
  ERR_MEM_DEVICE_BUSY: (f) =>
    f.liveBlocks > 0
      ? `device ${f.device} still has live blocks: ${f.liveBlocks}`
      : `device ${f.device} is in use: a call on it is under way, or its manager keeps memory of it`,
  ERR_MEM_NO_LOG_STREAM: (f) => `logging of ${f.manager} has no sink: call setLogStream first`,
  ERR_MEM_LOG_SINK: (f) => `the log sink of ${f.manager} failed; its logging is off`,
  ERR_MEM_TRACE_WRITE: (f) => `${f.file}: the trace could not be written to its end`,
  ERR_MEM_DISPOSED: (f) => `this ${f.what} was ${f.moved === true ? 'moved: another handle has its block' : 'disposed'}`,
  ERR_MEM_NO_DATA: (f) => `${f.tensor} has no memory yet: place it in a backend buffer`,
  ERR_MEM_OUT_OF_RANGE: (f) =>
    `${exactBytes(f.bytes)} at offset ${f.offsetBytes} do not lie inside a block of ${exactBytes(f.blockBytes)}`,
  ERR_MEM_DEVICE_ABSENT: (f) => `${f.device} is absent: ${f.reason}`,
  ERR_MEM_NO_WEBASSEMBLY: (f) => `memory managers need WebAssembly, but ${f.reason}: ${f.remedy}`,
  ERR_MEM_UNSUPPORTED_PLATFORM: (f) => `${f.what} is not supported on ${f.platform}`,
  ERR_MEM_NATIVE: (f) =>
    `${f.functionName} failed: ${f.statusName} (${f.status})${f.statusText === undefined ? '' : `: ${f.statusText}`}`,
  ERR_MEM_BAD_INPUT: (f) => (f.line > 0 ? `${f.file}:${f.line}: ${f.reason}` : `${f.file}: ${f.reason}`),
  ERR_MEM_REPLAY: (f) => `${f.file}${f.line > 0 ? `:${f.line}` : ''}: event ${f.event} failed: ${f.reason}`,
  ERR_MEM_BAD_SEGMENT: (f) => `shared segment ${f.url} cannot be used: ${f.reason}`,
  ERR_MEM_SEGMENT_EXISTS: (f) =>
    `shared segment ${f.url} exists already${f.creatorPid === 0 ? '' : `: process ${f.creatorPid} created it`}` +
    `${f.creatorAlive ? '' : '; its creator is gone, so it can be replaced, or removed with "stowage shm rm"'}`,
  ERR_MEM_SEGMENT_ABSENT: (f) => `there is no shared segment ${f.url}`,
  ERR_MEM_CORRUPTED: (f) =>
    `the memory ${f.side} block ${f.pointer} of ${exactBytes(f.bytes)} was overwritten: ` +
    `${counted(f.damagedBytes, 'byte')}, the first at offset ${f.offsetBytes}${f.site === undefined ? '' : `; allocated ${f.site}`}`,
  ERR_MEM_REGION_DAMAGED: (f) => `the shared region is damaged at offset ${f.offset}: ${f.reason}`,
  ERR_MEM_LOCK_TIMEOUT: (f) =>
    `the lock of the shared memory was not to be had for ${f.waitedMs} ms` +
    `${f.ownerPid === 0 ? '' : `: process ${f.ownerPid} has it`}`,
  ERR_MEM_STALE_TOKEN: (f) => `the token for offset ${f.offset}, generation ${f.generation}, is no longer good`,
  ERR_MEM_STILL_SHARED: (f) => `the block at offset ${f.offset} cannot be freed: ${f.references} references are counted on it`,
  ERR_MEM_OWNER_ALIVE: (f) => `process ${f.pid} still runs: what it holds cannot be reclaimed`,
  ERR_MEM_INVARIANT: (f) => `invariant broken: ${f.invariant}`,
};

/** The one error class of this library: a stable `code`, typed `facts`, and the `cause` where there is one. */
export class MemoryError<C extends MemoryErrorCode = MemoryErrorCode> extends Error {
  override readonly name = 'MemoryError';
  readonly code: C;
  readonly facts: Readonly<MemoryErrorFacts[C]>;
  /** The command that says what to do now. Node prints it with the error. */
  readonly help: string;

  constructor(code: C, facts: MemoryErrorFacts[C], cause?: unknown) {
    super(MESSAGES[code](facts), cause === undefined ? undefined : { cause });
    this.code = code;
    this.facts = facts;
    this.help = `npx stowage error ${code}`;
  }

  /**
   * Tells whether `error` is a MemoryError, of that code if one is given.
   * It goes by name and code, so errors of another copy of this package count too.
   */
  static is<C extends MemoryErrorCode = MemoryErrorCode>(error: unknown, code?: C): error is MemoryError<C> {
    if (!(error instanceof Error) || error.name !== 'MemoryError') return false;
    const found = (error as { code?: unknown }).code;
    return code === undefined ? typeof found === 'string' && found.startsWith('ERR_MEM_') : found === code;
  }
}

/** Throws unless an argument is what is taken. @param value - what was given @throws ERR_MEM_INVALID_ARGUMENT */
export function checkArgument(ok: boolean, name: string, value: unknown, expected: string): asserts ok {
  if (!ok) throw badArgument(name, value, expected);
}

/** Throws unless bytes at an offset lie inside a block. @throws ERR_MEM_OUT_OF_RANGE */
export function checkRange(offsetBytes: number, bytes: number, blockBytes: number): void {
  const fits = Number.isSafeInteger(offsetBytes) && Number.isSafeInteger(bytes) && offsetBytes >= 0 && bytes >= 0;
  if (!fits || offsetBytes + bytes > blockBytes) {
    throw new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes, bytes, blockBytes });
  }
}

/** Throws unless something can still be used. @param what - names it @throws ERR_MEM_DISPOSED */
export function checkUsable(ok: boolean, what: string): asserts ok {
  if (!ok) throw new MemoryError('ERR_MEM_DISPOSED', { what });
}

/** Makes the error of an argument. @param value - what was given @param expected - what is taken */
export function badArgument(
  name: string,
  value: unknown,
  expected: string,
  cause?: unknown,
): MemoryError<'ERR_MEM_INVALID_ARGUMENT'> {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: String(value), expected }, cause);
}
