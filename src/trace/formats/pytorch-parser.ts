import { NS_PER_US, TraceKind } from '../trace-events.js';
import { AddressRanges } from './address-ranges.js';
import { BlockTracker } from './block-tracker.js';
import { checkFile } from './format-fault.js';
import { FormatParser } from './format-parser.js';
import { textIn } from './parsed-values.js';
import { isDictionary, PickleReader, type PickleValue } from './pickle-reader.js';
import {
  type Frame,
  type HistoryEntry,
  KIND_OF_ACTION,
  type PyTorchSnapshot,
  readSnapshot,
  type StateBlock,
  type StateSegment,
  siteOfFrames,
} from './pytorch-snapshot.js';

/** How a pickle of protocol 2 or later begins. */
export const PICKLE_MAGIC = Uint8Array.of(0x80);
const MAX_BYTES = 2 ** 29;
const MAX_FRAMES = 128;
const MAX_FRAME_CHARACTERS = 512;
const EARLIER = { timeUs: 0, tag: '', frames: undefined };

/**
 * Reads PyTorch's memory snapshot. It is held as a whole. Entries of several devices are put in order by their times.
 * The memory that was allocated or reserved before the history began comes first.
 */
export class PyTorchParser extends FormatParser {
  readonly #tracker = new BlockTracker(this.events);
  readonly #chunks: Buffer[] = [];
  readonly #sites = new Map<PickleValue, number>();
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
    const { segments, histories } = snapshot;
    this.#addEarlier(snapshot);
    const entries = histories.length === 1 ? histories[0]! : histories.flat().sort((a, b) => a.timeUs - b.timeUs);
    const first = entries[0]?.timeUs ?? 0;
    for (const entry of entries) this.#add(entry, (entry.timeUs - first) * NS_PER_US);
    const counts = `${segments.length} segments and ${entries.length} entries`;
    checkFile(this.events.allocations > 0, `there are no allocations in its ${counts}`);
  }

  #addEarlier({ segments, histories }: PyTorchSnapshot): void {
    const byDevice: StateSegment[][] = histories.map(() => []);
    for (const segment of segments) (byDevice[segment.device] ??= []).push(segment);
    const states = Array.from(byDevice, (own = [], device) => stateBefore(own, histories[device] ?? []));
    states.forEach(({ reserved }, device) => {
      for (const range of reserved) this.#add({ ...EARLIER, ...range, device, action: 'segment_alloc' }, 0);
    });
    states.forEach(({ blocks }, device) => {
      for (const block of blocks) this.#add({ ...EARLIER, ...block, device, action: 'alloc' }, 0);
    });
  }

  #add(entry: HistoryEntry, timeNs: number): void {
    const { events } = this;
    events.device = entry.device;
    events.stream = entry.stream;
    // Devices may have the same addresses.
    this.#tracker.keepApart(entry.device);
    if (Number.isSafeInteger(timeNs)) events.time = Math.max(events.time, timeNs);
    const kind = KIND_OF_ACTION.get(entry.action);
    if (kind === TraceKind.alloc) {
      events.tag = events.strings.idOf(entry.tag);
      events.site = this.#siteOf(entry.frames);
      this.#tracker.alloc(entry.address, entry.bytes, 0);
    } else if (kind === TraceKind.free) {
      // A completion frees the block only if its request was not recorded.
      if (entry.action === 'free_requested' || this.#tracker.space.slotOf(entry.address) !== undefined)
        this.#tracker.free(entry.address, 0);
    } else if (kind !== undefined) events.other(kind, 0, entry.bytes, kind === TraceKind.outOfMemory ? 0 : entry.address);
  }

  #siteOf(frames: PickleValue | undefined): number {
    if (!Array.isArray(frames) || frames.length === 0) return 0;
    const site = this.#sites.get(frames) ?? this.events.strings.idOf(siteOfFrames(frames.slice(0, MAX_FRAMES).map(frameOf)));
    this.#sites.set(frames, site);
    return site;
  }
}

function frameOf(frame: PickleValue): Frame {
  const entry = isDictionary(frame) ? frame : {};
  return {
    name: textIn(entry, 'name').slice(0, MAX_FRAME_CHARACTERS),
    filename: textIn(entry, 'filename').slice(0, MAX_FRAME_CHARACTERS),
    line: typeof entry['line'] === 'number' ? entry['line'] : 0,
  };
}

type EarlierBlock = StateBlock & Pick<StateSegment, 'stream'>;

/**
 * Finds the state of one device before its history: the state at the end, followed backwards through the history. So
 * `reserved == sum(segment.total_size)` and `allocated == the allocated blocks` hold at the end, wherever the history begins.
 *
 * Cost: O(entries * log n), and O(n) where native memory changes.
 *
 * @returns the native memory, in which what was one native call is one item, and the allocated blocks; both by address
 */
function stateBefore(segments: readonly StateSegment[], history: readonly HistoryEntry[]) {
  const reserved = new AddressRanges();
  /** Where a native call's memory begins that may touch its neighbour's. */
  const borders = new Set<number>();
  const streams = new Map<number, number>();
  const blocks = new Map<number, EarlierBlock>();
  const add = (address: number, bytes: number, stream: number) => {
    reserved.add(address, address + bytes);
    streams.set(address, stream);
  };
  for (const { address, bytes, stream, madeUp, blocks: allocated } of segments) {
    for (const block of allocated) blocks.set(block.address, { ...block, stream });
    if (madeUp) continue;
    add(address, bytes, stream);
    borders.add(address);
  }
  for (let i = history.length - 1; i >= 0; i--) {
    const { action, address, bytes, stream } = history[i]!;
    const kind = KIND_OF_ACTION.get(action);
    if (kind === TraceKind.alloc) blocks.delete(address);
    // A free that was requested before the history began has its completion alone in it.
    else if (kind === TraceKind.free) blocks.set(address, { address, bytes, stream, frames: undefined });
    else if (kind === TraceKind.nativeAlloc) {
      reserved.remove(address, address + bytes);
      borders.delete(address);
    } else if (kind === TraceKind.nativeFree) {
      if (action === 'segment_free') borders.add(address);
      add(address, bytes, stream);
    }
  }
  return {
    reserved: reserved
      .piecesAt(borders)
      .map(([address, end]) => ({ address, bytes: end - address, stream: streams.get(address) ?? 0 })),
    blocks: [...blocks.values()].sort((a, b) => a.address - b.address),
  };
}
