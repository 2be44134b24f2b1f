import { TraceKind } from '../trace-events.js';

// The constants of this library's binary trace. docs/trace-format.md describes it.

/** The first bytes of a file: none of them survives a transfer as text. */
export const MAGIC = Uint8Array.of(0x89, 0x53, 0x54, 0x57, 0x0d, 0x0a, 0x1a, 0x0a);
export const VERSION = 1;
/** Magic, version, length of the JSON that follows, its CRC-32. */
export const FILE_HEADER_BYTES = 20;
export const MAX_HEADER_JSON_BYTES = 64 * 1024;

/** Before each block: these four letters, the payload's length, its CRC-32, and the events in it. */
export const BLOCK_HEADER_BYTES = 16;
export const BLOCK_MARK = 0x4b_4c_42_53;
/** The most that a block's payload may have: a reader holds one. */
export const MAX_BLOCK_BYTES = 256 * 1024;

// A record begins with one byte: the code in the low four bits, and how its numbers are written.
export const CODE_BITS = 0x0f;
/** The pointer is a double. Without this it is a signed 32-bit difference to the pointer before. */
export const FAR_POINTER = 0x10;
/** The size is a double. Without this it is an unsigned 32-bit integer. */
export const LARGE_SIZE = 0x20;

/**
 * The record is another than its code says: of a free, its completion, with a size; of a device, the pool; of a tag, the step;
 * of a refusal, one that the present tag and site belong to.
 */
export const OTHER_RECORD = 0x40;

/** The codes of records that set a property of the events after them. Codes 0 to 6 are the kinds of events below {@link TraceKind.freeCompleted}. */
export const RECORD = {
  clock: 7,
  device: 8,
  stream: 9,
  manager: 10,
  tag: 11,
  site: 12,
  space: 13,
  /** Gives a text a number. */
  string: 14,
  /** The recording ended in order; the number of events in the file. */
  end: 15,
} as const;
/** Records whose numbers take 8 bytes, not 4. */
export const WIDE_RECORDS: ReadonlySet<number> = new Set([RECORD.clock, RECORD.stream, RECORD.string, RECORD.end]);

/** After so many texts a writer numbers them from 1 again, so that its memory stays bounded. */
export const MAX_STRINGS = 32_768;
export const MAX_STRING_BYTES = 8192;

/** Which events have a pointer, by kind. */
export const HAS_POINTER: readonly boolean[] = perKind([
  TraceKind.alloc,
  TraceKind.free,
  TraceKind.nativeAlloc,
  TraceKind.nativeFree,
  TraceKind.freeCompleted,
]);
/** Which events have a size, by kind. */
export const HAS_SIZE: readonly boolean[] = perKind([
  TraceKind.alloc,
  TraceKind.nativeAlloc,
  TraceKind.nativeFree,
  TraceKind.outOfMemory,
  TraceKind.freeCompleted,
]);

/** The content of the JSON in the header. */
export interface StowageHeader {
  /** The recorded program. */
  readonly name: string;
  /** When the recording began, by ISO 8601. */
  readonly startedAt?: string;
  readonly pid?: number;
  /** The most events between two readings of the clock. */
  readonly clockEvents?: number;
  /** Of what a flight recorder wrote. */
  readonly flight?: {
    /** Why it was written. */
    readonly reason: string;
    /** Bytes between two allocations whose site and tag were taken, on average; more where the program allocated fast. */
    readonly sampleBytes: number;
  };
}

function perKind(kinds: readonly TraceKind[]): boolean[] {
  return Object.values(TraceKind).map((kind) => kinds.includes(kind));
}
