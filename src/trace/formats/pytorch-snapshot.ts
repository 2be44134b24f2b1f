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

/** A block that is allocated at the end; its bytes are those that the program asked for, where the snapshot tells them. */
export type StateBlock = Pick<HistoryEntry, 'address' | 'bytes' | 'frames'>;

/** A segment that is reserved at the end; of an expandable one, what is mapped without a gap. */
export interface StateSegment extends Pick<HistoryEntry, 'device' | 'address' | 'bytes' | 'stream'> {
  /** True for addresses that no native call of this library's trace covered. */
  readonly madeUp: boolean;
  readonly blocks: readonly StateBlock[];
}

/** The content of a snapshot: the state at its end, and the last part of the history before it. */
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
  const visit = visits(mostVisits);
  if (Array.isArray(value)) return { segments: segmentsOf(value, visit), histories: [] };
  checkFile(isDictionary(value), 'the pickle is no snapshot: it is no dictionary and no list');
  const segments = segmentsOf(listIn(value, 'segments'), visit);
  const traces = listIn(value, 'device_traces');
  checkFile(traces.length <= MAX_DEVICES, `there are traces of ${traces.length} devices`);
  return { segments, histories: traces.map((trace, device) => historyOf(trace, device, visit)) };
}

/** Takes a value for a dictionary. @param place - of the value, for messages */
type Visit = (value: PickleValue, place: string) => PickleDictionary;

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
  return trace.map((value, i) => {
    const place = `entry ${i} of device ${device}`;
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
      blocks: blocksOf(segment, place, visit),
    };
  });
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
    if (block['state'] !== 'active_allocated') continue;
    blocks.push({ address, bytes: sizeIn(block, 'requested_size', place, size), frames: block['frames'] });
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
function sizeIn(dictionary: PickleDictionary, key: string, place: string, missing = 0): number {
  const value = dictionary[key] ?? missing;
  if (!isSize(value)) throw new FormatFault(`${place}: "${key}" is no integer below 2^53`);
  return value;
}

/** A line of a program, as PyTorch's snapshots have it. */
export interface Frame {
  readonly name: string;
  readonly filename: string;
  readonly line: number;
}

const LINE = /^(?:at )?(?:(.*) \()?(.*?):(\d+)(?::\d+)?\)?$/;

/** The frames of a site: V8's stack lines, or what {@link siteOfFrames} made. */
export function framesOfSite(site: string): Frame[] {
  if (site === '') return [];
  return site.split('\n').map((text) => {
    const [, name = '', filename, line] = LINE.exec(text.trim()) ?? [];
    return filename === undefined ? { name: text, filename: '', line: 0 } : { name, filename, line: Number(line) };
  });
}

/** A site of frames, in the form of V8's stack lines. */
export function siteOfFrames(frames: readonly Frame[]): string {
  return frames
    .map(({ name, filename, line }) =>
      filename === '' ? name : name === '' ? `at ${filename}:${line}` : `at ${name} (${filename}:${line})`,
    )
    .join('\n');
}
