import { framesOfSite } from '../site-frames.js';
import { type EventBatch, NS_PER_US, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { OPCODE } from './pickle-format.js';
import { MAX_BATCH, PickleWriter } from './pickle-writer.js';
import { type SnapshotBlock, type SnapshotSegment, SnapshotSegments } from './pytorch-segments.js';
import { type HistoryEntry, MADE_UP_KEY } from './pytorch-snapshot.js';
import { type ByteSink, type ColumnName, type EventRows, EventWriter } from './trace-writer.js';

const SMALL_SEGMENT_BYTES = 2 * 2 ** 20;
const TRACE_KEY = 'stowage_parts';

/** An entry of a device's trace, before it is written. */
type Entry = Omit<HistoryEntry, 'device' | 'frames'> & { readonly site: string };

/** The state of one device: its list in the pickle, and the entries that are not appended to it yet. */
interface DeviceTrace {
  readonly memo: number;
  readonly segments: SnapshotSegments;
  readonly waiting: Entry[];
}

/**
 * Writes PyTorch's memory snapshot as a pickle that its viewer reads.
 *
 * The lists of `device_traces` are numbered at the start and appended to as events come, so that memory does not grow with
 * them. The appends are under a key of their own, which readers ignore.
 */
export class PyTorchWriter extends EventWriter {
  override readonly columns: readonly ColumnName[] = ['times', 'pointers', 'devices', 'streams', 'tags', 'sites'];
  protected override readonly rows: EventRows<void> = {
    [TraceKind.alloc]: (batch, i) => {
      const bytes = batch.bytes[i]!;
      const address = this.#addresses.take(batch, i);
      const site = batch.strings.get(batch.sites?.[i] ?? 0);
      // Blocks of 0 bytes share their address, and a snapshot cannot tell them apart.
      if (bytes === 0) this.drop('empty block');
      else {
        this.#current.segments.alloc({ address, bytes, stream: batch.streams?.[i] ?? 0, site });
        this.#enter(batch, i, 'alloc', address, site);
      }
    },
    [TraceKind.free]: (batch, i) => {
      const address = this.#addresses.give(batch, i);
      if (batch.bytes[i] === 0) return;
      this.#current.segments.free(address);
      for (const action of ['free_requested', 'free_completed']) this.#enter(batch, i, action, address);
    },
    [TraceKind.nativeAlloc]: (batch, i) => {
      const address = batch.pointers?.[i] ?? 0;
      this.#current.segments.nativeAlloc(address, batch.bytes[i]!);
      this.#enter(batch, i, 'segment_alloc', address);
    },
    [TraceKind.nativeFree]: (batch, i) => {
      const address = batch.pointers?.[i] ?? 0;
      const whole = this.#current.segments.nativeFree(address, batch.bytes[i]!);
      this.#enter(batch, i, whole ? 'segment_free' : 'segment_unmap', address);
    },
    [TraceKind.outOfMemory]: (batch, i) => this.#enter(batch, i, 'oom', 0, batch.strings.get(batch.sites?.[i] ?? 0)),
  };
  readonly #pickle: PickleWriter;
  readonly #addresses = new BlockAddresses(false);
  readonly #devices: DeviceTrace[] = [];
  readonly #frames = new Map<string, number>();
  #parts = 0;
  /** The device of the event that is written. */
  #current: DeviceTrace;

  constructor(sink: ByteSink) {
    super();
    const pickle = new PickleWriter(sink);
    this.#pickle = pickle;
    pickle.put(OPCODE.emptyDict, OPCODE.mark);
    pickle.key(TRACE_KEY);
    pickle.put(OPCODE.emptyList, OPCODE.mark);
    this.#current = this.#device(0);
  }

  protected override event(batch: EventBatch, i: number, kind: TraceKind): void {
    this.#current = this.#device(batch.devices?.[i] ?? 0);
    super.event(batch, i, kind);
  }

  override end(): void {
    const pickle = this.#pickle;
    const segments = this.#devices.flatMap((device, id) => device.segments.end().map((segment) => ({ id, segment })));
    for (const device of this.#devices) this.#append(device);
    pickle.put(OPCODE.appends);
    pickle.fields({
      device_traces: () => this.#list(this.#devices, (device) => pickle.recall(device.memo)),
      segments: () => this.#list(segments, ({ id, segment }) => this.#segment(id, segment)),
      allocator_settings: () => pickle.put(OPCODE.emptyDict),
      external_annotations: () => pickle.put(OPCODE.emptyList),
    });
    pickle.put(OPCODE.setItems);
    pickle.stop();
  }

  #enter(batch: EventBatch, i: number, action: string, address: number, site = ''): void {
    const entry = {
      action,
      address,
      bytes: batch.bytes[i]!,
      stream: batch.streams?.[i] ?? 0,
      timeUs: Math.floor((batch.times?.[i] ?? 0) / NS_PER_US),
      tag: batch.strings.get(batch.tags?.[i] ?? 0),
      site,
    };
    if (this.#current.waiting.push(entry) === MAX_BATCH) this.#append(this.#current);
  }

  /** The trace of a device. Those of the devices before it are made, too. */
  #device(id: number): DeviceTrace {
    while (this.#devices.length <= id) {
      this.#nextPart();
      this.#pickle.put(OPCODE.emptyList);
      this.#devices.push({ memo: this.#pickle.memoize(), segments: new SnapshotSegments(), waiting: [] });
    }
    return this.#devices[id]!;
  }

  /** Appends the waiting entries to the list of a device. */
  #append(device: DeviceTrace): void {
    const entries = device.waiting.splice(0);
    if (entries.length === 0) return;
    this.#nextPart();
    this.#pickle.recall(device.memo);
    this.#pickle.appendAll(entries, (entry) => this.#entry(entry));
  }

  /** A part is a list that entries are appended to; they are appended themselves, in batches. */
  #nextPart(): void {
    if (this.#parts++ % MAX_BATCH !== 0 || this.#parts === 1) return;
    this.#pickle.put(OPCODE.appends, OPCODE.mark);
  }

  #entry({ action, address, bytes, stream, timeUs, tag, site }: Entry): void {
    this.#pickle.dictionary({
      action,
      [action === 'oom' ? 'device_free' : 'addr']: address,
      size: bytes,
      stream,
      time_us: timeUs,
      frames: () => this.#framesOf(site),
      compile_context: 'N/A',
      user_metadata: tag,
    });
  }

  #segment(device: number, { address, bytes, allocatedBytes, stream, madeUp, blocks }: SnapshotSegment): void {
    this.#pickle.dictionary({
      device,
      address,
      total_size: bytes,
      allocated_size: allocatedBytes,
      active_size: allocatedBytes,
      requested_size: allocatedBytes,
      stream,
      segment_type: bytes <= SMALL_SEGMENT_BYTES ? 'small' : 'large',
      segment_pool_id: () => this.#pickle.put(OPCODE.binInt1, 0, OPCODE.binInt1, 0, OPCODE.tuple2),
      is_expandable: false,
      ...(madeUp ? { [MADE_UP_KEY]: true } : {}),
      frames: () => this.#framesOf(''),
      blocks: () => this.#list(blocks, (block) => this.#block(block)),
    });
  }

  #block({ address, bytes, free, site }: SnapshotBlock): void {
    this.#pickle.dictionary({
      address,
      size: bytes,
      requested_size: free ? 0 : bytes,
      state: free ? 'inactive' : 'active_allocated',
      frames: () => this.#framesOf(site),
    });
  }

  /** Writes the list of a site's frames; the second time it is a number. */
  #framesOf(site: string): void {
    const known = this.#frames.get(site);
    if (known !== undefined) this.#pickle.recall(known);
    else {
      this.#pickle.put(OPCODE.emptyList);
      this.#frames.set(site, this.#pickle.memoize());
      this.#pickle.appendAll(framesOfSite(site), ({ filename, line, name }) => this.#pickle.dictionary({ filename, line, name }));
    }
  }

  #list<T>(values: readonly T[], write: (value: T) => void): void {
    this.#pickle.put(OPCODE.emptyList);
    this.#pickle.appendAll(values, write);
  }
}
