import { ConfText, type ConfToken } from '../../src/core/conf-text.js';
import { isPowerOfTwo, MiB } from '../../src/core/units.js';
import { LARGE_SEGMENT_BYTES } from '../policy/segment-sizes.js';

/** For requests below 2 MiB, below 4 MiB and so on, and from 32 GiB on. */
const ROUNDUP_INTERVALS = 16;

/** What a configuration of PyTorch's allocator says about memory. */
export interface PyTorchSettings {
  /** Segments are address ranges that grow, one for each stream and pool. @defaultValue false */
  readonly expandableSegments: boolean;
  /**
   * Into how many sizes the way from one power of two to the next is divided: for requests below 2 MiB, below 4 MiB and so on,
   * the last for those from 32 GiB on. 0 and 1 stand for multiples of 512 bytes. @defaultValue sixteen times 0
   */
  readonly roundupPower2Divisions: readonly number[];
  /** Blocks of this size and above are not cut, and are left to requests of this size and above. @defaultValue Infinity */
  readonly maxSplitSizeBytes: number;
  /** By how much a block that is not cut may be too large. @defaultValue 20 MiB */
  readonly maxNonSplitRoundingBytes: number;
  /** The share of the limit above which cached blocks are given back by age; 0 for none. It needs a limit. @defaultValue 0 */
  readonly garbageCollectionThreshold: number;
  /** The segment that blocks of 1 to 10 MiB are cut from; the piece by which an expandable one grows. @defaultValue 20 MiB */
  readonly largeSegmentSizeBytes: number;
  /** The share of the device's memory that may be reserved. @defaultValue undefined, no limit */
  readonly perProcessMemoryFraction: number | undefined;
}

/** The settings of an empty configuration. */
export const DEFAULT_SETTINGS: PyTorchSettings = {
  expandableSegments: false,
  roundupPower2Divisions: new Array<number>(ROUNDUP_INTERVALS).fill(0),
  maxSplitSizeBytes: Number.POSITIVE_INFINITY,
  maxNonSplitRoundingBytes: LARGE_SEGMENT_BYTES,
  garbageCollectionThreshold: 0,
  largeSegmentSizeBytes: LARGE_SEGMENT_BYTES,
  perProcessMemoryFraction: undefined,
};

/** A configuration that was read. */
export interface ParsedAllocConf {
  readonly settings: PyTorchSettings;
  /** Keys that are known and change no memory of the device, as they stand in the text. */
  readonly ignored: readonly string[];
}

/** Keys that change pinned memory of the host, or when a call waits, and no memory of the device. */
const WITHOUT_EFFECT = new Set([
  'graph_capture_record_stream_reuse',
  'pinned_free_catch_all',
  'pinned_max_power2_size_mb',
  'pinned_max_round_threshold_mb',
  'pinned_num_register_threads',
  'pinned_reserve_segment_size_mb',
  'pinned_use_background_threads',
  'pinned_use_cuda_host_register',
  'pinned_use_hip_host_register',
  'release_lock_on_cudamalloc',
  'release_lock_on_hipmalloc',
]);

/**
 * Reads a value of `PYTORCH_ALLOC_CONF` (also `PYTORCH_CUDA_ALLOC_CONF`), such as `max_split_size_mb:128,expandable_segments:True`.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT with the place, for what PyTorch would refuse, for an unknown key, and for a backend whose
 *   placement is the driver's
 * @see Source: PyTorch, docs/source/notes/cuda.rst
 */
export function parseAllocConf(text: string): ParsedAllocConf {
  return new ConfReader(text).read();
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

class ConfReader {
  readonly #text: ConfText;
  /** The value of max_split_size_mb. */
  #splitSize: ConfToken | undefined;
  readonly #settings: Writable<PyTorchSettings> = { ...DEFAULT_SETTINGS };
  readonly #readers: Readonly<Record<string, () => void>> = {
    backend: () => this.#readBackend(),
    expandable_segments: () => (this.#settings.expandableSegments = this.#text.takeBoolean()),
    garbage_collection_threshold: () =>
      (this.#settings.garbageCollectionThreshold = this.#readShare('above 0 and below 1', (share) => share > 0 && share < 1)),
    large_segment_size_mb: () => (this.#settings.largeSegmentSizeBytes = this.#readMebibytes(2)),
    max_non_split_rounding_mb: () => (this.#settings.maxNonSplitRoundingBytes = this.#readMebibytes(20)),
    max_split_size_mb: () => {
      this.#splitSize = this.#text.upcoming;
      this.#settings.maxSplitSizeBytes = this.#readMebibytes(20);
    },
    per_process_memory_fraction: () =>
      (this.#settings.perProcessMemoryFraction = this.#readShare('from 0 to 1', (share) => share <= 1)),
    roundup_power2_divisions: () => (this.#settings.roundupPower2Divisions = this.#readDivisions()),
  };

  constructor(text: string) {
    this.#text = new ConfText('PYTORCH_ALLOC_CONF', text);
  }

  read(): ParsedAllocConf {
    const ignored: string[] = [];
    while (this.#text.hasMore) {
      const key = this.#text.take();
      const read = Object.hasOwn(this.#readers, key.text) ? this.#readers[key.text] : undefined;
      if (read === undefined && !WITHOUT_EFFECT.has(key.text)) {
        const keys = Object.keys(this.#readers);
        const advice = `Those that change memory are ${keys.join(', ')}`;
        throw this.#text.unknownKey(key, [...keys, ...WITHOUT_EFFECT], advice);
      }
      this.#text.expect(':');
      if (read === undefined) ignored.push(`${key.text}:${this.#readAnything()}`);
      else read();
      if (this.#text.hasMore) this.#text.expect(',');
    }
    const { maxSplitSizeBytes, largeSegmentSizeBytes } = this.#settings;
    if (this.#splitSize !== undefined && maxSplitSizeBytes < largeSegmentSizeBytes) {
      throw this.#text.refusal(this.#splitSize, `at least large_segment_size_mb, which is ${largeSegmentSizeBytes / MiB}`);
    }
    return { settings: this.#settings, ignored };
  }

  #readBackend(): void {
    const backend = this.#text.take();
    if (backend.text === 'native') return;
    const expected =
      backend.text === 'cudaMallocAsync'
        ? 'native: with cudaMallocAsync the driver places blocks, by rules that nobody outside knows'
        : 'native';
    throw this.#text.refusal(backend, expected);
  }

  #readShare(range: string, isInRange: (share: number) => boolean): number {
    const token = this.#text.take();
    const share = /^(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(token.text) ? Number(token.text) : Number.NaN;
    if (isInRange(share)) return share;
    throw this.#text.refusal(token, `a number ${range}, such as 0.8`);
  }

  #readAnything(): string {
    const token = this.#text.take();
    if (!/^[,:[\]]?$/.test(token.text)) return token.text;
    throw this.#text.refusal(token, 'a value');
  }

  #readMebibytes(least: number): number {
    const token = this.#text.take();
    const mebibytes = integerOf(token);
    if (mebibytes >= least && Number.isSafeInteger(mebibytes * MiB)) return mebibytes * MiB;
    throw this.#text.refusal(token, `a number of MiB of at least ${least}`);
  }

  #readDivisions(): number[] {
    const divisions = [...DEFAULT_SETTINGS.roundupPower2Divisions];
    const token = this.#text.take();
    if (token.text !== '[') return divisions.fill(this.#divisionsOf(token));
    let last = -1;
    for (let separator = ','; separator === ','; ) {
      const size = this.#text.take();
      this.#text.expect(':');
      const count = this.#divisionsOf(this.#text.take());
      if (size.text === '>') divisions.fill(count, last + 1);
      else {
        const interval = Math.log2(integerOf(size));
        if (!Number.isInteger(interval) || interval <= last) {
          throw this.#text.refusal(size, 'a power of two, in MiB, larger than the one before it, or > at the end');
        }
        if (last < 0) divisions.fill(count, 0, interval);
        if (interval < ROUNDUP_INTERVALS) divisions[interval] = count;
        last = interval;
      }
      const next = this.#text.take();
      if (next.text !== ']' && (next.text !== ',' || size.text === '>'))
        throw this.#text.refusal(next, size.text === '>' ? ']' : ', or ]');
      separator = next.text;
    }
    return divisions;
  }

  #divisionsOf(token: ConfToken): number {
    const count = integerOf(token);
    if (count === 0 || isPowerOfTwo(count)) return count;
    throw this.#text.refusal(token, 'a power of two, or 0');
  }
}

function integerOf({ text }: ConfToken): number {
  return /^\d+$/.test(text) ? Number(text) : Number.NaN;
}
