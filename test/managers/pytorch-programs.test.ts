import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PyTorchMemoryManager, type PyTorchSettings, parseAllocConf } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, devicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import { searchRuns } from '../config/search.js';
import { type ModelBlock, type ModelDevice, PyTorchModel } from './pytorch-model.js';

const CAPACITY_BYTES = GiB;
const STREAMS = 3;
/** A multiple of pages of 2, 12 and 20 MiB. */
const PAGES_BYTES = 240 * MiB;

/** Addresses in the order in which they are asked for: two of these give the same answers to the same calls. */
class Addresses implements ModelDevice {
  readonly capacityBytes = CAPACITY_BYTES;
  #next = 16 * GiB;
  #range = 0;
  liveBytes = 0;

  alloc(bytes: number): number {
    if (this.liveBytes + bytes > this.capacityBytes) return 0;
    this.liveBytes += bytes;
    // The next one lies below, as on a card.
    this.#next -= bytes;
    return this.#next;
  }

  free(_address: number, bytes: number): void {
    this.liveBytes -= bytes;
  }

  /** At a multiple of every page size here. */
  reserve(): number {
    this.#range += 128 * PAGES_BYTES;
    return this.#range;
  }
}

type Step =
  | { readonly alloc: number; readonly stream: number }
  | { readonly free: number }
  | { readonly record: number; readonly stream: number }
  | { readonly finish: number }
  | { readonly usePool: number }
  | { readonly releasePool: number }
  | { readonly emptyCache: true };

const stream = fc.nat(STREAMS - 1);
const size = fc.oneof(
  fc.integer({ min: 1, max: 4 * KiB }),
  fc.integer({ min: 1, max: 3 * MiB }),
  fc.integer({ min: MiB, max: 80 * MiB }),
  fc.constantFrom(512, MiB, MiB + 1, 2 * MiB, 10 * MiB, 20 * MiB, 21 * MiB, 32 * MiB),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ alloc: size, stream: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, stream) }) },
  { weight: 8, arbitrary: fc.record({ free: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ record: fc.nat(), stream }) },
  { weight: 2, arbitrary: fc.record({ finish: stream }) },
  { weight: 1, arbitrary: fc.record({ usePool: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ releasePool: fc.integer({ min: 1, max: 2 }) }) },
  { weight: 1, arbitrary: fc.constant({ emptyCache: true } as const) },
);

interface Held {
  readonly ptr: DevicePtr;
  readonly block: ModelBlock;
}

/** The manager and the model, under the same program. */
class Pair {
  readonly #manager: PyTorchMemoryManager;
  readonly #model: PyTorchModel;
  readonly #calls: string[] = [];
  readonly #held: Held[] = [];
  /** Streams whose work is not done. */
  readonly #busy = new Set<number>();
  /** How often each stream has ended its work. */
  readonly #idle = new Array<number>(STREAMS).fill(0);
  #pool = 0;
  readonly #usedPools = new Set<number>();

  constructor(conf: string, memoryLimitBytes: number | undefined) {
    const settings: PyTorchSettings = parseAllocConf(conf).settings;
    this.#model = new PyTorchModel(settings, memoryLimitBytes, new Addresses());
    this.#manager = new PyTorchMemoryManager(1, this.#table(), { conf, memoryLimitBytes });
    this.#manager.initialize();
  }

  perform(step: Step): void {
    // The model is told when streams are done; the manager asks.
    this.#model.settle((stream) => !this.#busy.has(stream));
    if ('alloc' in step) this.#alloc(step.alloc, step.stream);
    else if ('free' in step) this.#free(step.free);
    else if ('record' in step) this.#record(step.record, step.stream);
    else if ('finish' in step) this.#finish(step.finish);
    else if ('usePool' in step) {
      this.#pool = step.usePool;
      this.#usedPools.add(this.#pool);
      this.#manager.usePool(this.#pool);
      this.#model.usePool(this.#pool);
    } else if ('releasePool' in step) {
      if (step.releasePool === this.#pool || !this.#usedPools.has(step.releasePool)) return;
      this.#usedPools.delete(step.releasePool);
      this.#manager.releasePool(step.releasePool);
      this.#model.releasePool(step.releasePool);
    } else {
      for (const stream of this.#busy) this.#finish(stream);
      this.#manager.signalMemoryCleanup();
      this.#model.emptyCache();
    }
  }

  check(): void {
    const made = this.#calls.splice(0).join();
    const wanted = this.#model.calls.splice(0).map(([action, bytes]) => `${action} ${bytes}`);
    if (made !== wanted.join()) expect.fail(`${made}, but the model has ${wanted}`);
    const { current } = this.#manager.stats().reservedBytes;
    if (current !== this.#model.reservedBytes)
      expect.fail(`${current} bytes reserved, but ${this.#model.reservedBytes} in the model`);
    for (const { ptr, block } of this.#held) {
      const bytes = this.#manager.allocated(ptr);
      if (bytes !== block.bytes) expect.fail(`block ${ptr} has ${bytes} bytes, but ${block.bytes} in the model`);
    }
  }

  end(): void {
    this.#manager.checkInvariants();
  }

  #finish(stream: number): void {
    if (this.#busy.delete(stream)) this.#idle[stream]!++;
  }

  #alloc(bytes: number, stream: number): void {
    let ptr: DevicePtr | undefined;
    try {
      ptr = this.#manager.allocBytes(bytes, true, 0, stream);
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
    }
    const block = this.#model.alloc(bytes, stream, this.#pool);
    if (ptr !== block?.address) expect.fail(`${bytes} bytes at ${ptr}, but at ${block?.address} in the model`);
    if (ptr !== undefined && block !== undefined) this.#held.push({ ptr, block });
  }

  #free(index: number): void {
    if (this.#held.length === 0) return;
    const [{ ptr, block }] = this.#held.splice(index % this.#held.length, 1) as [Held];
    this.#manager.unlock(ptr, true);
    this.#model.free(block);
  }

  #record(index: number, stream: number): void {
    if (this.#held.length === 0) return;
    const { ptr, block } = this.#held[index % this.#held.length]!;
    this.#manager.recordStream(ptr, stream);
    if (stream === block.stream) return;
    block.users.add(stream);
    this.#busy.add(stream);
  }

  #table(): MemoryManagerDeviceInterface {
    const table = new MemoryManagerDeviceInterface();
    const addresses = new Addresses();
    const sizes = new Map<DevicePtr, number>();
    const note = (action: string, bytes: number) => this.#calls.push(`${action} ${bytes}`);
    table.deviceCount = 1;
    table.getActiveDeviceId = () => 0;
    table.getMaxMemorySize = () => CAPACITY_BYTES;
    table.nativeAlloc = (bytes) => {
      const ptr = devicePtr(addresses.alloc(bytes));
      if (ptr !== 0) {
        sizes.set(ptr, bytes);
        note('segment_alloc', bytes);
      }
      return ptr;
    };
    table.nativeFree = (ptr) => {
      addresses.free(ptr, sizes.get(ptr)!);
      note('segment_free', sizes.get(ptr)!);
    };
    table.virtual = {
      granularityBytes: 2 * MiB,
      reserve: () => devicePtr(addresses.reserve()),
      release: () => {},
      commit: (_, bytes) => {
        note('segment_map', bytes);
        return true;
      },
      decommit: (_, bytes) => {
        note('segment_unmap', bytes);
      },
    };
    // An event is the number of times that its stream will have been idle.
    const events: { readonly stream: number; readonly idle: number }[] = [];
    table.streams = {
      defaultStream: () => 0,
      record: (stream) => events.push({ stream, idle: this.#idle[stream]! + (this.#busy.has(stream) ? 1 : 0) }) - 1,
      query: (event) => this.#idle[events[event]!.stream]! >= events[event]!.idle,
      wait: () => {},
      synchronize: (event) => {
        const { stream, idle } = events[event]!;
        if (this.#idle[stream]! < idle) this.#finish(stream);
      },
      destroy: () => {},
    };
    return table;
  }
}

describe.each([
  [''],
  ['expandable_segments:True'],
  ['max_split_size_mb:20'],
  ['max_split_size_mb:32,max_non_split_rounding_mb:40'],
  ['roundup_power2_divisions:4'],
  ['roundup_power2_divisions:[1:2,4:8,16:1,>:16],large_segment_size_mb:32'],
  ['garbage_collection_threshold:0.4'],
  ['garbage_collection_threshold:0.6,max_split_size_mb:24,large_segment_size_mb:24'],
  ['expandable_segments:True,roundup_power2_divisions:2,large_segment_size_mb:12'],
])('PyTorchMemoryManager with %j', (conf) => {
  test.each([undefined, 200 * MiB, 60 * MiB])(
    'makes the calls of the model, and gives its addresses, under a limit of %s bytes',
    (limit) => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (program) => {
          const pair = new Pair(conf, limit);
          for (const each of program) {
            pair.perform(each);
            pair.check();
          }
        }),
        { numRuns: searchRuns(40) },
      );
    },
  );
});
