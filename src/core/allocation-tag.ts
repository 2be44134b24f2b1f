import { processState } from './process-state.js';

/** The tag of the allocation that is being made, for managers that keep statistics by tag; undefined for none. */
export function allocationTag(): string | undefined {
  return processState().allocationTag;
}

/** Tags the allocations that follow. @returns the tag before, which the caller sets again */
export function setAllocationTag(tag: string | undefined): string | undefined {
  const state = processState();
  const before = state.allocationTag;
  state.allocationTag = tag;
  return before;
}

/** Makes the allocations of a synchronous `fn` with a tag. */
export function withAllocationTag<T>(tag: string, fn: () => T): T {
  const before = setAllocationTag(tag);
  try {
    return fn();
  } finally {
    setAllocationTag(before);
  }
}
