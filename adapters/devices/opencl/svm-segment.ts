import { MemoryError } from '../../../src/core/errors.js';
import type { DevicePtr } from '../../../src/core/units.js';
import { HostRange } from '../host-ranges.js';
import { badArgument } from '../range-checks.js';
import type { OpenClContext } from './opencl-context.js';

/** What clSVMAlloc gave: a segment lies in it, at the first address that is aligned as wished. */
export interface SvmAllocation {
  readonly address: number;
  readonly bytes: number;
  /** Arrays that JavaScript may still hold. While one exists, the memory cannot go back: a touch would crash. */
  readonly views: Set<WeakRef<ArrayBufferLike>>;
}

/** Tells whether an array over the memory still exists, and forgets those that do not. */
export function isViewed({ views }: SvmAllocation): boolean {
  for (const view of views) if (view.deref() === undefined) views.delete(view);
  return views.size > 0;
}

/** A part of a range of memory. */
export interface RangePart {
  readonly offset: number;
  readonly bytes: number;
}

/** Where a segment lies in its allocation, and how the host sees it. */
export interface SegmentShape {
  readonly base: DevicePtr;
  readonly bytes: number;
  /** Whether the host may touch it at any time, or only what is mapped. */
  readonly fineGrain: boolean;
}

/** One allocation of shared virtual memory. */
export class SvmSegment extends HostRange {
  readonly context: OpenClContext;
  readonly allocation: SvmAllocation;
  readonly #fineGrain: boolean;
  readonly #mapped = new Set<RangePart>();

  constructor(context: OpenClContext, allocation: SvmAllocation, { base, bytes, fineGrain }: SegmentShape) {
    super(base, bytes);
    this.context = context;
    this.allocation = allocation;
    this.#fineGrain = fineGrain;
  }

  /** Lets the host touch a part. */
  addMapped(part: RangePart): void {
    this.#mapped.add(part);
  }

  removeMapped(part: RangePart): void {
    this.#mapped.delete(part);
  }

  /** Throws when any byte of a part is mapped: OpenCL does not define two mappings of one byte. @throws ERR_MEM_INVALID_ARGUMENT */
  checkUnmapped({ offset, bytes }: RangePart): void {
    for (const part of this.#mapped) {
      if (offset + bytes <= part.offset || part.offset + part.bytes <= offset) continue;
      throw badArgument('ptr', `${this.base + offset}, mapped already in part`, 'memory that is not mapped');
    }
  }

  /** Throws unless the host may touch the bytes, which lie inside the segment. @throws ERR_MEM_UNSUPPORTED_PLATFORM */
  checkVisible({ offset, bytes }: RangePart): void {
    if (this.#fineGrain) return;
    for (const part of this.#mapped) if (part.offset <= offset && offset + bytes <= part.offset + part.bytes) return;
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', {
      what: 'a view of device memory that is not mapped',
      platform: 'opencl',
    });
  }

  override checkUsable(): void {}

  protected override prepareView(): void {}

  override view(offset: number, bytes: number): Uint8Array {
    const view = super.view(offset, bytes);
    const { views } = this.allocation;
    for (const known of views) if (known.deref() === view.buffer) return view;
    views.add(new WeakRef(view.buffer));
    return view;
  }
}
