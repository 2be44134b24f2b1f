import { grown, idsColumn, numbersColumn } from './event-column.js';
import { FormatFault } from './formats/format-fault.js';
import { StringTable } from './string-table.js';
import {
  type EventBatch,
  type EventColumns,
  NO_SLOT,
  type OptionalColumns,
  TRACE_KINDS,
  TraceKind,
  type TraceTotals,
} from './trace-events.js';

const INITIAL_EVENTS = 1024;
/** A Map by address can hold so many. Freed blocks stay in it for a while. */
export const MAX_LIVE = 8_000_000;
/** Characters of names, tags and sites. */
const MAX_CHARACTERS = 2 ** 28;

/** A kind of event that neither allocates nor frees a block. */
type OtherKind = Exclude<TraceKind, typeof TraceKind.alloc | typeof TraceKind.free>;

/**
 * Collects events as columns, gives each live block a slot, and adds up the totals.
 * Common properties are set first: `time`, `stream`, `manager` and so on apply to all events until they change.
 * Every call is O(1), amortised over the growth of the columns.
 */
export class EventBuilder implements TraceTotals {
  readonly strings = new StringTable(MAX_CHARACTERS);
  readonly counts: number[] = new Array<number>(TRACE_KINDS).fill(0);
  liveBlocks = 0;
  peakBlocks = 0;
  liveBytes = 0;
  peakLiveBytes = 0;
  peakReservedBytes = 0;
  slotCount = 0;
  unknownFrees = 0;
  /** The number of events since the last call of {@link take}. */
  length = 0;
  /** Nanoseconds since the recording began. */
  time = 0;
  device = 0;
  stream = 0;
  /** The private pool, 0 for the default one. */
  pool = 0;
  /** The id of a name in {@link strings}; so are the next four. */
  manager = 0;
  space = 0;
  step = 0;
  /** Of allocations and of refusals that have a site. */
  tag = 0;
  /** As `tag`. */
  site = 0;
  #reservedBytes = 0;
  #kinds = new Uint8Array(INITIAL_EVENTS);
  #slots = new Int32Array(INITIAL_EVENTS);
  #bytes = new Float64Array(INITIAL_EVENTS);
  #lines = new Uint32Array(INITIAL_EVENTS);
  readonly #optional = {
    times: numbersColumn(),
    pointers: numbersColumn(),
    devices: idsColumn(),
    streams: numbersColumn(),
    managers: idsColumn(),
    pools: idsColumn(),
    steps: idsColumn(),
    tags: idsColumn(),
    sites: idsColumn(),
    spaces: idsColumn(),
  } satisfies Record<keyof OptionalColumns, unknown>;
  /** The properties of the block in each slot. */
  readonly #blocks = { bytes: numbersColumn(), pointer: numbersColumn(), device: idsColumn(), space: idsColumn() };
  readonly #freeSlots = idsColumn();
  #freeCount = 0;

  get allocations(): number {
    return this.counts[TraceKind.alloc]!;
  }

  /** Adds an allocation. @returns the slot of its block @throws FormatFault when too many blocks are live */
  alloc(bytes: number, line: number, pointer = 0): number {
    if (this.#freeCount === 0 && this.slotCount === MAX_LIVE)
      throw new FormatFault(`more than ${MAX_LIVE} blocks are live at once`);
    const slot = this.#freeCount > 0 ? this.#freeSlots.get(--this.#freeCount) : this.slotCount++;
    this.#blocks.bytes.set(slot, bytes);
    this.#blocks.pointer.set(slot, pointer);
    this.#blocks.device.set(slot, this.device);
    this.#blocks.space.set(slot, this.space);
    this.#request(this.tag, this.site);
    this.#append(TraceKind.alloc, slot, bytes, line, pointer, this.device, this.space);
    this.liveBytes += bytes;
    if (this.liveBytes > this.peakLiveBytes) this.peakLiveBytes = this.liveBytes;
    // Null, which 0 bytes give, is no block: some engines free it, others do not.
    if (bytes > 0 && ++this.liveBlocks > this.peakBlocks) this.peakBlocks = this.liveBlocks;
    return slot;
  }

  /** Adds the free of the live block in `slot`, with the address, device and space that it was allocated with. */
  free(slot: number, line: number): void {
    const block = this.#blocks;
    const bytes = block.bytes.get(slot);
    this.#addOther(TraceKind.free, ~slot, bytes, line, block.pointer.get(slot), block.device.get(slot), block.space.get(slot));
    this.liveBytes -= bytes;
    if (bytes > 0) this.liveBlocks--;
    this.#freeSlots.set(this.#freeCount++, slot);
  }

  /** Adds an allocation of `bytes` that was refused, with the present tag and site. */
  refused(line: number, bytes: number): void {
    this.#request(this.tag, this.site);
    this.#append(TraceKind.outOfMemory, NO_SLOT, bytes, line, 0, this.device, this.space);
  }

  /** Adds a native allocation or free, a swap, a cleanup, the completion of a free, or a refusal whose site is not known. */
  other(kind: OtherKind, line: number, bytes = 0, pointer = 0): void {
    this.#addOther(kind, NO_SLOT, bytes, line, pointer, this.device, this.space);
    if (kind === TraceKind.nativeAlloc) this.#reservedBytes += bytes;
    else if (kind === TraceKind.nativeFree) this.#reservedBytes -= bytes;
    if (this.#reservedBytes > this.peakReservedBytes) this.peakReservedBytes = this.#reservedBytes;
  }

  /** Returns the events since the last call, in columns that the next event overwrites. */
  take(): EventBatch {
    const { length, slotCount } = this;
    this.length = 0;
    return { length, slotCount, ...this.#columns(length, 'subarray') };
  }

  /** Copies the events into columns of exactly their length. */
  copy(): EventColumns & Pick<EventBatch, 'strings'> {
    return this.#columns(this.length, 'slice');
  }

  #columns(length: number, how: 'subarray' | 'slice'): EventColumns & Pick<EventBatch, 'strings'> {
    const optional = Object.entries(this.#optional).map(([name, column]) => [name, column.first(length, how)]);
    return {
      strings: this.strings,
      kinds: this.#kinds[how](0, length),
      slots: this.#slots[how](0, length),
      bytes: this.#bytes[how](0, length),
      lines: this.#lines[how](0, length),
      ...(Object.fromEntries(optional) as OptionalColumns),
    };
  }

  #addOther(kind: TraceKind, code: number, bytes: number, line: number, pointer: number, device: number, space: number): void {
    this.#request(0, 0);
    this.#append(kind, code, bytes, line, pointer, device, space);
  }

  /** Says what the program did for the event that comes next. */
  #request(tag: number, site: number): void {
    this.#optional.tags.set(this.length, tag);
    this.#optional.sites.set(this.length, site);
  }

  #append(kind: TraceKind, code: number, bytes: number, line: number, pointer: number, device: number, space: number): void {
    const at = this.length++;
    if (at === this.#slots.length) this.#grow(2 * at);
    this.#kinds[at] = kind;
    this.#slots[at] = code;
    this.#bytes[at] = bytes;
    this.#lines[at] = line;
    this.#optional.times.set(at, this.time);
    this.#optional.pointers.set(at, pointer);
    this.#optional.devices.set(at, device);
    this.#optional.streams.set(at, this.stream);
    this.#optional.managers.set(at, this.manager);
    this.#optional.pools.set(at, this.pool);
    this.#optional.steps.set(at, this.step);
    this.#optional.spaces.set(at, space);
    this.counts[kind]!++;
  }

  #grow(length: number): void {
    this.#kinds = grown(this.#kinds, length);
    this.#slots = grown(this.#slots, length);
    this.#bytes = grown(this.#bytes, length);
    this.#lines = grown(this.#lines, length);
  }
}
