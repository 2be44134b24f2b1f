import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { PoolMemoryManager } from '../../managers/pool/pool-memory-manager.js';
import { MANAGERS } from '../../src/cli/choices.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import type { ManagerSlot } from '../../src/core/manager-slot.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import type { BenchEvents } from './event-file.js';
import type { ColdFacts, Subject, WarmFacts } from './subject.js';

/** A manager of this library, and the device it runs on. */
export interface ManagerSpec {
  /** As on the command line of `stowage`. */
  readonly manager: string;
  /** The pages of the device's virtual memory. @defaultValue the device has none */
  readonly pageBytes?: number;
}

/** An installed manager on a simulated device of its own. */
export class Installed {
  readonly device: SimulatedDevice;
  readonly runtime: MemoryRuntime;
  readonly manager: MemoryManagerAdapter;

  constructor(spec: ManagerSpec, capacityBytes?: number) {
    this.device = new SimulatedDevice({
      ...(capacityBytes !== undefined && { capacityBytes }),
      ...(spec.pageBytes !== undefined && { virtual: { granularityBytes: spec.pageBytes } }),
    });
    this.runtime = new MemoryRuntime(this.device, { exitReport: false });
    this.manager = createManager(spec);
    new MemoryManagerInstaller(this.manager, this.runtime).setAsMemoryManager();
  }

  get slot(): ManagerSlot {
    return this.runtime.slot;
  }
}

interface Opened {
  readonly installed: Installed;
  readonly replay: () => void;
  readonly replayPart: (from: number, to: number) => void;
}

/** A manager as a user has it: installed, behind its slot, with statistics, logging off. */
export class ManagerSubject implements Subject {
  readonly #spec: ManagerSpec;
  readonly #events: BenchEvents;
  readonly #pointers: Float64Array;
  #opened: Opened | undefined;

  constructor(spec: ManagerSpec, events: BenchEvents) {
    this.#spec = spec;
    this.#events = events;
    this.#pointers = new Float64Array(events.slotCount);
  }

  cold(): ColdFacts {
    this.#opened?.installed.runtime.close();
    this.#opened = undefined;
    const { device } = this.#open().installed;
    this.replay();
    const facts = { nativeCalls: device.callCount, peakReservedBytes: device.peakBytes };
    this.drain();
    return facts;
  }

  replay(): void {
    this.#open().replay();
  }

  replayPart(from: number, to: number): void {
    this.#open().replayPart(from, to);
  }

  drain(): void {
    drainThrough(this.#open().installed.slot, this.#pointers);
  }

  warmFacts(): WarmFacts {
    return { peakReservedBytes: this.#open().installed.device.peakBytes };
  }

  fits(capacityBytes: number): boolean {
    const limited = new Installed(this.#spec, capacityBytes);
    try {
      createReplay(limited.slot, this.#events, this.#pointers)();
      return true;
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
      return false;
    } finally {
      this.#pointers.fill(NULL_PTR);
      limited.runtime.close();
    }
  }

  #open(): Opened {
    if (this.#opened === undefined) {
      const installed = new Installed(this.#spec);
      this.#opened = {
        installed,
        replay: createReplay(installed.slot, this.#events, this.#pointers),
        replayPart: createPartReplay(installed.slot, this.#events, this.#pointers),
      };
    }
    return this.#opened;
  }
}

/**
 * Makes a function that replays events by the calls that a host makes, and allocates no objects. While a process makes one
 * such function, V8 takes all that it uses for constant: its loop costs as little as that of a peer in C++, whose events lie
 * in globals, or of a program that holds its slot in a constant.
 */
export function createReplay(slot: ManagerSlot, { slots, bytes, length }: BenchEvents, pointers: Float64Array): () => void {
  return () => {
    for (let i = 0; i < length; i++) replayEvent(slot, slots, bytes, pointers, i);
  };
}

/**
 * As {@link createReplay}, for events from one number up to another. Whole traces have a loop of their own, because of whose
 * constant bounds V8 knows that no index is out of range: an event takes 0.5 ns more here.
 */
function createPartReplay(
  slot: ManagerSlot,
  { slots, bytes }: BenchEvents,
  pointers: Float64Array,
): (from: number, to: number) => void {
  return (from, to) => {
    for (let i = from; i < to; i++) replayEvent(slot, slots, bytes, pointers, i);
  };
}

// The columns and the index, not what stands there: a free must not read its size.
function replayEvent(slot: ManagerSlot, slots: Int32Array, bytes: Float64Array, pointers: Float64Array, event: number): void {
  const code = slots[event]!;
  if (code >= 0) {
    pointers[code] = slot.alloc(bytes[event]!, true);
  } else {
    const ptr = pointers[~code] as DevicePtr;
    pointers[~code] = NULL_PTR;
    slot.unlock(ptr, true);
  }
}

/** Frees what a replay left live. */
export function drainThrough(slot: ManagerSlot, pointers: Float64Array): void {
  for (let i = 0; i < pointers.length; i++) {
    const ptr = pointers[i] as DevicePtr;
    pointers[i] = NULL_PTR;
    if (ptr !== NULL_PTR) slot.unlock(ptr, true);
  }
}

function createManager({ manager, pageBytes }: ManagerSpec): MemoryManagerAdapter {
  const table = new MemoryManagerDeviceInterface();
  // By default a pool takes pages of 16 KiB at least.
  if (manager === 'pool' && pageBytes !== undefined) return new PoolMemoryManager(1, table, { granularityBytes: pageBytes });
  const create = MANAGERS.get(manager);
  if (create === undefined) throw new Error(`there is no manager ${manager}`);
  return create(1, table);
}
