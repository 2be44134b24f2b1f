import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { MAX_BATCH, PickleWriter } from './pickle-writer.js';
import { framesOfSite } from './pytorch-frames.js';
import { type SnapshotSegment, SnapshotSegments } from './pytorch-segments.js';
import type { ByteSink, ColumnName, TraceWriter } from './trace-writer.js';

const NS_PER_US = 1000;
const SMALL_SEGMENT_BYTES = 2 * 2 ** 20;
const TRACE_KEY = 'stowage_parts';

/** An entry of a device's trace, before it is written. */
interface Entry {
  readonly action: string;
  readonly address: number;
  readonly bytes: number;
  readonly stream: number;
  readonly timeUs: number;
  readonly tag: string;
  readonly site: string;
}

/** What is known of one device: its list in the pickle, and the entries that wait to be appended to it. */
interface DeviceTrace {
  readonly memo: number;
  readonly segments: SnapshotSegments;
  waiting: Entry[];
}

/**
 * Writes PyTorch's memory snapshot as a pickle that its viewer reads.
 *
 * The lists of `device_traces` are numbered at the start and appended to as events come, so that memory does not grow with
 * them; the appends stand under a key of their own, which readers ignore.
 */
export class PyTorchWriter implements TraceWriter {
  readonly format = 'pytorch';
  readonly kinds = [TraceKind.alloc, TraceKind.free, TraceKind.nativeAlloc, TraceKind.nativeFree, TraceKind.outOfMemory];
  readonly columns: readonly ColumnName[] = ['times', 'pointers', 'devices', 'streams', 'tags', 'sites'];
  readonly dropped = new Map<string, number>();
  readonly #pickle: PickleWriter;
  readonly #addresses = new BlockAddresses(false);
  readonly #devices: DeviceTrace[] = [];
  readonly #frames = new Map<string, number>();
  #parts = 0;

  constructor(sink: ByteSink) {
    const pickle = new PickleWriter(sink);
    this.#pickle = pickle;
    pickle.emptyDictionary();
    pickle.mark();
    pickle.key(TRACE_KEY);
    pickle.emptyList();
    pickle.mark();
    this.#device(0);
  }

  write(batch: EventBatch): void {
    for (let i = 0; i < batch.length; i++) {
      const device = this.#device(batch.devices?.[i] ?? 0);
      const bytes = batch.bytes[i]!;
      switch (batch.kinds[i]) {
        case TraceKind.alloc:
          this.#alloc(device, batch, i, bytes);
          break;
        case TraceKind.free: {
          const address = this.#addresses.give(batch, i);
          if (bytes === 0) break;
          device.segments.free(address);
          this.#enter(device, batch, i, 'free_requested', address);
          this.#enter(device, batch, i, 'free_completed', address);
          break;
        }
        case TraceKind.nativeAlloc: {
          const address = batch.pointers?.[i] ?? 0;
          device.segments.nativeAlloc(address, bytes);
          this.#enter(device, batch, i, 'segment_alloc', address);
          break;
        }
        case TraceKind.nativeFree: {
          const address = batch.pointers?.[i] ?? 0;
          const whole = device.segments.nativeFree(address, bytes);
          this.#enter(device, batch, i, whole ? 'segment_free' : 'segment_unmap', address);
          break;
        }
        case TraceKind.outOfMemory:
          this.#enter(device, batch, i, 'oom', 0);
          break;
      }
    }
  }

  end(): void {
    const pickle = this.#pickle;
    for (const device of this.#devices) this.#append(device);
    pickle.appends();
    pickle.key('device_traces');
    pickle.emptyList();
    this.#list(this.#devices, (device) => pickle.recall(device.memo));
    pickle.key('segments');
    pickle.emptyList();
    const segments = this.#devices.flatMap(({ segments }, id) => segments.segments().map((segment) => ({ id, segment })));
    this.#list(segments, ({ id, segment }) => this.#segment(id, segment));
    pickle.key('allocator_settings');
    pickle.emptyDictionary();
    pickle.key('external_annotations');
    pickle.emptyList();
    pickle.setItems();
    pickle.stop();
  }

  /** Blocks of 0 bytes share their address, and a snapshot cannot tell them apart. */
  #alloc(device: DeviceTrace, batch: EventBatch, i: number, bytes: number): void {
    const address = this.#addresses.take(batch, i);
    if (bytes === 0) {
      const what = 'empty block';
      this.dropped.set(what, (this.dropped.get(what) ?? 0) + 1);
      return;
    }
    const site = batch.strings.get(batch.sites?.[i] ?? 0);
    device.segments.alloc(address, { bytes, stream: batch.streams?.[i] ?? 0, site });
    this.#enter(device, batch, i, 'alloc', address, site);
  }

  #enter(device: DeviceTrace, batch: EventBatch, i: number, action: string, address: number, site = ''): void {
    const entry = {
      action,
      address,
      bytes: batch.bytes[i]!,
      stream: batch.streams?.[i] ?? 0,
      timeUs: Math.floor((batch.times?.[i] ?? 0) / NS_PER_US),
      tag: batch.strings.get(batch.tags?.[i] ?? 0),
      site,
    };
    if (device.waiting.push(entry) === MAX_BATCH) this.#append(device);
  }

  /** The trace of a device; those of the devices before it come into being, too. */
  #device(id: number): DeviceTrace {
    while (this.#devices.length <= id) {
      this.#nextPart();
      this.#pickle.emptyList();
      this.#devices.push({ memo: this.#pickle.memoize(), segments: new SnapshotSegments(), waiting: [] });
    }
    return this.#devices[id]!;
  }

  /** Appends what waits to the list of a device. */
  #append(device: DeviceTrace): void {
    const entries = device.waiting;
    device.waiting = [];
    if (entries.length === 0) return;
    this.#nextPart();
    this.#pickle.recall(device.memo);
    this.#list(entries, (entry) => this.#entry(entry));
  }

  /** A part is a list that entries are appended to; they are appended themselves, in batches. */
  #nextPart(): void {
    if (this.#parts++ % MAX_BATCH !== 0 || this.#parts === 1) return;
    this.#pickle.appends();
    this.#pickle.mark();
  }

  #entry({ action, address, bytes, stream, timeUs, tag, site }: Entry): void {
    const pickle = this.#pickle;
    pickle.emptyDictionary();
    pickle.mark();
    pickle.key('action');
    pickle.key(action);
    pickle.key(action === 'oom' ? 'device_free' : 'addr');
    pickle.integer(address);
    pickle.key('size');
    pickle.integer(bytes);
    pickle.key('stream');
    pickle.integer(stream);
    pickle.key('time_us');
    pickle.integer(timeUs);
    this.#framesOf(site);
    pickle.key('compile_context');
    pickle.key('N/A');
    pickle.key('user_metadata');
    pickle.key(tag);
    pickle.setItems();
  }

  #segment(device: number, { address, bytes, allocatedBytes, stream, madeUp, blocks }: SnapshotSegment): void {
    const pickle = this.#pickle;
    pickle.emptyDictionary();
    pickle.mark();
    const numbers = {
      device,
      address,
      total_size: bytes,
      allocated_size: allocatedBytes,
      active_size: allocatedBytes,
      requested_size: allocatedBytes,
      stream,
    };
    for (const [name, value] of Object.entries(numbers)) {
      pickle.key(name);
      pickle.integer(value);
    }
    pickle.key('segment_type');
    pickle.key(bytes <= SMALL_SEGMENT_BYTES ? 'small' : 'large');
    pickle.key('segment_pool_id');
    pickle.integer(0);
    pickle.integer(0);
    pickle.pair();
    pickle.key('is_expandable');
    pickle.boolean(false);
    if (madeUp) {
      pickle.key(MADE_UP_KEY);
      pickle.boolean(true);
    }
    this.#framesOf('');
    pickle.key('blocks');
    pickle.emptyList();
    this.#list(blocks, (block) => {
      pickle.emptyDictionary();
      pickle.mark();
      pickle.key('address');
      pickle.integer(block.address);
      pickle.key('size');
      pickle.integer(block.bytes);
      pickle.key('requested_size');
      pickle.integer(block.free ? 0 : block.bytes);
      pickle.key('state');
      pickle.key(block.free ? 'inactive' : 'active_allocated');
      this.#framesOf(block.site);
      pickle.setItems();
    });
    pickle.setItems();
  }

  /** Writes the key and the list of a site's frames; the second time it is a number. */
  #framesOf(site: string): void {
    const pickle = this.#pickle;
    pickle.key('frames');
    const known = this.#frames.get(site);
    if (known !== undefined) {
      pickle.recall(known);
      return;
    }
    pickle.emptyList();
    this.#frames.set(site, pickle.memoize());
    this.#list(framesOfSite(site), ({ filename, line, name }) => {
      pickle.emptyDictionary();
      pickle.mark();
      pickle.key('filename');
      pickle.key(filename);
      pickle.key('line');
      pickle.integer(line);
      pickle.key('name');
      pickle.key(name);
      pickle.setItems();
    });
  }

  /** Appends values to the list that was written last, in batches. */
  #list<T>(values: readonly T[], write: (value: T) => void): void {
    for (let start = 0; start < values.length; start += MAX_BATCH) {
      this.#pickle.mark();
      for (const value of values.slice(start, start + MAX_BATCH)) write(value);
      this.#pickle.appends();
    }
  }
}

/** Marks a segment that stands for no native call: a reader of this library makes no event of it. */
export const MADE_UP_KEY = 'stowage_made_up';
