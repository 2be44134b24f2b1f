import { formatRegion, type PageAllocatorInit, type PageAllocatorOptions } from '../pages/format.js';
import type { SharedRegion } from '../shared-region.js';
import { PageAllocator } from './page-allocator.js';

const TYPE_CODE = 1;

/**
 * One table of page lists for all threads, behind the region's lock. What is freed is there for everybody at once and joins
 * its neighbours; every call takes the lock.
 */
export class ScalablePageAllocator extends PageAllocator {
  static readonly type = 'scalable-page';
  readonly type = ScalablePageAllocator.type;

  private constructor(region: SharedRegion, options: PageAllocatorOptions) {
    super(region, TYPE_CODE, options);
  }

  /** Makes an allocator in a region that holds none. @throws ERR_MEM_INVALID_ARGUMENT */
  static shmInit(region: SharedRegion, init: PageAllocatorInit): ScalablePageAllocator {
    formatRegion(region, TYPE_CODE, init);
    return new ScalablePageAllocator(region, init);
  }

  /** Opens the allocator that another thread has made in the region. @throws ERR_MEM_REGION_DAMAGED when there is none such */
  static shmDeserialize(region: SharedRegion, options: PageAllocatorOptions = {}): ScalablePageAllocator {
    return new ScalablePageAllocator(region, options);
  }
}
