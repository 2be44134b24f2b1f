import { captureSite, formatSite } from '../../core/allocation-site.js';
import { processState } from '../../core/process-state.js';
import type { SlotObserver } from '../../core/slot-observer.js';
import type { StowageEncoder } from '../formats/stowage-encoder.js';
import { RECORD } from '../formats/stowage-format.js';
import { NS_PER_MS, TraceKind } from '../trace-events.js';

/** The most allocations and frees between two readings of the clock: one costs as much as two events. */
export const CLOCK_EVENTS = 64;
const NO_DEVICE = -1;

/** The common properties of the events of one recording. Only a property that has changed is written. */
export class RecordingContext {
  /** Shared by all copies of this package: the tag of the allocation that is being made. */
  readonly process = processState();
  /** Events until the clock is read; 0 reads it at the next one. */
  untilClock = 0;
  manager = 0;
  /** The slot that the last event was of. Numbers compare faster than the names of spaces. */
  slot = 0;
  /** The device of the last allocation; {@link NO_DEVICE} forces the next allocation to be written in full. */
  device = 0;
  stream = 0;
  tag: string | undefined;
  readonly #startMs = performance.now();
  readonly #names = new Map<number, string>();
  readonly #timesUsed = new Map<string, number>();

  /**
   * @param frames - how many of the program's frames an allocation site has; 0 for no sites
   * @param onClock - called when the clock was read
   */
  constructor(
    readonly encoder: StowageEncoder,
    readonly frames: number,
    readonly onClock: (nowMs: number) => void,
  ) {}

  /** Reads the clock, and writes the time. */
  readClock(): void {
    const now = performance.now();
    this.untilClock = CLOCK_EVENTS - 1;
    this.encoder.setNumber(RECORD.clock, Math.round((now - this.#startMs) * NS_PER_MS));
    this.onClock(now);
  }

  /** Writes the manager and the space of the next event. */
  enter(manager: number, slot: number, space: string): void {
    this.manager = manager;
    this.slot = slot;
    this.encoder.setName(RECORD.manager, this.#nameOf(manager));
    this.encoder.setName(RECORD.space, space);
  }

  /** Writes the device, the stream, the tag and the site of the next allocation. */
  enterAllocation(device: number, stream: number): void {
    // To capture a site takes longer than to read the clock.
    if (this.frames > 0 && this.untilClock < CLOCK_EVENTS - 1) this.readClock();
    // Every allocation has a site of its own.
    this.device = this.frames > 0 ? NO_DEVICE : device;
    this.stream = stream;
    this.tag = this.process.allocationTag;
    this.encoder.setNumber(RECORD.device, device);
    this.encoder.setNumber(RECORD.stream, stream);
    this.encoder.setName(RECORD.tag, this.tag ?? '');
    if (this.frames > 0) this.encoder.setName(RECORD.site, formatSite(captureSite(this.frames), this.frames));
  }

  /** The name of a manager; a second one of the same name is `Name #2`. */
  #nameOf(handle: number): string {
    const known = this.#names.get(handle);
    if (known !== undefined) return known;
    const plain = this.process.managers.get(handle)?.deref()?.name ?? '';
    const times = (this.#timesUsed.get(plain) ?? 0) + 1;
    const name = times === 1 ? plain : `${plain} #${times}`;
    this.#timesUsed.set(plain, times);
    this.#names.set(handle, name);
    return name;
  }
}

/**
 * Records the events of one slot, at some nanoseconds an event. Allocations and frees read the clock at intervals. All other
 * events read it every time: they are rare, and take longer themselves.
 */
export class SlotRecorder implements SlotObserver {
  /**
   * @param slot - a number above 0 that no other slot of the recording has
   * @param space - the name of the slot's space
   */
  constructor(
    readonly context: RecordingContext,
    readonly slot: number,
    readonly space: string,
  ) {}

  alloc(manager: number, ptr: number, bytes: number, device: number, stream: number): void {
    const { context } = this;
    if (--context.untilClock < 0) context.readClock();
    if (manager !== context.manager || this.slot !== context.slot) context.enter(manager, this.slot, this.space);
    if (device !== context.device || stream !== context.stream || context.process.allocationTag !== context.tag) {
      context.enterAllocation(device, stream);
    }
    context.encoder.sized(TraceKind.alloc, ptr, bytes);
  }

  free(manager: number, ptr: number): void {
    const { context } = this;
    if (--context.untilClock < 0) context.readClock();
    if (manager !== context.manager || this.slot !== context.slot) context.enter(manager, this.slot, this.space);
    context.encoder.free(ptr);
  }

  nativeAlloc(manager: number, ptr: number, bytes: number, device: number): void {
    this.#begin(manager, device, this.context.stream).sized(TraceKind.nativeAlloc, ptr, bytes);
  }

  nativeFree(manager: number, ptr: number, bytes: number): void {
    this.#begin(manager).sized(TraceKind.nativeFree, ptr, bytes);
  }

  swap(manager: number): void {
    this.#begin(manager).mark(TraceKind.swap);
  }

  cleanup(manager: number): void {
    this.#begin(manager).mark(TraceKind.cleanup);
  }

  outOfMemory(manager: number, bytes: number, device: number, stream: number): void {
    this.#begin(manager, device, stream).outOfMemory(bytes);
  }

  /** Begins a rare event. @returns where it is written */
  #begin(manager: number, device?: number, stream = 0): StowageEncoder {
    const { context } = this;
    context.readClock();
    context.enter(manager, this.slot, this.space);
    if (device !== undefined) context.enterAllocation(device, stream);
    return context.encoder;
  }
}
