import { idsColumn, numbersColumn } from './event-column.js';
import { FormatFault } from './formats/format-parser.js';
import { StringTable } from './string-table.js';
import { type EventBatch, type EventColumns, NO_SLOT, TRACE_KINDS, TraceKind, type TraceTotals } from './trace-events.js';

const INITIAL_EVENTS = 16_384;
const INITIAL_SLOTS = 1024;
/** What a Map by address can hold, freed ones included, which stay in it for a while. */
export const MAX_LIVE = 8_000_000;
/** Characters of names, tags and sites. */
const MAX_CHARACTERS = 2 ** 28;

/**
 * Collects events as columns, gives each live block a slot, and adds up the totals.
 * What events have in common is set beforehand: `time`, `stream`, `manager` and so on hold for all events until they change.
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
  #reservedBytes = 0;
  #length = 0;
  #kinds = new Uint8Array(INITIAL_EVENTS);
  #slots = new Int32Array(INITIAL_EVENTS);
  #bytes = new Float64Array(INITIAL_EVENTS);
  #lines = new Uint32Array(INITIAL_EVENTS);
  readonly #times = numbersColumn();
  readonly #pointers = numbersColumn();
  readonly #devices = idsColumn();
  readonly #streams = numbersColumn();
  readonly #managers = idsColumn();
  readonly #tags = idsColumn();
  readonly #sites = idsColumn();
  readonly #spaces = idsColumn();
  #sizeOfSlot = new Float64Array(INITIAL_SLOTS);
  #freeSlots = new Int32Array(INITIAL_SLOTS);
  readonly #pointerOfSlot = numbersColumn();
  readonly #deviceOfSlot = idsColumn();
  readonly #spaceOfSlot = idsColumn();
  #freeCount = 0;

  /** The number of events that wait to be taken. */
  get length(): number {
    return this.#length;
  }

  get allocations(): number {
    return this.counts[TraceKind.alloc]!;
  }

  /** Nanoseconds since the recording began. */
  set time(nanoseconds: number) {
    this.#times.next = nanoseconds;
  }

  get time(): number {
    return this.#times.next;
  }

  set device(id: number) {
    this.#devices.next = id;
  }

  set stream(stream: number) {
    this.#streams.next = stream;
  }

  /** The id of a name in {@link strings}. */
  set manager(id: number) {
    this.#managers.next = id;
  }

  /** The id of a name in {@link strings}. */
  set space(id: number) {
    this.#spaces.next = id;
  }

  /** The id of a text in {@link strings}; of allocations. */
  tag = 0;
  /** The id of a text in {@link strings}; of allocations. */
  site = 0;

  /** Adds an allocation. @returns the slot of its block @throws FormatFault when too many blocks are live */
  alloc(bytes: number, line: number, pointer = 0): number {
    const slot = this.#freeCount > 0 ? this.#freeSlots[--this.#freeCount]! : this.#newSlot();
    const slots = this.#sizeOfSlot.length;
    this.#sizeOfSlot[slot] = bytes;
    this.#pointerOfSlot.writeValue(slot, slots, pointer);
    this.#deviceOfSlot.writeValue(slot, slots, this.#devices.next);
    this.#spaceOfSlot.writeValue(slot, slots, this.#spaces.next);
    this.#tags.next = this.tag;
    this.#sites.next = this.site;
    this.#append(TraceKind.alloc, slot, bytes, line, pointer);
    this.#tags.next = 0;
    this.#sites.next = 0;
    this.liveBytes += bytes;
    if (this.liveBytes > this.peakLiveBytes) this.peakLiveBytes = this.liveBytes;
    // Null, which 0 bytes give, is no block: some engines free it, others do not.
    if (bytes > 0 && ++this.liveBlocks > this.peakBlocks) this.peakBlocks = this.liveBlocks;
    return slot;
  }

  /** Adds the free of the live block in `slot`, with the address, device and space that it was allocated with. */
  free(slot: number, line: number): void {
    const bytes = this.#sizeOfSlot[slot]!;
    const device = this.#devices.next;
    const space = this.#spaces.next;
    this.#devices.next = this.#deviceOfSlot.get(slot);
    this.#spaces.next = this.#spaceOfSlot.get(slot);
    this.#append(TraceKind.free, ~slot, bytes, line, this.#pointerOfSlot.get(slot));
    this.#devices.next = device;
    this.#spaces.next = space;
    this.liveBytes -= bytes;
    if (bytes > 0) this.liveBlocks--;
    this.#freeSlots[this.#freeCount++] = slot;
  }

  /** Adds native memory that was got. */
  nativeAlloc(bytes: number, line: number, pointer = 0): void {
    this.#append(TraceKind.nativeAlloc, NO_SLOT, bytes, line, pointer);
    this.#reservedBytes += bytes;
    if (this.#reservedBytes > this.peakReservedBytes) this.peakReservedBytes = this.#reservedBytes;
  }

  /** Adds native memory that was given back. */
  nativeFree(bytes: number, line: number, pointer = 0): void {
    this.#append(TraceKind.nativeFree, NO_SLOT, bytes, line, pointer);
    this.#reservedBytes -= bytes;
  }

  /** Adds an event that has no address: a swap, a cleanup, or an allocation of `bytes` that was refused. */
  note(kind: typeof TraceKind.swap | typeof TraceKind.cleanup | typeof TraceKind.outOfMemory, line: number, bytes = 0): void {
    this.#append(kind, NO_SLOT, bytes, line, 0);
  }

  /** Hands over the events since the last call, in columns that the next event overwrites. */
  take(): EventBatch {
    const length = this.#length;
    this.#length = 0;
    return {
      length,
      slotCount: this.slotCount,
      strings: this.strings,
      kinds: this.#kinds.subarray(0, length),
      slots: this.#slots.subarray(0, length),
      bytes: this.#bytes.subarray(0, length),
      lines: this.#lines.subarray(0, length),
      times: this.#times.part(length),
      pointers: this.#pointers.part(length),
      devices: this.#devices.part(length),
      streams: this.#streams.part(length),
      managers: this.#managers.part(length),
      tags: this.#tags.part(length),
      sites: this.#sites.part(length),
      spaces: this.#spaces.part(length),
    };
  }

  /** Copies the events into columns of exactly their length. */
  copy(): EventColumns & { strings: StringTable } {
    const length = this.#length;
    return {
      strings: this.strings,
      kinds: this.#kinds.slice(0, length),
      slots: this.#slots.slice(0, length),
      bytes: this.#bytes.slice(0, length),
      lines: this.#lines.slice(0, length),
      times: this.#times.copy(length),
      pointers: this.#pointers.copy(length),
      devices: this.#devices.copy(length),
      streams: this.#streams.copy(length),
      managers: this.#managers.copy(length),
      tags: this.#tags.copy(length),
      sites: this.#sites.copy(length),
      spaces: this.#spaces.copy(length),
    };
  }

  #append(kind: TraceKind, code: number, bytes: number, line: number, pointer: number): void {
    const at = this.#length;
    if (at === this.#slots.length) this.#growEvents();
    const capacity = this.#slots.length;
    this.#kinds[at] = kind;
    this.#slots[at] = code;
    this.#bytes[at] = bytes;
    this.#lines[at] = line;
    this.#times.write(at, capacity);
    this.#pointers.writeValue(at, capacity, pointer);
    this.#devices.write(at, capacity);
    this.#streams.write(at, capacity);
    this.#managers.write(at, capacity);
    this.#tags.write(at, capacity);
    this.#sites.write(at, capacity);
    this.#spaces.write(at, capacity);
    this.counts[kind]!++;
    this.#length = at + 1;
  }

  #newSlot(): number {
    const capacity = this.#sizeOfSlot.length;
    if (this.slotCount === MAX_LIVE) throw new FormatFault(`more than ${MAX_LIVE} blocks are live at once`);
    if (this.slotCount === capacity) {
      const sizes = new Float64Array(capacity * 2);
      sizes.set(this.#sizeOfSlot);
      this.#sizeOfSlot = sizes;
      const free = new Int32Array(capacity * 2);
      free.set(this.#freeSlots);
      this.#freeSlots = free;
    }
    return this.slotCount++;
  }

  #growEvents(): void {
    const capacity = this.#slots.length * 2;
    const kinds = new Uint8Array(capacity);
    kinds.set(this.#kinds);
    this.#kinds = kinds;
    const slots = new Int32Array(capacity);
    slots.set(this.#slots);
    this.#slots = slots;
    const bytes = new Float64Array(capacity);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    const lines = new Uint32Array(capacity);
    lines.set(this.#lines);
    this.#lines = lines;
  }
}
