import { badArgument, checkArgument, MemoryError } from '../../../src/core/errors.js';
import { checkBytes, type DevicePtr, MiB } from '../../../src/core/units.js';
import { fillBytes, moveBytes } from '../../os/bytes.js';
import type { HostRanges } from '../host-ranges.js';
import { copyEnds, type LiveRange, type LiveRanges } from '../live-ranges.js';
import { checkDisjoint, checkFill, overlap } from '../range-checks.js';
import { untilDone } from '../until-done.js';
import type { GpuManaged, ManagedPlace } from './gpu-managed.js';
import { ImportedPages } from './gpu-page-sharing.js';
import { type GpuRange, ManagedSegment } from './gpu-ranges.js';
import type { CopyKind, GpuRuntime } from './gpu-runtime.js';
import type { GpuHandle, GpuStreams } from './gpu-streams.js';

/** A runtime that is loaded, and its GPUs. */
export interface OpenedGpu {
  readonly runtime: GpuRuntime;
  readonly streams: GpuStreams;
  readonly managed: GpuManaged;
  readonly deviceCount: number;
}

/** The ranges that a device knows. What lies in none is taken for memory of the host. */
export interface KnownRanges {
  readonly device: LiveRanges<GpuRange>;
  readonly host: HostRanges;
  readonly registered: LiveRanges<LiveRange>;
}

/** One end of a copy: on a device, or in memory of the host (`undefined`). */
type End = GpuRange | undefined;

const SCRATCH_BYTES = 4 * MiB;
const BETWEEN_DEVICES = 3;

/** Copies and fills. Derives the direction from the pointers, and checks both ranges first. */
export class GpuCopies {
  /** @param open - gives the runtime, or throws ERR_MEM_DEVICE_ABSENT */
  constructor(
    readonly open: () => OpenedGpu,
    readonly known: KnownRanges,
  ) {}

  /** Copies, and returns when it is done. */
  copy(target: DevicePtr, source: DevicePtr, bytes: number): void {
    const [to, from] = this.#ends(target, source, bytes);
    if (bytes === 0) return;
    const device = (to ?? from)?.device;
    if (device === undefined) {
      moveBytes(target, source, bytes);
      return;
    }
    const { runtime } = this.open();
    const kind = kindOf(to, from);
    runtime.on(device, () => {
      if (overlap(target, source, bytes)) this.#moveWithin(target, source, bytes);
      else runtime.call('Memcpy', target, source, bytes, kind);
      // A copy to the device may return when the bytes are staged, one within it at once.
      if (to !== undefined) runtime.call('StreamSynchronize', 0);
    });
  }

  /** Copies on a stream. */
  async copyAsync(target: DevicePtr, source: DevicePtr, bytes: number, stream: number): Promise<void> {
    const [to, from] = this.#ends(target, source, bytes);
    checkDisjoint(target, source, bytes);
    const on = this.#streamFor(stream, [to, from]);
    const { runtime } = this.open();
    if (bytes > 0) await this.#enqueue(on, () => runtime.call('MemcpyAsync', target, source, bytes, kindOf(to, from), on.handle));
  }

  /** Sets every byte of a range, and returns when it is done. */
  fill(ptr: DevicePtr, value: number, bytes: number): void {
    checkFill(value, bytes);
    if (bytes === 0) return;
    const range = this.known.device.find(ptr, bytes);
    if (range === undefined) {
      this.known.host.locate(ptr, bytes);
      fillBytes(ptr, value, bytes);
      return;
    }
    checkWritable(range, ptr);
    const { runtime } = this.open();
    runtime.on(range.device, () => {
      runtime.call('Memset', ptr, value, bytes);
      runtime.call('StreamSynchronize', 0);
    });
  }

  /** Fills device memory on a stream. */
  async fillAsync(ptr: DevicePtr, value: number, bytes: number, stream: number): Promise<void> {
    checkFill(value, bytes);
    const range = bytes === 0 ? undefined : this.known.device.locate(ptr, bytes);
    checkWritable(range, ptr);
    const on = this.#streamFor(stream, [range]);
    const { runtime } = this.open();
    if (bytes > 0) await this.#enqueue(on, () => runtime.call('MemsetAsync', ptr, value, bytes, on.handle));
  }

  /** Moves pages of managed memory on a stream. */
  async prefetchAsync(ptr: DevicePtr, bytes: number, to: ManagedPlace, stream: number): Promise<void> {
    const { managed } = this.open();
    managed.locate(ptr, bytes);
    const on = this.#streamFor(stream, []);
    if (bytes > 0) await this.#enqueue(on, () => managed.prefetch(ptr, bytes, to, on.handle));
  }

  /** Checks both ends of a copy. @returns where each is */
  #ends(target: DevicePtr, source: DevicePtr, bytes: number): [to: End, from: End] {
    checkBytes(bytes);
    if (bytes === 0) return [undefined, undefined];
    const [to, from] = copyEnds(target, source, (ptr) => this.#find(ptr, bytes));
    checkWritable(to, target);
    return [to === 'host' ? undefined : to, from === 'host' ? undefined : from];
  }

  /** Finds the range of these bytes; undefined for memory of the caller. */
  #find(ptr: DevicePtr, bytes: number): GpuRange | 'host' | undefined {
    const range = this.known.device.find(ptr, bytes);
    if (range !== undefined) return range;
    if ((this.known.host.find(ptr, bytes) ?? this.known.registered.find(ptr, bytes)) !== undefined) return 'host';
    // A range that begins where device memory ends has run past it, unless the runtime knows host memory there.
    const ended = this.known.device.containing((ptr - 1) as DevicePtr);
    if (ended === undefined) return undefined;
    const { runtime } = this.open();
    if (runtime.isHostMemory(ptr) && runtime.isHostMemory(ptr + bytes - 1)) return undefined;
    throw new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: ptr - ended.base, bytes, blockBytes: ended.bytes });
  }

  /** The stream that works on these ranges. */
  #streamFor(stream: number, places: readonly End[]): GpuHandle {
    const on = this.open().streams.find(stream);
    const ends = places.filter((end) => end !== undefined);
    if (stream === 0) return { handle: 0, device: ends[0]?.device ?? on.device };
    // Managed memory is every device's.
    const devices = ends.filter((end) => !(end instanceof ManagedSegment)).map(({ device }) => device);
    if (devices.length === 0 || devices.includes(on.device)) return on;
    throw badArgument('stream', `${stream} of device ${on.device}`, `a stream of device ${devices.join(' or ')}`);
  }

  /** Copies between ranges that overlap, through scratch memory: the runtime's own copy does not allow it. */
  #moveWithin(target: number, source: number, bytes: number): void {
    const { runtime } = this.open();
    const scratch = runtime.malloc(Math.min(bytes, SCRATCH_BYTES));
    // Without scratch memory it copies in steps that do not overlap, however small.
    const step = Math.min(bytes, scratch === 0 ? Math.abs(target - source) : SCRATCH_BYTES);
    try {
      for (let done = 0; step > 0 && done < bytes; done += step) {
        const size = Math.min(step, bytes - done);
        // From the end that is not overwritten first.
        const offset = target > source ? bytes - done - size : done;
        if (scratch !== 0) runtime.call('Memcpy', scratch, source + offset, size, BETWEEN_DEVICES);
        runtime.call('Memcpy', target + offset, scratch === 0 ? source + offset : scratch, size, BETWEEN_DEVICES);
      }
    } finally {
      if (scratch !== 0) runtime.leftovers.drop(() => runtime.free(scratch));
    }
  }

  async #enqueue(on: GpuHandle, work: () => void): Promise<void> {
    const { runtime, streams } = this.open();
    if (streams.isCapturing(on)) {
      runtime.on(on.device, work);
      return;
    }
    const { handle: event } = streams.recordAfter(on, work);
    try {
      await untilDone(() => runtime.eventQuery(event));
    } finally {
      runtime.leftovers.drop(() => runtime.call('EventDestroy', event));
    }
  }
}

/** @throws ERR_MEM_INVALID_ARGUMENT for memory that was opened to be read */
function checkWritable(range: End | 'host', ptr: DevicePtr): void {
  const isReadOnly = range instanceof ImportedPages && range.isReadOnly;
  checkArgument(!isReadOnly, 'target', ptr, 'memory that was not imported as read-only');
}

function kindOf(to: End, from: End): CopyKind {
  return ((to === undefined ? 0 : 1) + (from === undefined ? 0 : 2)) as CopyKind;
}
