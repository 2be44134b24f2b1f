import { MAX_DEVICES } from '../trace-events.js';
import { FormatFault } from './format-parser.js';
import { isDictionary, type PickleDictionary, type PickleValue } from './pickle-reader.js';
import { MADE_UP_KEY } from './pytorch-writer.js';

/** An entry of a device's history. */
export interface HistoryEntry {
  readonly device: number;
  /** `alloc`, `free_requested`, `free_completed`, `segment_alloc`, `segment_free`, `segment_map`, `segment_unmap`, `oom`, … */
  readonly action: string;
  readonly address: number;
  /** Of blocks the bytes that the program asked for, not those that the allocator rounded them up to. */
  readonly bytes: number;
  readonly stream: number;
  readonly timeUs: number;
  readonly tag: string;
  readonly frames: PickleValue | undefined;
}

/** A block that is allocated at the end. */
export interface StateBlock {
  readonly address: number;
  /** The bytes that the program asked for, where the snapshot tells them. */
  readonly bytes: number;
  readonly frames: PickleValue | undefined;
}

/** A segment that is reserved at the end; of an expandable one, what is mapped without a gap. */
export interface StateSegment {
  readonly device: number;
  readonly address: number;
  readonly bytes: number;
  readonly stream: number;
  /** True for addresses that no native call of this library's trace covered. */
  readonly madeUp: boolean;
  readonly blocks: readonly StateBlock[];
}

/** What a snapshot holds: the state at its end and the last part of the history that led to it. */
export interface PyTorchSnapshot {
  readonly segments: readonly StateSegment[];
  /** By device. */
  readonly histories: readonly (readonly HistoryEntry[])[];
}

/**
 * Reads the values of a pickle as a snapshot: the dictionary of `torch.cuda.memory._snapshot`, or the list of segments of
 * `torch.cuda.memory_snapshot`, which has no history. Keys that are not known are passed over; None is a key left out.
 *
 * @param mostVisits - how many values are visited: a pickle can name one list many times
 * @throws FormatFault with the entry, segment or block
 * @see Source: PyTorch, torch/csrc/cuda/memory_snapshot.cpp and torch/cuda/_memory_viz.py
 */
export function readSnapshot(value: PickleValue, mostVisits: number): PyTorchSnapshot {
  const visits = new Visits(mostVisits);
  if (Array.isArray(value)) return { segments: segmentsOf(value, visits), histories: [] };
  if (!isDictionary(value)) throw new FormatFault('the pickle is no snapshot: it is no dictionary and no list');
  const segments = segmentsOf(listIn(value, 'segments'), visits);
  const traces = listIn(value, 'device_traces');
  if (traces.length > MAX_DEVICES) throw new FormatFault(`there are traces of ${traces.length} devices`);
  return { segments, histories: traces.map((trace, device) => historyOf(trace, device, visits)) };
}

class Visits {
  #left: number;

  constructor(most: number) {
    this.#left = most;
  }

  count(place: string): void {
    if (--this.#left < 0) throw new FormatFault(`${place}: the pickle names the same values over and over`);
  }
}

function historyOf(trace: PickleValue, device: number, visits: Visits): HistoryEntry[] {
  if (!Array.isArray(trace)) throw new FormatFault(`the trace of device ${device} is no list`);
  return trace.map((value, i) => {
    const place = `entry ${i} of device ${device}`;
    visits.count(place);
    if (!isDictionary(value)) throw new FormatFault(`${place} is no dictionary`);
    return {
      device,
      action: textIn(value, 'action'),
      address: sizeIn(value, 'addr', place),
      bytes: sizeIn(value, 'size', place),
      stream: sizeIn(value, 'stream', place),
      timeUs: sizeIn(value, 'time_us', place),
      tag: textIn(value, 'user_metadata'),
      frames: value['frames'],
    };
  });
}

function segmentsOf(list: readonly PickleValue[], visits: Visits): StateSegment[] {
  return list.map((segment, i) => {
    const place = `segment ${i}`;
    visits.count(place);
    if (!isDictionary(segment)) throw new FormatFault(`${place} is no dictionary`);
    const device = sizeIn(segment, 'device', place);
    if (device >= MAX_DEVICES) throw new FormatFault(`${place}: ${device} is no device`);
    return {
      device,
      address: sizeIn(segment, 'address', place),
      bytes: sizeIn(segment, 'total_size', place),
      stream: sizeIn(segment, 'stream', place),
      madeUp: segment[MADE_UP_KEY] === true,
      blocks: blocksOf(segment, place, visits),
    };
  });
}

function blocksOf(segment: PickleDictionary, segmentPlace: string, visits: Visits): StateBlock[] {
  const blocks: StateBlock[] = [];
  let next = sizeIn(segment, 'address', segmentPlace);
  for (const [i, block] of listIn(segment, 'blocks', segmentPlace).entries()) {
    const place = `block ${i} of ${segmentPlace}`;
    visits.count(place);
    if (!isDictionary(block)) throw new FormatFault(`${place} is no dictionary`);
    const size = sizeIn(block, 'size', place);
    // Old snapshots leave a block's address out, and what was asked for.
    const address = isMissing(block, 'address') ? next : sizeIn(block, 'address', place);
    next = address + size;
    if (block['state'] !== 'active_allocated') continue;
    const bytes = isMissing(block, 'requested_size') ? size : sizeIn(block, 'requested_size', place);
    blocks.push({ address, bytes, frames: block['frames'] });
  }
  return blocks;
}

function isMissing(dictionary: PickleDictionary, key: string): boolean {
  return dictionary[key] === undefined || dictionary[key] === null;
}

function textIn(dictionary: PickleDictionary, key: string): string {
  const value = dictionary[key];
  return typeof value === 'string' ? value : '';
}

function listIn(dictionary: PickleDictionary, key: string, place = 'the pickle is no snapshot'): readonly PickleValue[] {
  if (isMissing(dictionary, key)) throw new FormatFault(`${place}: it has no "${key}"`);
  const value = dictionary[key];
  if (!Array.isArray(value)) throw new FormatFault(`${place}: "${key}" is no list`);
  return value;
}

/** A number of a dictionary, 0 when it is missing. */
function sizeIn(dictionary: PickleDictionary, key: string, place: string): number {
  const value = dictionary[key] ?? 0;
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new FormatFault(`${place}: "${key}" is no integer below 2^53`);
  return value as number;
}
