import type { DevicePtr } from '../core/units.js';
import { type TraceEvents, TraceKind } from '../trace/trace-events.js';
import type { ObservedRun } from './observe-run.js';
import { RunObserver } from './run-observer.js';

/**
 * Shows a trace as it was recorded, without a replay: its own addresses, segments and managers. Undefined for a trace
 * that has no native events or no addresses. Sizes are those that were asked for: rounding is not recorded.
 * Cost: O(events).
 */
export function observeRecording(trace: TraceEvents): ObservedRun | undefined {
  if (trace.pointers === undefined || trace.count(TraceKind.nativeAlloc) === 0) return undefined;
  const observer = new RunObserver(trace, (_, requestedBytes) => requestedBytes);
  const segmented = hasWholeSegments(trace);
  for (let event = 0; event < trace.length; event++) {
    const ptr = trace.pointerOf(event) as DevicePtr;
    const bytes = trace.bytesOf(event);
    const kind = trace.kindOf(event);
    if (kind === TraceKind.alloc) observer.allocated(event, trace.slotOf(event), ptr, bytes);
    else if (kind === TraceKind.free) observer.freed(event, trace.slotOf(event));
    else {
      if (kind === TraceKind.nativeAlloc) observer.nativeAllocated(ptr, bytes, !segmented);
      else if (kind === TraceKind.nativeFree) observer.nativeFreed(ptr, segmented ? undefined : bytes);
      observer.passed(event);
    }
  }
  return { name: `recorded: ${managersOf(trace)}`, device: 'as recorded', observer, failure: undefined, nsPerEvent: undefined };
}

/** Tells whether every native free gave back a whole native allocation; managers of pages give back parts. */
function hasWholeSegments(trace: TraceEvents): boolean {
  const bytesAt = new Map<number, number>();
  for (let event = 0; event < trace.length; event++) {
    const kind = trace.kindOf(event);
    const ptr = trace.pointerOf(event);
    if (kind === TraceKind.nativeAlloc) bytesAt.set(ptr, trace.bytesOf(event));
    else if (kind === TraceKind.nativeFree) {
      if (bytesAt.get(ptr) !== trace.bytesOf(event)) return false;
      bytesAt.delete(ptr);
    }
  }
  return true;
}

/** The names of the managers that allocated, in order of their first allocation. */
function managersOf(trace: TraceEvents): string {
  const ids = new Set(trace.managers?.filter((_, event) => trace.isAlloc(event)));
  const names = Array.from(ids, (id) => trace.strings.get(id)).filter((name) => name !== '');
  return names.join(' -> ') || 'unknown manager';
}
