/** The file formats that hold allocation events. */
export type TraceFormat = 'alloctrace' | 'call log';

/**
 * Events in program order, as columns. A slot stands for one live block and is used again once that block is freed,
 * so a replay needs an array of `slotCount` pointers and nothing else.
 */
export interface EventColumns {
  /** The slot that an allocation fills, or `~slot` for a free. */
  readonly slots: Int32Array;
  /** The block's size in bytes, for a free as well. */
  readonly bytes: Float64Array;
  /** The line of the file that the event stands in, from 1. */
  readonly lines: Uint32Array;
}

/** A part of an event stream. Its columns are overwritten when the next part is read. */
export interface EventBatch extends EventColumns {
  /** How many slots the stream has used so far. */
  readonly slotCount: number;
}

/** What a trace adds up to. */
export interface TraceTotals {
  /** Allocations in the trace, those of 0 bytes included. Allocation number `n` is the n-th from 0 in program order. */
  readonly allocations: number;
  /** Blocks that the trace never frees. */
  readonly liveBlocks: number;
  readonly peakBlocks: number;
  /** The highest sum of the sizes of live blocks. */
  readonly peakLiveBytes: number;
  /** Slots in use at once, at most: `peakBlocks == slotCount`. */
  readonly slotCount: number;
}

/** A whole trace in memory, at 16 bytes an event. */
export class TraceEvents implements TraceTotals {
  /** The file it was read from. */
  readonly file: string;
  /** The recorded program: from the header, or the file's name for a call log. */
  readonly name: string;
  readonly format: TraceFormat;
  readonly slots: Int32Array;
  readonly bytes: Float64Array;
  readonly lines: Uint32Array;
  readonly allocations: number;
  readonly liveBlocks: number;
  readonly peakBlocks: number;
  readonly peakLiveBytes: number;
  readonly slotCount: number;

  constructor(origin: { file: string; name: string; format: TraceFormat }, columns: EventColumns, totals: TraceTotals) {
    this.file = origin.file;
    this.name = origin.name;
    this.format = origin.format;
    this.slots = columns.slots;
    this.bytes = columns.bytes;
    this.lines = columns.lines;
    this.allocations = totals.allocations;
    this.liveBlocks = totals.liveBlocks;
    this.peakBlocks = totals.peakBlocks;
    this.peakLiveBytes = totals.peakLiveBytes;
    this.slotCount = totals.slotCount;
  }

  /** How many events there are. */
  get length(): number {
    return this.slots.length;
  }

  /** Tells whether an event is an allocation; the others are frees. */
  isAlloc(event: number): boolean {
    return this.slots[event]! >= 0;
  }

  /** The slot that an event fills or empties. */
  slotOf(event: number): number {
    const slot = this.slots[event]!;
    return slot >= 0 ? slot : ~slot;
  }

  /** The size in bytes of the block that an event allocates or frees. */
  bytesOf(event: number): number {
    return this.bytes[event]!;
  }

  /** The line of the file that an event stands in, from 1. */
  lineOf(event: number): number {
    return this.lines[event]!;
  }
}
