import { type AllocatorFacts, type EarlierSegment, NS_PER_US, TraceKind } from '../trace-events.js';
import { lowerBound } from './address-ranges.js';
import { BlockTracker } from './block-tracker.js';
import { checkFile } from './format-fault.js';
import { FormatParser } from './format-parser.js';
import { PickleReader, type PickleValue } from './pickle-reader.js';
import { type DevicePools, devicePools } from './pytorch-pools.js';
import { type Releases, releasesIn } from './pytorch-releases.js';
import {
  type Annotation,
  type HistoryEntry,
  KIND_OF_ACTION,
  type PyTorchSnapshot,
  readSnapshot,
  type StateSegment,
} from './pytorch-snapshot.js';
import { type StateBefore, stateBefore } from './pytorch-state.js';
import { SnapshotSites } from './snapshot-sites.js';

/** How a pickle of protocol 2 or later begins. */
export const PICKLE_MAGIC = Uint8Array.of(0x80);
const MAX_BYTES = 2 ** 29;
/** Annotations within one another. Of more, whose ends are missing, the outermost are left out. */
const MAX_OPEN = 16;
const EARLIER = { timeUs: 0, tag: '', frames: undefined };

/** What is known of one device while its history is read. */
interface DeviceRun {
  readonly state: StateBefore;
  readonly pools: DevicePools;
  readonly releases: Releases;
  /** Frees that were requested and are not complete, by address. */
  readonly pending: Map<number, HistoryEntry>;
  /** Those of them that the allocator has waited for, on behalf of the next request: it looked for memory before. */
  readonly awaited: HistoryEntry[];
  /** Whether the history tells completions at all. */
  completes: boolean;
  /** How many of the device's entries were read, and the last of them. */
  done: number;
  last: HistoryEntry | undefined;
  /** The annotations that are open, the outermost first. */
  readonly open: string[];
  /** What they are called together, as a string of the trace. */
  step: number;
}

/**
 * Reads PyTorch's memory snapshot. It is held as a whole. Entries of several devices are put in order by their times.
 * The memory that was allocated or reserved before the history began comes first.
 */
export class PyTorchParser extends FormatParser {
  readonly #tracker = new BlockTracker(this.events);
  readonly #chunks: Buffer[] = [];
  readonly #sites = new SnapshotSites(this.events.strings);
  /** The numbers of private pools, in order of appearance. */
  readonly #poolIds = new Map<string, number>([['', 0]]);
  #devices: readonly DeviceRun[] = [];
  #bytes = 0;

  override push(chunk: Buffer): void {
    this.#bytes += chunk.length;
    checkFile(this.#bytes <= MAX_BYTES, `byte ${MAX_BYTES}: the snapshot is larger than ${MAX_BYTES} bytes`);
    // The chunk may be overwritten by its source.
    this.#chunks.push(Buffer.from(chunk));
  }

  override end(): void {
    const bytes = Buffer.concat(this.#chunks.splice(0));
    const snapshot = readSnapshot(new PickleReader(bytes).read(), bytes.length);
    const { segments, histories, annotations } = snapshot;
    this.#devices = devicesOf(snapshot);
    this.allocator = this.#addEarlier(snapshot);
    const entries = histories.length === 1 ? histories[0]! : histories.flat().sort((a, b) => a.timeUs - b.timeUs);
    const first = entries[0]?.timeUs ?? 0;
    let annotated = 0;
    for (const entry of entries) {
      for (; annotated < annotations.length && annotations[annotated]!.timeUs <= entry.timeUs; annotated++) {
        this.#annotate(annotations[annotated]!);
      }
      this.#addEntry(entry, (entry.timeUs - first) * NS_PER_US);
    }
    // What is still in use at the end completes there, so that nobody takes it for a free that was complete at once.
    for (const { pending, awaited, completes } of this.#devices) {
      if (completes) for (const entry of [...awaited, ...pending.values()]) this.#complete(entry);
    }
    const counts = `${segments.length} segments and ${entries.length} entries`;
    checkFile(this.events.allocations > 0, `there are no allocations in its ${counts}`);
  }

  #addEarlier({ settings }: PyTorchSnapshot): AllocatorFacts {
    const { events } = this;
    const at = (device: number, address: number) => this.#enter(device, this.#devices[device]!.pools.before(address));
    this.#devices.forEach(({ state }, device) => {
      for (const range of state.reserved) {
        at(device, range.address);
        this.#add({ ...EARLIER, ...range, device, action: 'segment_alloc' });
      }
    });
    const earlier = this.#devices.flatMap(({ state }, device) => {
      const segments = state.reserved.map((range) => {
        at(device, range.address);
        return { ...range, device, pool: events.pool, blocks: [] as EarlierSegment['blocks'][number][] };
      });
      const starts = segments.map(({ address }) => address);
      for (const block of state.blocks) {
        const { address, blockBytes } = block;
        at(device, address);
        segments[lowerBound(starts, address + 1) - 1]?.blocks.push({ event: events.length, address, blockBytes });
        this.#add({ ...EARLIER, ...block, device, action: 'alloc' });
      }
      return segments;
    });
    const unknownPoolBytes = this.#devices.reduce((sum, { pools }) => sum + pools.unknownBytes, 0);
    const doubtfulBytes = this.#devices.reduce((sum, { releases }) => sum + releases.doubtfulBytes, 0);
    return { conf: settings.conf, earlier, earlierEvents: events.length, unknownPoolBytes, doubtfulBytes };
  }

  #annotate({ device, name, ends }: Annotation): void {
    const run = this.#devices[device];
    if (run === undefined) return;
    const { open } = run;
    if (!ends) open.push(name);
    else if (open.includes(name)) open.splice(open.lastIndexOf(name));
    if (open.length > MAX_OPEN) open.shift();
    run.step = this.events.strings.idOf(open.join(' > '));
  }

  #addEntry(entry: HistoryEntry, timeNs: number): void {
    const { events } = this;
    const device = this.#devices[entry.device]!;
    if (Number.isSafeInteger(timeNs)) events.time = Math.max(events.time, timeNs);
    events.stream = entry.stream;
    this.#enter(entry.device, device.pools.of(device.done++));
    events.step = device.step;
    if (device.releases.cleanups.has(entry)) events.other(TraceKind.cleanup, 0);
    this.#add(entry);
    if (entry.action === 'alloc' || entry.action === 'oom')
      for (const request of device.awaited.splice(0)) this.#complete(request);
    device.last = entry;
  }

  /** Says where the next event is. */
  #enter(device: number, pool: string): void {
    this.events.device = device;
    // Devices may have the same addresses.
    this.#tracker.keepApart(device);
    const id = this.#poolIds.get(pool) ?? this.#poolIds.size;
    this.#poolIds.set(pool, id);
    this.events.pool = id;
  }

  #add(entry: HistoryEntry): void {
    const { events } = this;
    events.stream = entry.stream;
    const kind = KIND_OF_ACTION.get(entry.action);
    if (kind === TraceKind.alloc || kind === TraceKind.outOfMemory) {
      events.tag = events.strings.idOf(entry.tag);
      events.site = this.#siteOf(entry.frames);
      if (kind === TraceKind.alloc) this.#tracker.alloc(entry.address, entry.bytes, 0);
      else events.refused(0, entry.bytes);
    } else if (kind === TraceKind.free) this.#free(entry);
    else if (kind !== undefined) events.other(kind, 0, entry.bytes, entry.address);
  }

  #free(entry: HistoryEntry): void {
    const device = this.#devices[entry.device]!;
    const { address } = entry;
    if (entry.action === 'free_requested') {
      this.#tracker.free(address, 0);
      device.pending.set(address, entry);
      return;
    }
    device.completes = true;
    const request = device.pending.get(address);
    device.pending.delete(address);
    // A completion frees the block only if its request was not recorded.
    if (request === undefined) {
      if (this.#tracker.space.slotOf(address) !== undefined) this.#tracker.free(address, 0);
    } else if (request !== device.last) {
      if (device.releases.awaited.has(entry)) device.awaited.push(request);
      else this.#complete(request);
    }
  }

  #complete({ bytes, address, device, stream }: HistoryEntry): void {
    this.events.device = device;
    this.events.stream = stream;
    this.events.other(TraceKind.freeCompleted, 0, bytes, address);
  }

  #siteOf(frames: PickleValue | undefined): number {
    return Array.isArray(frames) && frames.length > 0 ? this.#sites.idOf(frames) : 0;
  }
}

/** Follows the history of each device backwards, for what was before it. */
function devicesOf({ segments, histories, settings }: PyTorchSnapshot): DeviceRun[] {
  const byDevice: StateSegment[][] = histories.map(() => []);
  for (const segment of segments) (byDevice[segment.device] ??= []).push(segment);
  return Array.from(byDevice, (own = [], device) => {
    const history = histories[device] ?? [];
    const state = stateBefore(own, history);
    const reservedBytes = state.reserved.reduce((sum, { bytes }) => sum + bytes, 0);
    const pools = devicePools(own, history);
    const completes = own.some(({ blocks }) => blocks.some(({ inUse }) => inUse));
    const releases = releasesIn(history, reservedBytes, settings, (entry) => pools.of(entry) !== '');
    return { state, pools, releases, pending: new Map(), awaited: [], completes, done: 0, last: undefined, open: [], step: 0 };
  });
}
