import fc from 'fast-check';
import { expect } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import type { SimulatedStreams } from '../../adapters/devices/simulated-streams.js';
import { CachingMemoryManager, PoolMemoryManager, PyTorchMemoryManager, TlsfMemoryManager } from '../../managers/index.js';
import type { BlockMemoryManager } from '../../managers/policy/block-memory-manager.js';
import { MemoryManagerDeviceInterface, type StreamOperations } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, KiB, MiB } from '../../src/core/units.js';

/** A manager that keeps the order of streams. */
export interface StreamKind {
  readonly name: string;
  readonly virtual: boolean;
  /** Whether the device takes back whole pieces alone. @defaultValue false */
  readonly pieces?: boolean;
  /** Whether a stream may take what another has freed, once that is done. */
  readonly sharesFreed: boolean;
  readonly make: (table: MemoryManagerDeviceInterface, deviceCount?: number) => BlockMemoryManager;
}

function pytorch(conf: string): StreamKind['make'] {
  return (table, deviceCount = 1) => new PyTorchMemoryManager(deviceCount, table, { conf });
}

/** Managers that let a stream take what another has freed. */
const SHARING: readonly Omit<StreamKind, 'sharesFreed'>[] = [
  { name: 'caching', virtual: false, make: (table, deviceCount = 1) => new CachingMemoryManager(deviceCount, table) },
  { name: 'tlsf', virtual: false, make: (table, deviceCount = 1) => new TlsfMemoryManager(deviceCount, table) },
  { name: 'pool of pages', virtual: true, make: (table, deviceCount = 1) => new PoolMemoryManager(deviceCount, table) },
  {
    name: 'pool of pieces',
    virtual: true,
    pieces: true,
    make: (table, deviceCount = 1) => new PoolMemoryManager(deviceCount, table, { slack: 0.1 }),
  },
  {
    name: 'tight pool of pieces',
    virtual: true,
    pieces: true,
    make: (table, deviceCount = 1) => new PoolMemoryManager(deviceCount, table, { slack: 0.03, granularityBytes: MiB }),
  },
  { name: 'pool of segments', virtual: false, make: (table, deviceCount = 1) => new PoolMemoryManager(deviceCount, table) },
];
export const KINDS: readonly StreamKind[] = SHARING.map((kind) => ({ ...kind, sharesFreed: true }));

/** All of them, and those whose blocks belong to a stream until their memory goes back to the device. */
export const ALL_KINDS: readonly StreamKind[] = [
  ...KINDS,
  ...[
    { name: 'pytorch', virtual: false, make: pytorch('') },
    { name: 'pytorch with expandable segments', virtual: true, make: pytorch('expandable_segments:True') },
    {
      name: 'pytorch with garbage collection',
      virtual: false,
      make: pytorch('garbage_collection_threshold:0.000001,per_process_memory_fraction:1.0,max_split_size_mb:20'),
    },
  ].map((kind) => ({ ...kind, sharesFreed: false })),
];

/** Work that a stream has yet to do on a range of addresses. Stream 0 is the default one of the device whose memory it is. */
interface Work {
  readonly stream: number;
  readonly device: number;
  readonly from: number;
  readonly to: number;
  /** Whether the block was freed since, and not taken again. */
  isFreed: boolean;
}

type StreamCall = Exclude<keyof StreamOperations, 'defaultStream' | 'isCaptured'>;

/** More bytes than any program takes. Not many more: a device keeps a byte for each page of what is reserved. */
export const PLENTY = 2 ** 33;

/**
 * A manager over a device whose streams work when told to, beside a book of what they have yet to do.
 *
 * It fails when a range is handed out to a stream while another works on it, or loses its memory while any does.
 */
export class StreamBench {
  readonly device: SimulatedDevice;
  readonly streams: SimulatedStreams;
  readonly table = new MemoryManagerDeviceInterface();
  readonly manager: BlockMemoryManager;
  /** How often each operation of streams was called. */
  readonly calls = { record: 0, query: 0, wait: 0, synchronize: 0, destroy: 0 };
  /** What every native call for memory does before and after its own work. */
  inside: (() => void) | undefined;
  /** Lets calls of stream operations fail: it is given how many came before. */
  failWhen: ((name: StreamCall, index: number) => boolean) | undefined;
  readonly sharesFreed: boolean;
  readonly #work = new Set<Work>();
  readonly #deviceOf = new Map<DevicePtr, number>();
  #calls = 0;
  #isInside = false;

  constructor(kind: StreamKind, capacityBytes = PLENTY, deviceCount = 1) {
    const virtual = kind.virtual ? { granularityBytes: 4 * KiB, pieces: kind.pieces === true } : false;
    this.device = new SimulatedDevice({ deviceCount, capacityBytes, streams: true, virtual });
    this.streams = this.device.streams!;
    this.sharesFreed = kind.sharesFreed;
    this.#fillTable();
    this.manager = kind.make(this.table, deviceCount);
    this.manager.initialize();
  }

  /** Allocates a block for a stream. */
  alloc(bytes: number, stream = 0, alignment = 0): DevicePtr {
    const ptr = this.manager.allocBytes(bytes, true, alignment, stream);
    this.#deviceOf.set(ptr, this.device.activeDeviceId);
    for (const work of this.#workOn(ptr, this.manager.allocated(ptr))) {
      if (work.stream !== stream) expect.fail(`stream ${stream} got ${ptr} while ${describeWork(work)}`);
      // The stream may use it already: it is not free.
      work.isFreed = false;
    }
    return ptr;
  }

  /** Lets a stream work on a block, once it comes to it: memory must still be there then. */
  work(ptr: DevicePtr, stream: number): void {
    const to = ptr + this.manager.allocated(ptr);
    const device = this.#deviceOf.get(ptr)!;
    const work = { stream, device, from: ptr, to, isFreed: false };
    this.#work.add(work);
    this.streams.submit(stream === 0 ? this.streams.defaultStream(device) : stream, () => {
      this.#work.delete(work);
      this.device.fill(ptr, 0, to - ptr);
    });
  }

  free(ptr: DevicePtr): void {
    const bytes = this.manager.allocated(ptr);
    this.manager.unlock(ptr, true);
    for (const work of this.#workOn(ptr, bytes)) work.isFreed = true;
  }

  /** Allocates a block, lets its stream work on it, and frees it. */
  useOnce(bytes: number, stream: number, alignment = 0): DevicePtr {
    const ptr = this.alloc(bytes, stream, alignment);
    this.work(ptr, stream);
    this.free(ptr);
    return ptr;
  }

  /** Tells whether a stream, but for one, has yet to work on a block of a device that was freed. */
  hasPending(device: number, besides?: number): boolean {
    return [...this.#work].some((work) => work.isFreed && work.device === device && work.stream !== besides);
  }

  #fillTable(): void {
    const { table, device, streams } = this;
    table.getActiveDeviceId = () => device.activeDeviceId;
    table.getMaxMemorySize = (id) => device.getMaxMemorySize(id);
    const segments = new Map<DevicePtr, number>();
    table.nativeAlloc = (bytes, alignment) =>
      this.#native(() => {
        const ptr = device.nativeAlloc(bytes, alignment);
        segments.set(ptr, bytes);
        return ptr;
      });
    table.nativeFree = (ptr) =>
      this.#native(() => {
        this.#expectIdle(ptr, segments.get(ptr)!);
        device.nativeFree(ptr);
      });
    table.streams = {
      defaultStream: (id) => streams.defaultStream(id),
      record: (stream) => this.#call('record', () => streams.record(stream)),
      query: (event) => this.#call('query', () => streams.query(event)),
      wait: (stream, event) => this.#call('wait', () => streams.wait(stream, event)),
      synchronize: (event) => this.#call('synchronize', () => streams.synchronize(event)),
      destroy: (event) => this.#call('destroy', () => streams.destroy(event)),
    };
    const { virtual } = device;
    if (virtual === undefined) return;
    table.virtual = {
      granularityBytes: virtual.granularityBytes,
      pieces: virtual.pieces,
      reserve: (bytes) => this.#native(() => virtual.reserve(bytes)),
      release: (ptr, bytes) => this.#native(() => virtual.release(ptr, bytes)),
      commit: (ptr, bytes, pieceBytes) => this.#native(() => virtual.commit(ptr, bytes, pieceBytes)),
      decommit: (ptr, bytes) =>
        this.#native(() => {
          this.#expectIdle(ptr, bytes);
          virtual.decommit(ptr, bytes);
        }),
    };
  }

  #native<T>(call: () => T): T {
    this.#comeBack();
    const result = call();
    this.#comeBack();
    return result;
  }

  #comeBack(): void {
    if (this.#isInside || this.inside === undefined) return;
    this.#isInside = true;
    try {
      this.inside();
    } finally {
      this.#isInside = false;
    }
  }

  #call<T>(name: StreamCall, call: () => T): T {
    this.calls[name]++;
    if (this.failWhen?.(name, this.#calls++)) throw new Error(`${name} fails`);
    return call();
  }

  #expectIdle(ptr: number, bytes: number): void {
    for (const work of this.#workOn(ptr, bytes)) expect.fail(`${ptr} loses its memory while ${describeWork(work)}`);
  }

  #workOn(ptr: number, bytes: number): Work[] {
    return [...this.#work].filter(({ from, to }) => from < ptr + bytes && ptr < to);
  }
}

export type StreamStep =
  | { readonly do: 'alloc'; readonly bytes: number; readonly stream: number; readonly alignment: number }
  | { readonly do: 'work' | 'record'; readonly index: number; readonly stream: number }
  | { readonly do: 'free'; readonly index: number }
  | { readonly do: 'advance'; readonly stream: number; readonly count: number }
  | { readonly do: 'refuse'; readonly count: number }
  | { readonly do: 'wait'; readonly stream: number; readonly for: number }
  | { readonly do: 'activate' | 'remanage'; readonly device: number }
  | { readonly do: 'release'; readonly device: number; readonly wanted: number; readonly most: number }
  | { readonly do: 'cleanup' };

interface Held {
  readonly ptr: DevicePtr;
  readonly bytes: number;
  readonly device: number;
  /** The stream it was allocated for, then those that were recorded. */
  readonly streams: number[];
}

/** Runs programs on a {@link StreamBench}, as users do who follow the rules: only recorded streams work on a block. */
export class StreamProgram {
  readonly bench: StreamBench;
  readonly held: Held[] = [];

  constructor(bench: StreamBench) {
    this.bench = bench;
  }

  /** @returns false when the step was an allocation that ran out of memory */
  perform(step: StreamStep): boolean {
    const { bench } = this;
    const held = 'index' in step ? this.held[step.index % Math.max(this.held.length, 1)] : undefined;
    if (step.do === 'alloc') return this.#alloc(step.bytes, step.stream, step.alignment);
    if (step.do === 'work' && held !== undefined) bench.work(held.ptr, held.streams[step.stream % held.streams.length]!);
    if (step.do === 'record' && held !== undefined) {
      bench.manager.recordStream(held.ptr, step.stream);
      held.streams.push(step.stream);
    }
    if (step.do === 'free' && held !== undefined) {
      bench.free(held.ptr);
      this.held.splice(this.held.indexOf(held), 1);
    }
    if (step.do === 'advance') bench.streams.advance(step.stream, step.count);
    if (step.do === 'refuse') bench.device.failNext(step.count);
    if (step.do === 'wait') this.#wait(step.stream, step.for);
    if (step.do === 'activate') bench.device.activate(step.device % bench.device.deviceCount);
    if (step.do === 'remanage') this.#remanage(step.device % bench.device.deviceCount);
    if (step.do === 'release') this.#release(step.device % bench.device.deviceCount, step.wanted, step.most);
    if (step.do === 'cleanup') bench.manager.signalMemoryCleanup();
    return true;
  }

  /** Compares the manager with what is held, and checks its invariants. */
  check(): void {
    const { bench, held } = this;
    const { manager, device } = bench;
    manager.checkInvariants();
    for (let id = 0; id < device.deviceCount; id++) {
      const stats = manager.stats(id);
      const here = held.filter((block) => block.device === id);
      const allocated = here.reduce((sum, { ptr }) => sum + manager.allocated(ptr), 0);
      same(
        'requested',
        stats.requestedBytes.current,
        here.reduce((sum, { bytes }) => sum + bytes, 0),
      );
      same('allocated', stats.allocatedBytes.current, allocated);
      same('active >= allocated', stats.activeBytes.current >= allocated, true);
      same('reserved >= active', stats.reservedBytes.current >= stats.activeBytes.current, true);
      same('reserved', stats.reservedBytes.current, device.liveBytesOf(id));
    }
    let end = 0;
    for (const { ptr, bytes } of held.toSorted((a, b) => a.ptr - b.ptr)) {
      if (ptr < end || manager.allocated(ptr) < bytes) expect.fail(`block ${ptr} of ${bytes} bytes overlaps the one before`);
      end = ptr + manager.allocated(ptr);
    }
  }

  /** Frees all and shuts down with work pending: nothing is left. */
  finish(): void {
    const { manager, device, streams } = this.bench;
    while (this.held.length > 0) this.perform({ do: 'free', index: 0 });
    this.check();
    manager.shutdown();
    manager.checkInvariants();
    same('memory left', device.liveBytes, 0);
    same('events left', streams.liveEvents, 0);
  }

  #alloc(bytes: number, stream: number, alignment: number): boolean {
    const { bench } = this;
    try {
      const ptr = bench.alloc(bytes, stream, alignment);
      same('alignment', ptr % Math.max(alignment, 1), 0);
      this.held.push({ ptr, bytes, device: bench.device.activeDeviceId, streams: [stream] });
      return true;
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
    }
    // Only who has waited for all that other streams freed is out of memory; calls that came back may have freed more.
    if (bench.inside === undefined && bench.sharesFreed)
      same('work on freed blocks', bench.hasPending(bench.device.activeDeviceId, stream), false);
    return false;
  }

  /** Has a part of what is cached given back. */
  #release(device: number, wanted: number, most: number): void {
    const { bench } = this;
    const before = bench.device.liveBytesOf(device);
    bench.manager.releaseCached(device, wanted, most);
    const gave = before - bench.device.liveBytesOf(device);
    if (bench.inside === undefined && gave > most) expect.fail(`gave ${gave} bytes of at most ${most}`);
  }

  /** Gives up a device that no block is held of, and takes it again. */
  #remanage(device: number): void {
    if (this.held.some((block) => block.device === device)) return;
    const { manager } = this.bench;
    manager.removeMemoryManagement(device);
    same('memory left of a device', this.bench.device.liveBytesOf(device), 0);
    manager.addMemoryManagement(device);
  }

  #wait(stream: number, other: number): void {
    const event = this.bench.streams.record(other);
    this.bench.streams.wait(stream, event);
    this.bench.streams.destroy(event);
  }
}

const index = fc.nat({ max: 1000 });
const bytes = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 1, max: 4 * KiB }) },
  { weight: 5, arbitrary: fc.integer({ min: 1, max: 2 * MiB }) },
  { weight: 3, arbitrary: fc.integer({ min: MiB, max: 12 * MiB }) },
);
const alignment = fc.constantFrom(0, 0, 0, 0, 0, 16, 4 * KiB, MiB);

/** Steps of programs that use streams from 0 to `streams - 1`. */
export function stepsWith(streams: number): fc.Arbitrary<StreamStep> {
  const stream = fc.nat({ max: streams - 1 });
  const use = fc.constantFrom('work' as const, 'work' as const, 'record' as const);
  return fc.oneof(
    { weight: 10, arbitrary: fc.record({ do: fc.constant('alloc' as const), bytes, stream, alignment }) },
    { weight: 9, arbitrary: fc.record({ do: use, index, stream }) },
    { weight: 8, arbitrary: fc.record({ do: fc.constant('free' as const), index }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('advance' as const), stream, count: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('refuse' as const), count: fc.nat({ max: 3 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), stream, for: stream }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('activate' as const), device: fc.nat({ max: 2 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('remanage' as const), device: fc.nat({ max: 2 }) }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('release' as const), device: fc.nat({ max: 2 }), wanted: bytes, most: bytes }),
    },
    { weight: 1, arbitrary: fc.constant({ do: 'cleanup' as const }) },
  );
}

function describeWork({ stream, from, to }: Work): string {
  return `stream ${stream} works on ${from} to ${to}`;
}

/** As `expect(found).toBe(wanted)`, which costs too much for every step of every program. */
function same(what: string, found: unknown, wanted: unknown): void {
  if (found !== wanted) expect.fail(`${what}: ${found}, but it should be ${wanted}`);
}
