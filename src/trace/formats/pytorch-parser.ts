import type { EventBuilder } from '../event-builder.js';
import { MAX_DEVICES, TraceKind } from '../trace-events.js';
import { BlockTracker } from './block-tracker.js';
import { FormatFault, type FormatParser } from './format-parser.js';
import { isDictionary, type PickleDictionary, PickleReader, type PickleValue } from './pickle-reader.js';
import { type Frame, siteOfFrames } from './pytorch-frames.js';
import { MADE_UP_KEY } from './pytorch-writer.js';

/** The first byte of a pickle of protocol 2 or later. */
export const PICKLE_MARK = 0x80;
const NS_PER_US = 1000;
const MAX_BYTES = 2 ** 30;
const MAX_FRAMES = 128;
const MAX_FRAME_CHARACTERS = 512;

/** An entry of a device's trace, or a block of a segment that was there before the trace began. */
interface Entry {
  readonly device: number;
  readonly action: string;
  readonly address: number;
  readonly bytes: number;
  readonly stream: number;
  readonly timeUs: number;
  readonly tag: string;
  readonly frames: PickleValue | undefined;
}

/**
 * Reads PyTorch's memory snapshot. It is held as a whole. Entries of several devices are put in order by their times.
 * What was live or reserved before the trace began comes first, as far as the snapshot tells it.
 */
export class PyTorchParser implements FormatParser {
  readonly format = 'pytorch';
  readonly line = 0;
  readonly #events: EventBuilder;
  readonly #tracker: BlockTracker;
  readonly #chunks: Buffer[] = [];
  readonly #sites = new Map<PickleValue, number>();
  #bytes = 0;
  /** What may be visited: a pickle can name one list many times. */
  #visitsLeft = 0;

  constructor(events: EventBuilder) {
    this.#events = events;
    this.#tracker = new BlockTracker(events);
  }

  push(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > MAX_BYTES) throw new FormatFault(`the snapshot is larger than ${MAX_BYTES} bytes`);
    // The chunk may be overwritten by its source.
    this.#chunks.push(Buffer.from(chunk));
  }

  end(): void {
    const bytes = Buffer.concat(this.#chunks.splice(0));
    this.#visitsLeft = bytes.length;
    const snapshot = new PickleReader(bytes).read();
    if (!isDictionary(snapshot)) throw new FormatFault('the pickle is no snapshot: it is no dictionary');
    const segments = listIn(snapshot, 'segments');
    const traces = listIn(snapshot, 'device_traces');
    if (traces.length > MAX_DEVICES) throw new FormatFault(`there are traces of ${traces.length} devices`);
    const perDevice = traces.map((trace, device) => this.#entriesOf(trace, device));
    this.#addEarlier(segments, perDevice);
    const entries = perDevice.length === 1 ? perDevice[0]! : perDevice.flat().sort((a, b) => a.timeUs - b.timeUs);
    const first = entries[0]?.timeUs ?? 0;
    for (const entry of entries) this.#add(entry, (entry.timeUs - first) * NS_PER_US);
  }

  #entriesOf(trace: PickleValue, device: number): Entry[] {
    if (!Array.isArray(trace)) throw new FormatFault(`the trace of device ${device} is no list`);
    return trace.map((value, i) => {
      this.#visit();
      if (!isDictionary(value)) throw new FormatFault(`entry ${i} of device ${device} is no dictionary`);
      const place = `entry ${i} of device ${device}`;
      const action = value['action'];
      return {
        device,
        action: typeof action === 'string' ? action : '',
        address: sizeIn(value, 'addr', place),
        bytes: sizeIn(value, 'size', place),
        stream: sizeIn(value, 'stream', place),
        timeUs: sizeIn(value, 'time_us', place),
        tag: typeof value['user_metadata'] === 'string' ? value['user_metadata'] : '',
        frames: value['frames'],
      };
    });
  }

  /** Adds what was there before the first entry: what is freed without having come, or is there at the end without. */
  #addEarlier(segments: readonly PickleValue[], perDevice: readonly (readonly Entry[])[]): void {
    const blocks = new Map<string, Entry>();
    const native = new Map<string, Entry>();
    const known = new Set<string>();
    for (const entry of perDevice.flat()) {
      const isBlock = entry.action === 'alloc' || entry.action === 'free_requested' || entry.action === 'free_completed';
      if (!isBlock && !entry.action.startsWith('segment_')) continue;
      const key = `${isBlock ? 'block' : 'segment'} ${entry.device} ${entry.address}`;
      if (known.has(key)) continue;
      known.add(key);
      if (entry.action.startsWith('free')) blocks.set(key, { ...entry, tag: '', frames: undefined });
      else if (entry.action === 'segment_free') native.set(key, entry);
    }
    segments.forEach((segment, i) => {
      this.#visit();
      const place = `segment ${i}`;
      if (!isDictionary(segment)) throw new FormatFault(`${place} is no dictionary`);
      const device = sizeIn(segment, 'device', place);
      if (device >= MAX_DEVICES) throw new FormatFault(`${place}: ${device} is no device`);
      const stream = sizeIn(segment, 'stream', place);
      const address = sizeIn(segment, 'address', place);
      const shared = { device, stream, timeUs: 0, tag: '' };
      const key = `segment ${device} ${address}`;
      if (segment[MADE_UP_KEY] !== true && !known.has(key) && segment['is_expandable'] !== true) {
        native.set(key, { ...shared, action: '', address, bytes: sizeIn(segment, 'total_size', place), frames: undefined });
      }
      let next = address;
      for (const block of listIn(segment, 'blocks')) {
        this.#visit();
        if (!isDictionary(block)) throw new FormatFault(`a block of ${place} is no dictionary`);
        const bytes = sizeIn(block, 'size', place);
        const start = 'address' in block ? sizeIn(block, 'address', place) : next;
        next = start + bytes;
        const blockKey = `block ${device} ${start}`;
        if (block['state'] !== 'active_allocated' || known.has(blockKey)) continue;
        blocks.set(blockKey, { ...shared, action: '', address: start, bytes, frames: block['frames'] });
      }
    });
    for (const entry of native.values()) this.#add({ ...entry, action: 'segment_alloc' }, 0);
    for (const entry of blocks.values()) this.#add({ ...entry, action: 'alloc' }, 0);
  }

  #add(entry: Entry, timeNs: number): void {
    const events = this.#events;
    events.device = entry.device;
    events.stream = entry.stream;
    // Devices may have the same addresses.
    this.#tracker.keepApart(entry.device);
    if (Number.isSafeInteger(timeNs)) events.time = Math.max(events.time, timeNs);
    switch (entry.action) {
      case 'alloc':
        events.tag = events.strings.idOf(entry.tag);
        events.site = this.#siteOf(entry.frames);
        this.#tracker.alloc(entry.address, entry.bytes, 0);
        break;
      case 'free_requested':
        this.#tracker.free(entry.address, 0);
        break;
      case 'free_completed':
        // Was requested before the trace began.
        if (this.#tracker.isLive(entry.address)) this.#tracker.free(entry.address, 0);
        break;
      case 'segment_alloc':
      case 'segment_map':
        events.nativeAlloc(entry.bytes, 0, entry.address);
        break;
      case 'segment_free':
      case 'segment_unmap':
        events.nativeFree(entry.bytes, 0, entry.address);
        break;
      case 'oom':
        events.note(TraceKind.outOfMemory, 0, entry.bytes);
        break;
    }
  }

  #siteOf(frames: PickleValue | undefined): number {
    if (!Array.isArray(frames) || frames.length === 0) return 0;
    let site = this.#sites.get(frames);
    if (site === undefined) {
      site = this.#events.strings.idOf(siteOfFrames(frames.slice(0, MAX_FRAMES).map((frame) => this.#frameOf(frame))));
      this.#sites.set(frames, site);
    }
    return site;
  }

  #frameOf(frame: PickleValue): Frame {
    this.#visit();
    if (!isDictionary(frame)) return { name: '', filename: '', line: 0 };
    const { name, filename, line } = frame;
    return {
      name: typeof name === 'string' ? name.slice(0, MAX_FRAME_CHARACTERS) : '',
      filename: typeof filename === 'string' ? filename.slice(0, MAX_FRAME_CHARACTERS) : '',
      line: typeof line === 'number' ? line : 0,
    };
  }

  #visit(): void {
    if (--this.#visitsLeft < 0) throw new FormatFault('the pickle names the same values over and over');
  }
}

function listIn(dictionary: PickleDictionary, key: string): readonly PickleValue[] {
  const value = dictionary[key];
  if (value === undefined) throw new FormatFault(`the pickle is no snapshot: it has no "${key}"`);
  if (!Array.isArray(value)) throw new FormatFault(`"${key}" is no list`);
  return value;
}

/** A number of a dictionary, 0 when it is missing. */
function sizeIn(dictionary: PickleDictionary, key: string, place: string): number {
  const value = dictionary[key] ?? 0;
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new FormatFault(`${place}: "${key}" is no integer below 2^53`);
  return value as number;
}
