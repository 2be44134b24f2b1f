import { alignUp, type DevicePtr } from '../../../src/core/units.js';
import { HostRange, RetiredRanges } from '../host-ranges.js';
import type { OpenClContext } from './opencl-context.js';

/** Read and write: of shared virtual memory and of buffers. @see Source: CL/cl.h */
export const CL_MEM_READ_WRITE = 1;
const CL_MEM_SVM_FINE_GRAIN_BUFFER = 0x400;

/**
 * What every allocation is aligned to: the size of the largest type, a long16. An alignment above it is refused by
 * libraries (PoCL's, for one), so it is reached by allocating more.
 */
const SVM_ALIGNMENT = 128;

/** One allocation of shared virtual memory. */
export class SvmSegment extends HostRange {
  constructor(
    readonly memory: SvmMemory,
    /** What clSVMAlloc gave: the segment begins at the first address in it that is aligned as wished. */
    readonly address: number,
    readonly allocatedBytes: number,
    place: { base: DevicePtr; bytes: number },
  ) {
    super(place.base, place.bytes);
  }
}

/**
 * The shared virtual memory of one device, within its capacity.
 *
 * A segment that JavaScript still holds an array of is kept when it is freed: a touch of memory that went back would
 * crash. It serves the next request of the same size, or goes back when the array was collected:
 * `capacity.liveBytes == sum(segment.allocatedBytes) + sum(kept) + buffers`.
 */
export class SvmMemory {
  /** Freed segments that wait for their arrays to be collected. */
  readonly kept = new RetiredRanges(0);
  liveSegments = 0;

  constructor(
    readonly context: OpenClContext,
    /** Whether the host may touch the memory at any time, or only what is mapped. */
    readonly fineGrain: boolean,
  ) {}

  /**
   * Allocates a segment.
   *
   * @param bytes - above 0
   * @param alignment - bytes, a power of two, or 0
   * @returns undefined when there is no room
   */
  allocate(bytes: number, alignment: number): SvmSegment | undefined {
    const allocatedBytes = bytes + Math.max(0, alignment - SVM_ALIGNMENT);
    const kept = this.kept.take(`${allocatedBytes}`, allocatedBytes);
    const address = kept?.base ?? this.#allocate(allocatedBytes);
    if (address === 0) return undefined;
    const base = alignUp(address, Math.max(alignment, 1)) as DevicePtr;
    const segment = new SvmSegment(this, address, allocatedBytes, { base, bytes });
    if (kept !== undefined) segment.replace(kept.held);
    this.liveSegments++;
    return segment;
  }

  /** Gives a segment's memory back, or keeps it. Nothing may work on it any more. */
  free({ address, allocatedBytes, viewed, held }: SvmSegment): void {
    const { cl, handle, capacity } = this.context;
    const release = () => {
      cl.clSVMFree(handle, address);
      capacity.give(allocatedBytes);
    };
    this.liveSegments--;
    if (viewed) this.kept.put({ base: address as DevicePtr, held }, `${allocatedBytes}`, allocatedBytes, release);
    else release();
  }

  #allocate(bytes: number): number {
    const { cl, handle, facts, capacity } = this.context;
    if (bytes > facts.maxAllocBytes || !capacity.admits(bytes)) return 0;
    const flags = CL_MEM_READ_WRITE | (this.fineGrain ? CL_MEM_SVM_FINE_GRAIN_BUFFER : 0);
    const address = cl.clSVMAlloc(handle, flags, bytes, SVM_ALIGNMENT);
    if (address !== 0) capacity.take(bytes);
    return address;
  }
}
