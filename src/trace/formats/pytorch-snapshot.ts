import { MAX_DEVICES, TraceKind } from '../trace-events.js';
import { checkFile, FormatFault } from './format-fault.js';
import { isMissing, isSize, textIn } from './parsed-values.js';
import { isDictionary, type PickleDictionary, type PickleValue } from './pickle-reader.js';

/** Marks a segment that stands for no native call: a reader of this library makes no event of it. */
export const MADE_UP_KEY = 'stowage_made_up';

/** The kinds of a history's actions; an action that is not in the table changes nothing. */
export const KIND_OF_ACTION: ReadonlyMap<string, TraceKind> = new Map([
  ['alloc', TraceKind.alloc],
  ['free_requested', TraceKind.free],
  ['free_completed', TraceKind.free],
  ['segment_alloc', TraceKind.nativeAlloc],
  ['segment_map', TraceKind.nativeAlloc],
  ['segment_free', TraceKind.nativeFree],
  ['segment_unmap', TraceKind.nativeFree],
  ['oom', TraceKind.outOfMemory],
]);

/** An entry of a device's history. */
export interface HistoryEntry {
  readonly device: number;
  /** See {@link KIND_OF_ACTION}; there are others. */
  readonly action: string;
  readonly address: number;
  /** Of blocks the bytes that the program asked for, not those that the allocator rounded them up to. */
  readonly bytes: number;
  readonly stream: number;
  readonly timeUs: number;
  readonly tag: string;
  readonly frames: PickleValue | undefined;
}

/** A block that is not free at the end; its bytes are those that the program asked for, where the snapshot tells them. */
export interface StateBlock extends Pick<HistoryEntry, 'address' | 'bytes' | 'frames'> {
  /** What the allocator had rounded them up to. */
  readonly blockBytes: number;
  /** Whether it was freed, and a stream still uses it. */
  readonly inUse: boolean;
}

/** A segment that is reserved at the end; of an expandable one, what is mapped without a gap. */
export interface StateSegment extends Pick<HistoryEntry, 'device' | 'address' | 'bytes' | 'stream'> {
  /** True for addresses that no native call of this library's trace covered. */
  readonly madeUp: boolean;
  /** The number of its pool in this snapshot; '' for the default pool. */
  readonly pool: string;
  readonly expandable: boolean;
  /** Whether it is for blocks of up to 1 MiB. */
  readonly small: boolean;
  readonly blocks: readonly StateBlock[];
}

/** Where a part of the program that it named itself begins or ends. */
export interface Annotation extends Pick<HistoryEntry, 'device' | 'timeUs'> {
  readonly name: string;
  readonly ends: boolean;
}

/** What was recorded of the allocator's settings. */
export interface RecordedSettings {
  /** As in the environment; undefined when the snapshot does not tell. */
  readonly conf: string | undefined;
  /** Whether the allocator may have freed segments for their age. */
  readonly collects: boolean;
  /** Whether blocks of any size may be cut. */
  readonly cutsAll: boolean;
}

/** The content of a snapshot: the state at its end, and the last part of the history before it. */
export interface PyTorchSnapshot {
  readonly settings: RecordedSettings;
  readonly annotations: readonly Annotation[];
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
  const visit = visits(mostVisits);
  if (Array.isArray(value)) {
    return { settings: settingsOf(undefined), annotations: [], segments: segmentsOf(value, visit), histories: [] };
  }
  checkFile(isDictionary(value), 'the pickle is no snapshot: it is no dictionary and no list');
  const segments = segmentsOf(listIn(value, 'segments'), visit);
  const traces = listIn(value, 'device_traces');
  checkFile(traces.length <= MAX_DEVICES, `there are traces of ${traces.length} devices`);
  return {
    settings: settingsOf(value['allocator_settings']),
    annotations: annotationsOf(value['external_annotations'], visit),
    segments,
    histories: traces.map((trace, device) => historyOf(trace, device, visit)),
  };
}

/** Reads what was set; newer versions of PyTorch name the text without the platform. */
function settingsOf(value: PickleValue | undefined): RecordedSettings {
  if (!isDictionary(value)) return { conf: undefined, collects: false, cutsAll: true };
  const conf = value['PYTORCH_ALLOC_CONF'] ?? value['PYTORCH_CUDA_ALLOC_CONF'];
  const threshold = value['garbage_collection_threshold'];
  const largest = value['max_split_size'];
  return {
    conf: typeof conf === 'string' ? conf : undefined,
    collects: typeof threshold === 'number' && threshold > 0,
    cutsAll: typeof largest !== 'number' || largest < 0,
  };
}

/** Reads annotations, in order of time. Old snapshots have none. */
function annotationsOf(list: PickleValue | undefined, visit: Visit): Annotation[] {
  if (!Array.isArray(list)) return [];
  const annotations = list.map((value, i) => {
    const place = `annotation ${i}`;
    const entry = visit(value, place);
    return {
      device: sizeIn(entry, 'device', place),
      timeUs: sizeIn(entry, 'time_us', place),
      name: textIn(entry, 'name'),
      ends: textIn(entry, 'stage').toUpperCase() === 'END',
    };
  });
  return annotations.sort((a, b) => a.timeUs - b.timeUs);
}

/** Where a value is, for messages. A text for each of millions of values would take long to make. */
type Place = string | { toString(): string };

/** Takes a value for a dictionary. */
type Visit = (value: PickleValue, place: Place) => PickleDictionary;

/** Makes a {@link Visit} that can be called so many times. */
function visits(most: number): Visit {
  let left = most;
  return (value, place) => {
    if (--left < 0) throw new FormatFault(`${place}: the pickle names the same values over and over`);
    if (!isDictionary(value)) throw new FormatFault(`${place} is no dictionary`);
    return value;
  };
}

function historyOf(trace: PickleValue, device: number, visit: Visit): HistoryEntry[] {
  checkFile(Array.isArray(trace), `the trace of device ${device} is no list`);
  let at = 0;
  const place: Place = { toString: () => `entry ${at} of device ${device}` };
  return trace.map((value, i) => {
    at = i;
    const entry = visit(value, place);
    return {
      device,
      action: textIn(entry, 'action'),
      address: sizeIn(entry, 'addr', place),
      bytes: sizeIn(entry, 'size', place),
      stream: sizeIn(entry, 'stream', place),
      timeUs: sizeIn(entry, 'time_us', place),
      tag: textIn(entry, 'user_metadata'),
      frames: entry['frames'],
    };
  });
}

function segmentsOf(list: readonly PickleValue[], visit: Visit): StateSegment[] {
  return list.map((value, i) => {
    const place = `segment ${i}`;
    const segment = visit(value, place);
    const device = sizeIn(segment, 'device', place);
    checkFile(device < MAX_DEVICES, `${place}: ${device} is no device`);
    return {
      device,
      address: sizeIn(segment, 'address', place),
      bytes: sizeIn(segment, 'total_size', place),
      stream: sizeIn(segment, 'stream', place),
      madeUp: segment[MADE_UP_KEY] === true,
      pool: poolOf(segment['segment_pool_id']),
      expandable: segment['is_expandable'] === true,
      small: textIn(segment, 'segment_type') === 'small',
      blocks: blocksOf(segment, place, visit),
    };
  });
}

/** The pool of a segment: two numbers, one for pools of captured graphs and one for those of programs. */
function poolOf(id: PickleValue | undefined): string {
  const text = Array.isArray(id) ? id.filter((part) => typeof part === 'number').join() : '';
  return text === '0,0' ? '' : text;
}

function blocksOf(segment: PickleDictionary, segmentPlace: string, visit: Visit): StateBlock[] {
  const blocks: StateBlock[] = [];
  let next = sizeIn(segment, 'address', segmentPlace);
  for (const [i, value] of listIn(segment, 'blocks', segmentPlace).entries()) {
    const place = `block ${i} of ${segmentPlace}`;
    const block = visit(value, place);
    const size = sizeIn(block, 'size', place);
    // Old snapshots leave a block's address out, and what was asked for.
    const address = sizeIn(block, 'address', place, next);
    next = address + size;
    if (block['state'] === 'inactive') continue;
    blocks.push({
      address,
      bytes: sizeIn(block, 'requested_size', place, size),
      blockBytes: size,
      inUse: block['state'] !== 'active_allocated',
      frames: block['frames'],
    });
  }
  return blocks;
}

function listIn(dictionary: PickleDictionary, key: string, place = 'the pickle is no snapshot'): readonly PickleValue[] {
  checkFile(!isMissing(dictionary, key), `${place}: it has no "${key}"`);
  const value = dictionary[key];
  checkFile(Array.isArray(value), `${place}: "${key}" is no list`);
  return value;
}

/** A number of a dictionary. @param missing - stands for one that is left out */
function sizeIn(dictionary: PickleDictionary, key: string, place: Place, missing = 0): number {
  const value = dictionary[key] ?? missing;
  if (!isSize(value)) throw new FormatFault(`${place}: "${key}" is no integer below 2^53`);
  return value;
}
