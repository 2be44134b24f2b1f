import { checkArgument } from '../core/errors.js';
import { NO_SLOT, type TraceEvents, TraceKind } from '../trace/trace-events.js';

/** What a program asked of one device, as a trace has it. */
export class RecordedProgram {
  readonly events: TraceEvents;
  readonly device: number;
  /** Allocations of the trace on other devices. */
  readonly leftOut: number;
  /** The last event that allocated; -1 for none. */
  readonly lastAllocation: number;
  /** 1 for a free that another event completes; undefined where all frees are complete at once. */
  readonly #pending: Uint8Array | undefined;

  /**
   * @param device - by default that with the most allocations
   * @throws ERR_MEM_INVALID_ARGUMENT for a device that the trace allocates nothing on
   */
  constructor(events: TraceEvents, device?: number) {
    this.events = events;
    const allocations = allocationsByDevice(events);
    const [busiest = 0] = [...allocations.keys()].sort((a, b) => allocations.get(b)! - allocations.get(a)! || a - b);
    this.device = device ?? busiest;
    const expected = `one of ${[...allocations.keys()].sort((a, b) => a - b).join(', ')}`;
    checkArgument(device === undefined || allocations.has(device), 'device', device, expected);
    this.leftOut = events.allocations - (allocations.get(this.device) ?? 0);
    this.lastAllocation = events.kinds.findLastIndex((kind, i) => kind === TraceKind.alloc && !this.isForeign(i));
    this.#pending = events.count(TraceKind.freeCompleted) === 0 ? undefined : pendingFrees(events);
  }

  /** Whether an event is of another device, or of pinned memory of the host. */
  isForeign(event: number): boolean {
    const { devices, spaces } = this.events;
    if (devices !== undefined && devices[event] !== this.device) return true;
    return spaces !== undefined && this.events.spaceOf(event).startsWith('pinned');
  }

  /** Whether a block can be used again only after a later event. */
  isPending(free: number): boolean {
    return this.#pending?.[free] === 1;
  }
}

function allocationsByDevice(events: TraceEvents): Map<number, number> {
  const counts = new Map<number, number>();
  if (events.devices === undefined) return counts.set(0, events.allocations);
  for (let i = 0; i < events.length; i++) {
    if (!events.isAlloc(i)) continue;
    const device = events.devices[i]!;
    counts.set(device, (counts.get(device) ?? 0) + 1);
  }
  return counts;
}

/** Finds the frees of completions, backwards: memory for those only that are under way. */
function pendingFrees(events: TraceEvents): Uint8Array {
  const { kinds, slots } = events;
  const pending = new Uint8Array(events.length);
  const waiting: Set<number>[] = [];
  for (let i = events.length - 1; i >= 0; i--) {
    const isCompletion = kinds[i] === TraceKind.freeCompleted;
    if (!isCompletion && (slots[i]! >= 0 || slots[i] === NO_SLOT)) continue;
    const device = events.deviceOf(i);
    const pointer = events.pointerOf(i);
    const known = (waiting[device] ??= new Set());
    if (isCompletion) known.add(pointer);
    else if (known.delete(pointer)) pending[i] = 1;
  }
  return pending;
}
