import type { ManagerFactory } from '../core/memory-host.js';
import type { DevicePtr } from '../core/units.js';
import * as units from '../core/units.js';
import { TraceKind } from '../trace/trace-events.js';
import type { EarlierMemory } from './earlier-state.js';
import { type NativeCall, NumberCard } from './number-card.js';
import type { RecordedProgram } from './recorded-program.js';
import { ServedPools } from './served-pools.js';

// Bindings of their own: V8 looks imported ones up, and checks them, each time.
const { NULL_PTR } = units;
const { alloc: ALLOC, free: FREE, nativeAlloc: NATIVE_ALLOC } = TraceKind;
const EVENTS_BETWEEN_REPORTS = 16_384;

/** How a program is run. */
export interface RunOptions {
  readonly create: ManagerFactory;
  /** What the card has; Infinity for no limit. */
  readonly capacityBytes: number;
  /** Events from one point of the curve to the next; 0 for no curve. */
  readonly stride?: number | undefined;
  /**
   * What was there before the recording, for PyTorch's allocator under the recorded setting. Otherwise those blocks are requested
   * anew, in order.
   */
  readonly earlier?: readonly EarlierMemory[] | undefined;
  /** Told of each native call. */
  readonly onCall?: ((call: NativeCall & { readonly event: number }) => void) | undefined;
  /** As that of the card. */
  readonly placeAt?: ((bytes: number) => number | undefined) | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Memory over the events: the highest value of each bucket of `stride` events, up to the last event that was done. */
export interface WhatIfCurve {
  readonly stride: number;
  readonly reserved: readonly number[];
  readonly allocated: readonly number[];
}

/** The figures of a run, up to a failure. */
export interface WhatIfFigures {
  readonly manager: string;
  readonly peakReservedBytes: number;
  readonly peakAllocatedBytes: number;
  /** `1 - allocated / reserved`, when the most was allocated: the share that is of no use when it counts. */
  readonly fragmentation: number;
  readonly retries: number;
  readonly ooms: number;
  readonly nativeAllocs: number;
  readonly nativeFrees: number;
  readonly curve?: WhatIfCurve | undefined;
}

/** What a run came to. */
export interface RunOutcome extends WhatIfFigures {
  /** The event whose request was refused; -1 for none. */
  readonly failedAt: number;
  /** What was in use, and what was reserved, where the run ended: at a failure after all cached memory was given back. */
  readonly lastAllocatedBytes: number;
  readonly lastReservedBytes: number;
  /** Requests that the recording was refused, and that were granted here. */
  readonly granted: number;
  readonly refusesStreams: boolean;
}

/** Runs a program up to its end, or to the first request that is refused. Cost: that of the manager, and some 100 ns an event. */
export function runProgram(program: RecordedProgram, options: RunOptions): RunOutcome {
  const run = new SettingRun(program, options);
  try {
    return run.run(options.onProgress);
  } finally {
    run.close();
  }
}

class SettingRun {
  readonly #program: RecordedProgram;
  readonly #card: NumberCard;
  readonly #pools: ServedPools;
  /** By slot of the trace. */
  readonly #pointers: Float64Array;
  readonly #blockBytes: Float64Array;
  /** The events of frees that are not complete, by the recorded pointer. */
  readonly #inUse = new Map<number, readonly number[]>();
  readonly #stride: number;
  readonly #reserved: number[] = [];
  readonly #allocatedCurve: number[] = [];
  #event = 0;
  /** Not while what was there before is restored, and all is freed at the end. */
  #isRunning = false;
  #restored: ReadonlySet<number> | undefined;
  #allocated = 0;
  #peakAllocated = 0;
  #recentAllocated = 0;
  #reservedAtPeak = 0;
  #granted = 0;

  constructor(program: RecordedProgram, { create, capacityBytes, stride = 0, earlier = [], onCall, placeAt }: RunOptions) {
    this.#program = program;
    this.#stride = stride;
    const tell =
      onCall === undefined
        ? undefined
        : (call: NativeCall) => {
            if (this.#isRunning) onCall({ ...call, event: this.#event });
          };
    this.#card = new NumberCard({ capacityBytes, onCall: tell, placeAt });
    this.#pools = new ServedPools(this.#card, create);
    this.#pointers = new Float64Array(program.events.slotCount);
    this.#blockBytes = new Float64Array(program.events.slotCount);
    if (earlier.length > 0) this.#restore(earlier);
  }

  run(onProgress: RunOptions['onProgress']): RunOutcome {
    const { length } = this.#program.events;
    const stride = this.#stride || EVENTS_BETWEEN_REPORTS;
    let isDone = true;
    this.#isRunning = true;
    for (let next = 0; isDone && next < length; ) {
      next = Math.min(next + stride, length);
      isDone = this.#runTo(next);
      if (this.#stride > 0) this.#plot();
      onProgress?.(this.#event, length);
    }
    return this.#outcome(isDone ? -1 : this.#event);
  }

  /** Frees all. */
  close(): void {
    this.#isRunning = false;
    this.#pools.close(this.#pointers.filter((ptr) => ptr !== NULL_PTR) as unknown as Iterable<DevicePtr>);
  }

  /** @returns whether all requests up to that event were served */
  #runTo(end: number): boolean {
    const { kinds, bytes, slots } = this.#program.events;
    for (; this.#event < end; this.#event++) {
      const i = this.#event;
      if (this.#program.isForeign(i)) continue;
      const kind = kinds[i];
      if (kind === ALLOC) {
        if (!this.#alloc(i, slots[i]!, bytes[i]!)) return false;
      } else if (kind === FREE) this.#free(i, ~slots[i]!);
      else if (kind !== NATIVE_ALLOC && !this.#other(i, kind as TraceKind)) return false;
    }
    return true;
  }

  #restore(earlier: readonly EarlierMemory[]): void {
    const { events } = this.#program;
    for (const [i, pointers] of this.#pools.restore(earlier).entries()) {
      for (const [j, ptr] of pointers.entries()) this.#enter(events.slots[earlier[i]!.events[j]!]!, ptr);
    }
    // Blocks that lay in no segment are requested.
    this.#restored = new Set(earlier.flatMap((memory) => memory.events));
  }

  #alloc(event: number, slot: number, bytes: number): boolean {
    if (bytes === 0 || this.#restored?.has(event) === true) return true;
    const pools = this.#pools;
    const { pools: poolIds, streams } = this.#program.events;
    if (poolIds !== undefined) pools.select(poolIds[event]!);
    const ptr = pools.alloc(bytes, streams === undefined ? 0 : streams[event]!);
    if (ptr === NULL_PTR) return false;
    this.#enter(slot, ptr);
    return true;
  }

  #enter(slot: number, ptr: DevicePtr): void {
    const blockBytes = this.#pools.blockBytes(ptr);
    this.#pointers[slot] = ptr;
    this.#blockBytes[slot] = blockBytes;
    this.#allocated += blockBytes;
    if (this.#allocated > this.#peakAllocated) {
      this.#peakAllocated = this.#allocated;
      this.#reservedAtPeak = this.#card.reservedBytes;
    }
    if (this.#allocated > this.#recentAllocated) this.#recentAllocated = this.#allocated;
  }

  #free(event: number, slot: number): void {
    const ptr = this.#pointers[slot] as DevicePtr;
    // A block of 0 bytes, which nobody has.
    if (ptr === NULL_PTR) return;
    this.#pointers[slot] = NULL_PTR;
    this.#allocated -= this.#blockBytes[slot]!;
    if (this.#program.isPending(event)) this.#inUse.set(this.#program.events.pointerOf(event), this.#pools.freeInUse(ptr));
    else this.#pools.free(ptr);
  }

  /** @returns false for a request that is refused again, and that the recorded program did not survive */
  #other(event: number, kind: TraceKind): boolean {
    const { events } = this.#program;
    if (kind === TraceKind.outOfMemory) return this.#tryRefused(event);
    if (kind === TraceKind.freeCompleted) this.#complete(events.pointerOf(event));
    else if (kind === TraceKind.cleanup) this.#pools.cleanUp();
    return true;
  }

  #tryRefused(event: number): boolean {
    const { events } = this.#program;
    this.#pools.select(events.poolOf(event));
    const ptr = this.#pools.alloc(events.bytesOf(event), events.streamOf(event));
    // What the program did without the memory is what the recording goes on with.
    if (ptr === NULL_PTR) return event < this.#program.lastAllocation;
    this.#granted++;
    this.#pools.free(ptr);
    return true;
  }

  #complete(pointer: number): void {
    for (const event of this.#inUse.get(pointer) ?? []) this.#card.streams.complete(event);
    this.#inUse.delete(pointer);
  }

  #plot(): void {
    this.#reserved.push(this.#card.recentPeakBytes);
    this.#allocatedCurve.push(this.#recentAllocated);
    this.#card.recentPeakBytes = this.#card.reservedBytes;
    this.#recentAllocated = this.#allocated;
  }

  #outcome(failedAt: number): RunOutcome {
    const { nativeAllocs, nativeFrees, peakBytes } = this.#card;
    return {
      manager: this.#pools.name,
      failedAt,
      peakReservedBytes: peakBytes,
      peakAllocatedBytes: this.#peakAllocated,
      fragmentation: this.#reservedAtPeak === 0 ? 0 : 1 - this.#peakAllocated / this.#reservedAtPeak,
      lastAllocatedBytes: this.#allocated,
      lastReservedBytes: this.#card.reservedBytes,
      retries: this.#pools.sum('retries'),
      ooms: this.#pools.sum('ooms'),
      nativeAllocs,
      nativeFrees,
      granted: this.#granted,
      refusesStreams: this.#pools.refusesStreams,
      curve: this.#stride === 0 ? undefined : { stride: this.#stride, reserved: this.#reserved, allocated: this.#allocatedCurve },
    };
  }
}
