import fc from 'fast-check';
import { expect } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, DefaultMemoryManager } from '../../managers/index.js';
import type { BlockMemoryManager } from '../../managers/policy/block-memory-manager.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import type { ManagerSlot } from '../../src/core/manager-slot.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, KiB, MiB, NULL_PTR } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';

export const DEVICES = 3;

/** Makes a manager for a program. */
export type Maker = (table: MemoryManagerDeviceInterface) => BlockMemoryManager;

export const MAKERS: readonly Maker[] = [
  (table) => new CachingMemoryManager(DEVICES, table),
  (table) => new DefaultMemoryManager(DEVICES, table),
  (table) => new CachingMemoryManager(DEVICES, table, { recyclingSizeLimitBytes: 8 * MiB, splitSizeLimitBytes: 4 * MiB }),
  (table) => new DefaultMemoryManager(DEVICES, table, { maxBuffers: 4, debug: true }),
];

/** A block as the model knows it. */
interface ModelBlock {
  readonly ptr: DevicePtr;
  readonly bytes: number;
  readonly device: number;
  readonly owner: BlockMemoryManager;
  user: boolean;
  manager: boolean;
}

/** What a slot must look like: live blocks, their locks and their owners. */
export class Model {
  readonly device: SimulatedDevice;
  readonly runtime: MemoryRuntime;
  readonly blocks: ModelBlock[] = [];
  readonly managers: BlockMemoryManager[] = [];

  constructor(capacityBytes = 2 ** 40) {
    this.device = new SimulatedDevice({ deviceCount: DEVICES, capacityBytes });
    this.runtime = new MemoryRuntime(this.device, { exitReport: false });
    this.swapToFresh(0);
  }

  get slot(): ManagerSlot {
    return this.runtime.slot;
  }

  get active(): BlockMemoryManager {
    return this.slot.active as BlockMemoryManager;
  }

  swapToFresh(maker: number): void {
    const manager = MAKERS[maker % MAKERS.length]!(new MemoryManagerDeviceInterface());
    new MemoryManagerInstaller(manager, this.runtime).setAsMemoryManager();
    this.managers.push(manager);
  }

  swapToDraining(index: number): void {
    const { draining } = this.slot;
    if (draining.length > 0) this.slot.install(draining[index % draining.length]!);
  }

  alloc(bytes: number, userLock: boolean, alignment: number): void {
    const ptr = this.slot.alloc(bytes, userLock, alignment);
    if (bytes === 0) {
      same('address of no bytes', ptr, NULL_PTR);
      return;
    }
    same('address by its alignment', ptr % (alignment || 1), 0);
    const device = this.device.activeDeviceId;
    this.blocks.push({ ptr, bytes, device, owner: this.active, user: userLock, manager: !userLock });
  }

  unlock(index: number, user: boolean): void {
    const block = this.#at(index);
    if (block === undefined) return;
    this.slot.unlock(block.ptr, user);
    if (user) block.user = false;
    else block.manager = false;
    if (!block.user && !block.manager) this.blocks.splice(this.blocks.indexOf(block), 1);
  }

  /** Clears every lock that a block has. */
  free(index: number): void {
    const block = this.#at(index);
    const at = block === undefined ? 0 : this.blocks.indexOf(block);
    if (block?.user) this.unlock(at, true);
    if (block?.manager) this.unlock(at, false);
  }

  userLock(index: number): void {
    const block = this.#at(index);
    if (block === undefined) return;
    this.slot.userLock(block.ptr);
    block.user = true;
  }

  /** Frees everything, in the order of allocation, and looks at what is left. */
  finish(): void {
    while (this.blocks.length > 0) this.free(0);
    this.check();
    expect(this.slot.draining).toEqual([]);
    this.slot.signalMemoryCleanup();
    expect(this.device.liveBytes).toBe(0);
    this.runtime.close();
    expect(this.slot.nativeFrees).toBe(this.slot.nativeAllocs);
    expect(this.device.liveSegments).toBe(0);
    for (const manager of this.managers) expect(manager.lifecycle.state).toBe('stopped');
  }

  /** Compares slot, managers and device with the model. */
  check(): void {
    this.device.checkInvariants();
    for (const manager of this.managers) manager.checkInvariants();
    const { slot, blocks } = this;
    let end = 0;
    for (const block of blocks.toSorted((a, b) => a.ptr - b.ptr)) {
      const bytes = slot.allocated(block.ptr);
      if (block.ptr < end || bytes < block.bytes || slot.isUserLocked(block.ptr) !== block.user) {
        expect.fail(`block ${block.ptr} of ${block.bytes} bytes has ${bytes}, the one before ends at ${end}`);
      }
      end = block.ptr + bytes;
    }
    same('live blocks', slot.liveBlocks, blocks.length);
    same('reserved bytes', slot.reservedBytes, this.device.liveBytes);
    let seats = 0;
    for (const manager of this.managers) {
      const held = blocks.filter(({ owner }) => owner === manager);
      for (let device = 0; device < DEVICES; device++) {
        const { requestedBytes, allocatedBytes, activeBytes, reservedBytes } = manager.stats(device);
        const requested = held.filter((block) => block.device === device).reduce((sum, block) => sum + block.bytes, 0);
        same('requested bytes', requestedBytes.current, requested);
        same('requested <= allocated', requestedBytes.current <= allocatedBytes.current, true);
        same('allocated <= active', allocatedBytes.current <= activeBytes.current, true);
        same('active <= reserved', activeBytes.current <= reservedBytes.current, true);
      }
      const state = manager === this.active ? 'active' : held.length > 0 ? 'draining' : 'stopped';
      same('state', manager.lifecycle.state, state);
      if (state !== 'stopped') seats++;
    }
    same('seats', slot.draining.length + 1, seats);
  }

  #at(index: number): ModelBlock | undefined {
    return this.blocks.length === 0 ? undefined : this.blocks[index % this.blocks.length];
  }
}

/** As `expect(found).toBe(wanted)`, which costs too much for every step of every program. */
function same(what: string, found: unknown, wanted: unknown): void {
  if (found !== wanted) expect.fail(`${what}: ${found}, but the model has ${wanted}`);
}

/** One step of a program, as data, so that programs shrink and print. */
export type Step =
  | { readonly do: 'alloc'; readonly bytes: number; readonly userLock: boolean; readonly alignment: number }
  | { readonly do: 'unlock'; readonly index: number; readonly user: boolean }
  | { readonly do: 'free'; readonly index: number }
  | { readonly do: 'userLock'; readonly index: number }
  | { readonly do: 'fresh'; readonly maker: number }
  | { readonly do: 'draining'; readonly index: number }
  | { readonly do: 'activate'; readonly device: number }
  | { readonly do: 'cleanup' };

export function perform(model: Model, step: Step): void {
  switch (step.do) {
    case 'alloc':
      model.alloc(step.bytes, step.userLock, step.alignment);
      break;
    case 'unlock':
      model.unlock(step.index, step.user);
      break;
    case 'free':
      model.free(step.index);
      break;
    case 'userLock':
      model.userLock(step.index);
      break;
    case 'fresh':
      model.swapToFresh(step.maker);
      break;
    case 'draining':
      model.swapToDraining(step.index);
      break;
    case 'activate':
      model.device.activate(step.device);
      break;
    case 'cleanup':
      model.slot.signalMemoryCleanup();
      break;
  }
}

/** As {@link perform}, for a device that may be full: out of memory changes nothing, anything else passes. */
export function performOrRunOut(model: Model, step: Step): void {
  try {
    perform(model, step);
  } catch (error) {
    if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
  }
}

const bytes = fc.oneof(
  { weight: 1, arbitrary: fc.constant(0) },
  { weight: 12, arbitrary: fc.integer({ min: 1, max: 4 * KiB }) },
  { weight: 6, arbitrary: fc.integer({ min: 4 * KiB, max: 2 * MiB }) },
  { weight: 3, arbitrary: fc.integer({ min: MiB, max: 12 * MiB }) },
  { weight: 1, arbitrary: fc.integer({ min: 12 * MiB, max: 64 * MiB }) },
);
const alignment = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 22 }).map((exponent) => 2 ** exponent) },
);
const index = fc.nat({ max: 1000 });

export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constant('alloc' as const), bytes, userLock: fc.boolean(), alignment }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('unlock' as const), index, user: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('free' as const), index }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('userLock' as const), index }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fresh' as const), maker: fc.nat({ max: MAKERS.length - 1 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('draining' as const), index }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('activate' as const), device: fc.nat({ max: DEVICES - 1 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cleanup' as const) }) },
);
