import type { StringTable } from './string-table.js';

/*
 * The event model: one stream of events for every format, as columns (one typed array for each property).
 *
 *   file -> parser -> EventBuilder -> EventBatch (a part, streamed by readTrace) or TraceEvents (all, by loadTrace)
 *
 * - Event `i` is what stands at index `i` of every column; `kinds[i]` is a TraceKind.
 * - Allocations and frees carry a slot: `slots[i]` is the slot that an allocation fills and `~slot` for the free that empties
 *   it, NO_SLOT for all other kinds. A free always empties a slot that is filled, so a consumer that keeps one number for
 *   each of `slotCount` slots knows every live block: the event that allocated it, say.
 * - `bytes[i]` is the size: of the block, the native segment (or range of pages), or the allocation that was refused.
 * - Every other column is optional: it is undefined when the source has nothing for it, and costs nothing then. 0 in a column
 *   of numbers means "not known" or the first of its kind (device 0, stream 0). Names (manager, tag, site, space) are ids in
 *   one table, `strings`; id 0 is no name: `events.strings.get(events.managers?.[i] ?? 0)` gives '' then.
 * - A native allocation reserves the range `pointer .. pointer + bytes`; a native free gives a range back that need not be
 *   one that was allocated as a whole (managers of pages give back parts).
 * - Times are sampled while recording (see docs/trace-format.md): they never decrease, and equal times are usual.
 * - Pointers are unique among the live blocks of one space. A space is where addresses are told apart: each slot of each host
 *   (ordinary and pinned memory) is one. Space 0 is the only one in most traces.
 */

/** The file formats that hold events. */
export type TraceFormat = 'alloctrace' | 'call log' | 'stowage' | 'rmm' | 'umpire' | 'pytorch' | 'perfetto';

/** The kinds of events. */
export const TraceKind = {
  /** A block was handed out. */
  alloc: 0,
  /** A block came back. */
  free: 1,
  /** A manager got native memory: a segment, or pages that were committed. */
  nativeAlloc: 2,
  /** A manager gave native memory back: a segment, or a range of pages. */
  nativeFree: 3,
  /** Another manager serves from now on: the event's manager. */
  swap: 4,
  /** A manager was told to give its cached memory back. */
  cleanup: 5,
  /** An allocation was refused: out of memory. */
  outOfMemory: 6,
  /**
   * The block of an earlier free event can be used again from now on: work on a stream had still used it. The pointer and the
   * bytes are those of the free. A free without one was complete at once.
   */
  freeCompleted: 7,
} as const;

/** One of the values of the object of the same name. */
export type TraceKind = (typeof TraceKind)[keyof typeof TraceKind];

/** How many kinds there are. */
export const TRACE_KINDS = 8;

export const NS_PER_US = 1000;
export const NS_PER_MS = 1e6;

/** Device ids lie below this. */
export const MAX_DEVICES = 1024;

/** In `slots`: the event is neither an allocation nor a free. */
export const NO_SLOT = -(2 ** 31);

/**
 * Events in program order, as columns. A slot stands for one live block and is used again once that block is freed,
 * so a replay needs an array of `slotCount` pointers and nothing else.
 */
export interface EventColumns extends OptionalColumns {
  /** A {@link TraceKind} for each event. */
  readonly kinds: Uint8Array;
  /** The slot that an allocation fills, `~slot` for a free, {@link NO_SLOT} for any other kind. */
  readonly slots: Int32Array;
  /** The size in bytes, for a free as well; 0 where the event has none. */
  readonly bytes: Float64Array;
  /** The line of the file that the event stands in, from 1; 0 in a format without lines. */
  readonly lines: Uint32Array;
}

/** The columns that a source may lack. */
export interface OptionalColumns {
  /** Nanoseconds since the recording began. */
  readonly times?: Float64Array | undefined;
  readonly pointers?: Float64Array | undefined;
  /** The device of the block or segment. */
  readonly devices?: Int32Array | undefined;
  /** The stream that an allocation was made for, or that a free was made on: a small number or a handle. */
  readonly streams?: Float64Array | undefined;
  /** The id of the manager's name: the owner of a block, the new manager of a swap. */
  readonly managers?: Int32Array | undefined;
  /**
   * The private pool that a block or a segment lies in, as captured graphs and programs make them; in order of appearance,
   * from 1. 0 is the default pool. That of a refusal is a guess: the pool of the allocation before it on its stream.
   */
  readonly pools?: Int32Array | undefined;
  /** The id of the program's step or annotation in which the event happened. */
  readonly steps?: Int32Array | undefined;
  /** The id of the tag of an allocation or a refusal. */
  readonly tags?: Int32Array | undefined;
  /** The id of the site of an allocation or a refusal: the program's stack, one line a frame, the innermost first. */
  readonly sites?: Int32Array | undefined;
  /** The id of the space that the pointer lies in: 0 for ordinary memory of the first host, else a name such as `pinned`. */
  readonly spaces?: Int32Array | undefined;
}

/** A part of an event stream. Its columns are overwritten when the next part is read. */
export interface EventBatch extends EventColumns {
  /** How many events there are. */
  readonly length: number;
  /** How many slots the stream has used so far. */
  readonly slotCount: number;
  /** The names that ids stand for; it grows with the stream. */
  readonly strings: StringTable;
}

/** The totals of a trace. */
export interface TraceTotals {
  /** How many events there are of each kind, at the kind's index. */
  readonly counts: readonly number[];
  /** Allocations in the trace, those of 0 bytes included. Allocation number `n` is the n-th from 0 in program order. */
  readonly allocations: number;
  /** Blocks that the trace never frees, those of 0 bytes left out. */
  readonly liveBlocks: number;
  /** The bytes of those blocks. */
  readonly liveBytes: number;
  readonly peakBlocks: number;
  /** The highest sum of the sizes of live blocks. */
  readonly peakLiveBytes: number;
  /** The highest sum of native memory; 0 for a trace without native events. */
  readonly peakReservedBytes: number;
  /** Slots in use at once, at most. An allocation of 0 bytes has a slot, too: `peakBlocks <= slotCount`. */
  readonly slotCount: number;
  /** Frees of blocks whose allocation is not in the file, as of those from before the recording began; they are no events. */
  readonly unknownFrees: number;
}

/** A block that was live when a recording began. */
export interface EarlierBlock {
  /** The event that stands for its allocation. */
  readonly event: number;
  readonly address: number;
  /** What the allocator had rounded it up to; undefined when only the bytes of the event are known. */
  readonly blockBytes: number | undefined;
}

/** A segment that was there when a recording began; of an expandable one, what was mapped without a gap. */
export interface EarlierSegment {
  readonly device: number;
  readonly address: number;
  readonly bytes: number;
  readonly stream: number;
  /** As in the column `pools`. */
  readonly pool: number;
  readonly expandable: boolean;
  /** Whether it is for blocks of up to 1 MiB. */
  readonly small: boolean;
  /** Its live blocks, by address. */
  readonly blocks: readonly EarlierBlock[];
}

/** What a recording of PyTorch says beside its events. */
export interface AllocatorFacts {
  /** The setting that was in force, as in `PYTORCH_ALLOC_CONF`; undefined when it is not told. */
  readonly conf: string | undefined;
  /** The state before the recording, worked backwards from the state at its end: what the first events stand for. */
  readonly earlier: readonly EarlierSegment[];
  /** How many events at the beginning stand for that state. */
  readonly earlierEvents: number;
  /** Bytes that were given back in the recording, where it has private pools: theirs stands nowhere. */
  readonly unknownPoolBytes: number;
  /** Bytes that were given back when memory may have been short, or the program may have asked for it. */
  readonly doubtfulBytes: number;
}

/** Where a trace is from. */
export interface TraceOrigin {
  /** The file it was read from. */
  readonly file: string;
  /** The recorded program: from the header, or the file's name where there is none. */
  readonly name: string;
  readonly format: TraceFormat;
  /** Why the events are not all there were: a recording whose process was killed. Undefined when nothing is known to be missing. */
  readonly cutOff?: string | undefined;
  /** Undefined for all but snapshots of PyTorch. */
  readonly allocator?: AllocatorFacts | undefined;
}

/** All properties of a trace. */
type TraceParts = TraceOrigin & TraceTotals & EventColumns & Pick<EventBatch, 'strings'>;

/** A class whose instances have the given properties. */
const Assembled = class {
  constructor(parts: TraceParts) {
    Object.assign(this, parts);
  }
} as new (
  parts: TraceParts,
) => TraceParts;

/** A whole trace in memory, at 17 bytes an event and 4 or 8 for each optional column that it has. */
export class TraceEvents extends Assembled {
  constructor(
    { file, name, format, cutOff, allocator }: TraceOrigin,
    columns: EventColumns & Pick<EventBatch, 'strings'>,
    totals: TraceTotals,
  ) {
    const { allocations, liveBlocks, liveBytes, peakBlocks, peakLiveBytes, peakReservedBytes, slotCount, unknownFrees } = totals;
    const blocks = { allocations, liveBlocks, liveBytes, peakBlocks, slotCount, unknownFrees };
    const peaks = { peakLiveBytes, peakReservedBytes };
    super({ file, name, format, cutOff, allocator, ...columns, ...blocks, ...peaks, counts: [...totals.counts] });
  }

  /** How many events there are. */
  get length(): number {
    return this.kinds.length;
  }

  /** How many events a replay makes: allocations and frees. */
  get calls(): number {
    return this.counts[TraceKind.alloc]! + this.counts[TraceKind.free]!;
  }

  /** How many events of a kind there are. */
  count(kind: TraceKind): number {
    return this.counts[kind]!;
  }

  /** The kinds of events. */
  kindOf(event: number): TraceKind {
    return this.kinds[event]! as TraceKind;
  }

  /** Tells whether an event is an allocation. */
  isAlloc(event: number): boolean {
    return this.kinds[event] === TraceKind.alloc;
  }

  /** Tells whether an event is a free. */
  isFree(event: number): boolean {
    return this.kinds[event] === TraceKind.free;
  }

  /** The slot that an allocation fills or a free empties; -1 for any other event. */
  slotOf(event: number): number {
    const slot = this.slots[event]!;
    if (slot === NO_SLOT) return -1;
    return slot >= 0 ? slot : ~slot;
  }

  /** The size in bytes of what an event allocates, frees or refuses. */
  bytesOf(event: number): number {
    return this.bytes[event]!;
  }

  /** The line of the file that an event stands in, from 1; 0 in a format without lines. */
  lineOf(event: number): number {
    return this.lines[event]!;
  }

  /** Nanoseconds since the recording began; 0 for a trace without times. */
  timeOf(event: number): number {
    return this.times?.[event] ?? 0;
  }

  /** The address of a block or segment; 0 for a trace without pointers. */
  pointerOf(event: number): number {
    return this.pointers?.[event] ?? 0;
  }

  deviceOf(event: number): number {
    return this.devices?.[event] ?? 0;
  }

  streamOf(event: number): number {
    return this.streams?.[event] ?? 0;
  }

  /** The name of an event's manager, '' when it is not known. */
  managerOf(event: number): string {
    return this.strings.get(this.managers?.[event] ?? 0);
  }

  /** The private pool that a block or a segment lies in, 0 for the default one. */
  poolOf(event: number): number {
    return this.pools?.[event] ?? 0;
  }

  /** The program's step or annotation, '' when it is not known. */
  stepOf(event: number): string {
    return this.strings.get(this.steps?.[event] ?? 0);
  }

  /** The tag of an allocation or a refusal, '' for none. */
  tagOf(event: number): string {
    return this.strings.get(this.tags?.[event] ?? 0);
  }

  /** The site of an allocation or a refusal, '' when it is not known. */
  siteOf(event: number): string {
    return this.strings.get(this.sites?.[event] ?? 0);
  }

  /** The name of the space that an event's pointer lies in, '' for the first. */
  spaceOf(event: number): string {
    return this.strings.get(this.spaces?.[event] ?? 0);
  }
}
