import { statsOf } from '../core/manager-readings.js';
import { memoryHosts } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { HOST_MEMORY } from '../core/slot-charges.js';
import type { FoundCategories } from './memory-explanation.js';
import type { ResidentRanges } from './resident-ranges.js';

/** What managers have, as they count it. */
export interface ManagerMemory {
  /** Resident bytes of their segments, by the segment's start: those in a heap of the C library are live there. */
  readonly taken: readonly (readonly [start: number, residentBytes: number])[];
  readonly metadataBytes: number;
  /** What they would give back. */
  readonly idleBytes: number;
}

/** Enters the memory of all managers of this machine's memory, resident pages of their segments alone. */
export function addManagers(found: FoundCategories, ranges: ResidentRanges): ManagerMemory {
  const taken: [number, number][] = [];
  let metadataBytes = 0;
  let idleBytes = 0;
  for (const host of memoryHosts()) {
    for (const slot of [host.slot, host.pinnedSlot]) {
      for (const { manager, pieces } of slot.nativeMemory()) {
        metadataBytes += manager.metadataBytes;
        if (slot.charges.memory !== HOST_MEMORY) continue;
        let residentBytes = 0;
        for (const [start, bytes] of pieces) {
          const resident = ranges.take(start, start + bytes);
          taken.push([start, resident]);
          residentBytes += resident;
        }
        if (residentBytes > 0) idleBytes += split(manager, host.constructor.name, residentBytes, found);
      }
    }
  }
  return { taken, metadataBytes, idleBytes };
}

/**
 * Splits what is resident of a manager: live blocks first, whose pages were most likely touched.
 *
 * @returns how much it would give back
 */
function split(manager: MemoryManagerAdapter, host: string, residentBytes: number, found: FoundCategories): number {
  const sums = { requested: 0, active: 0, cached: 0, idle: 0 };
  for (const device of manager.deviceIds()) {
    const stats = statsOf(manager, device);
    if (stats === undefined) continue;
    sums.requested += stats.requestedBytes.current;
    sums.active += stats.activeBytes.current;
    sums.cached += stats.cachedBytes.current;
    sums.idle += manager.idleBytes(device) ?? stats.cachedBytes.current;
  }
  const name = `${manager.name} of ${host}`;
  const hasCounts = sums.active + sums.cached > 0;
  const live = hasCounts ? Math.min(residentBytes, sums.requested) : residentBytes;
  const idle = Math.min(residentBytes - live, sums.idle);
  found.add('manager-live', name, live);
  found.add('manager-cached', name, idle, idle);
  found.add('manager-fragmented', name, residentBytes - live - idle);
  return idle;
}
