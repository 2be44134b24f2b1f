import { processState } from './process-state.js';

/** The tag of the allocation that is being made, for managers that keep statistics by tag; undefined for none. */
export function allocationTag(): string | undefined {
  return processState().allocationTag;
}

/** Makes the allocations of a synchronous `fn` with a tag. */
export function withAllocationTag<T>(tag: string, fn: () => T): T {
  const state = processState();
  const before = state.allocationTag;
  state.allocationTag = tag;
  try {
    return fn();
  } finally {
    state.allocationTag = before;
  }
}
