import { alignUp, type DevicePtr } from '../../../src/core/units.js';
import type { OpenClContext } from './opencl-context.js';
import { isViewed, type SvmAllocation, SvmSegment } from './svm-segment.js';

const CL_MEM_READ_WRITE = 1;
const CL_MEM_SVM_FINE_GRAIN_BUFFER = 0x400;

/**
 * What every allocation is aligned to: the size of the largest type, a long16. An alignment above it is refused by
 * libraries (PoCL's, for one), so it is reached by allocating more.
 */
export const SVM_ALIGNMENT = 128;

/**
 * The shared virtual memory of one device, within its budget.
 *
 * A segment that JavaScript still holds an array of is kept when it is freed, and serves the next request of the same
 * size, or goes back when the array was collected: `budget.liveBytes == sum(segment.bytes) + sum(kept.bytes) + buffers`.
 */
export class SvmMemory {
  readonly context: OpenClContext;
  readonly #fineGrain: boolean;
  readonly #kept: SvmAllocation[] = [];
  #liveSegments = 0;

  constructor(context: OpenClContext, fineGrain: boolean) {
    this.context = context;
    this.#fineGrain = fineGrain;
  }

  get liveSegments(): number {
    return this.#liveSegments;
  }

  /** Bytes of freed segments that wait for their arrays to be collected. */
  get keptBytes(): number {
    return this.#kept.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Allocates a segment.
   *
   * @param bytes - above 0
   * @param alignment - bytes, a power of two, or 0
   * @returns undefined when there is no room
   */
  allocate(bytes: number, alignment: number): SvmSegment | undefined {
    const slack = Math.max(0, alignment - SVM_ALIGNMENT);
    const allocation = this.#takeKept(bytes + slack) ?? this.#allocate(bytes + slack);
    if (allocation === undefined) return undefined;
    this.#liveSegments++;
    const base = alignUp(allocation.address, Math.max(alignment, 1)) as DevicePtr;
    return new SvmSegment(this.context, allocation, { base, bytes, fineGrain: this.#fineGrain });
  }

  /** Gives a segment's memory back, or keeps it. Nothing may work on it any more. */
  free({ allocation }: SvmSegment): void {
    this.#liveSegments--;
    if (isViewed(allocation)) this.#kept.push(allocation);
    else this.#release(allocation);
  }

  /** Gives back what was kept for arrays that are gone. Cost: O(kept). @returns whether that was anything */
  reclaim(): boolean {
    const before = this.#kept.length;
    for (const allocation of this.#kept.splice(0)) {
      if (isViewed(allocation)) this.#kept.push(allocation);
      else this.#release(allocation);
    }
    return this.#kept.length < before;
  }

  #takeKept(bytes: number): SvmAllocation | undefined {
    const index = this.#kept.findIndex((allocation) => allocation.bytes === bytes);
    return index === -1 ? undefined : this.#kept.splice(index, 1)[0];
  }

  #allocate(bytes: number): SvmAllocation | undefined {
    const { cl, handle, facts, budget } = this.context;
    if (bytes > facts.maxAllocBytes) return undefined;
    if (!budget.admits(bytes) && !(this.reclaim() && budget.admits(bytes))) return undefined;
    const flags = CL_MEM_READ_WRITE | (this.#fineGrain ? CL_MEM_SVM_FINE_GRAIN_BUFFER : 0);
    const allocate = () => cl.clSVMAlloc(handle, flags, bytes, SVM_ALIGNMENT);
    let address = allocate();
    if (address === 0 && this.reclaim()) address = allocate();
    if (address === 0) return undefined;
    budget.take(bytes);
    return { address, bytes, views: new Set() };
  }

  #release({ address, bytes }: SvmAllocation): void {
    const { cl, handle, budget } = this.context;
    cl.clSVMFree(handle, address);
    budget.give(bytes);
  }
}
