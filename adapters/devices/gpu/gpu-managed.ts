import { checkArgument, MemoryError } from '../../../src/core/errors.js';
import { checkBytes, type DevicePtr } from '../../../src/core/units.js';
import { structType } from '../../ffi/c-types.js';
import { placeKey, type SegmentPlace } from '../host-segments.js';
import type { LiveRanges } from '../live-ranges.js';
import { findFunction } from './gpu-functions.js';
import { type GpuRange, ManagedSegment } from './gpu-ranges.js';
import type { GpuRuntime } from './gpu-runtime.js';
import type { StatusFunction } from './gpu-status.js';

/** What a program says of its use of managed memory. The second of each two undoes the first. */
export type ManagedAdvice = 'read-mostly' | 'not-read-mostly' | 'preferred' | 'not-preferred' | 'accessed-by' | 'not-accessed-by';

// The same numbers in CUDA and HIP. @see Source: driver_types.h, hip_runtime_api.h
const ADVICE: Readonly<Record<ManagedAdvice, number>> = {
  'read-mostly': 1,
  'not-read-mostly': 2,
  preferred: 3,
  'not-preferred': 4,
  'accessed-by': 5,
  'not-accessed-by': 6,
};

/** A device by its id, or this machine's memory. */
export type ManagedPlace = number | 'host';

// A place is a struct from CUDA 13 on, and a number before and in HIP, where it is -1 for the host.
const PLACES_AS_STRUCTS = 13000;
const LOCATION = { type: 'int', id: 'int' };
const ON_DEVICE = 1;
const ON_HOST = 2;

/** Managed memory: what was viewed is kept when it is freed; where the driver puts pages can be guided. */
export class GpuManaged {
  readonly #runtime: GpuRuntime;
  readonly #ranges: LiveRanges<GpuRange>;
  /** Memory that was viewed, by place: it is never given back, only used again. */
  readonly #kept = new Map<string, ManagedSegment[]>();
  #prefetch: StatusFunction | undefined;
  #advise: StatusFunction | undefined;
  #hasStructs: boolean | undefined;

  constructor(runtime: GpuRuntime, ranges: LiveRanges<GpuRange>) {
    this.#runtime = runtime;
    this.#ranges = ranges;
  }

  get keptBytes(): number {
    return [...this.#kept.values()].flat().reduce((bytes, { place }) => bytes + place.mappedBytes, 0);
  }

  /** Takes memory of that size that was kept. */
  takeKept(place: SegmentPlace): ManagedSegment | undefined {
    return this.#kept.get(placeKey(place))?.pop();
  }

  /** Gives a segment back after all work of every device, or keeps it. @throws ERR_MEM_NATIVE */
  free(segment: ManagedSegment): void {
    this.#runtime.synchronizeAll();
    if (!segment.viewed) {
      this.#runtime.on(segment.device, () => this.#runtime.free(segment.nativeAddress));
      return;
    }
    const key = placeKey(segment.place);
    const kept = this.#kept.get(key) ?? [];
    this.#kept.set(key, kept);
    kept.push(segment);
  }

  /** Finds managed memory. @throws ERR_MEM_UNKNOWN_POINTER for other memory, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE */
  locate(ptr: DevicePtr, bytes: number): ManagedSegment {
    checkBytes(bytes);
    const range = this.#ranges.locate(ptr, bytes);
    if (range instanceof ManagedSegment) return range;
    throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
  }

  /** Enqueues the move of pages on a stream. */
  prefetch(ptr: DevicePtr, bytes: number, to: ManagedPlace, stream: number): void {
    this.#prefetch ??= findFunction(this.#runtime, 'MemPrefetchAsync', [
      'uintptr_t',
      'size_t',
      ...(this.#placesAreStructs ? [structType(LOCATION), 'uint32_t'] : ['int']),
      'uintptr_t',
    ]);
    const place = this.#placesAreStructs ? [location(to), 0] : [deviceNumber(to)];
    this.#check('MemPrefetchAsync', this.#prefetch(ptr, bytes, ...place, stream));
  }

  /** Tells the driver how pages will be used. @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  advise(ptr: DevicePtr, bytes: number, advice: ManagedAdvice, of: ManagedPlace): void {
    const isKnown = Object.hasOwn(ADVICE, advice);
    checkArgument(isKnown, 'advice', String(advice), `one of ${Object.keys(ADVICE).join(', ')}`);
    this.locate(ptr, bytes);
    if (bytes === 0) return;
    this.#advise ??= findFunction(this.#runtime, 'MemAdvise', [
      'uintptr_t',
      'size_t',
      'int',
      this.#placesAreStructs ? structType(LOCATION) : 'int',
    ]);
    const place = this.#placesAreStructs ? location(of) : deviceNumber(of);
    this.#check('MemAdvise', this.#advise(ptr, bytes, ADVICE[advice], place));
  }

  get #placesAreStructs(): boolean {
    const { dialect } = this.#runtime.status;
    return (this.#hasStructs ??= dialect.hasEntryPoints && this.#runtime.versions().runtime >= PLACES_AS_STRUCTS);
  }

  #check(name: string, status: number): void {
    this.#runtime.status.check(`${this.#runtime.status.dialect.prefix}${name}`, status);
  }
}

function location(place: ManagedPlace): { readonly type: number; readonly id: number } {
  return place === 'host' ? { type: ON_HOST, id: 0 } : { type: ON_DEVICE, id: place };
}

function deviceNumber(place: ManagedPlace): number {
  return place === 'host' ? -1 : place;
}
