import { MemoryError } from './errors.js';
import type { SlotKind } from './events.js';
import type { MemoryHost } from './memory-host.js';
import { handleOf, type MemoryManagerAdapter } from './memory-manager-adapter.js';
import type { MemoryStatsSnapshot } from './memory-statistics.js';

/** What one manager of a host holds now. */
export interface ManagerReading {
  readonly slot: SlotKind;
  readonly name: string;
  /** Its number in the process: two managers may have one name. */
  readonly handle: number;
  /** False for one that was replaced and drains. */
  readonly active: boolean;
  readonly liveBlocks: number;
  readonly reservedBytes: number;
  /** Statistics by device; empty for a manager that keeps none. */
  readonly devices: readonly { readonly device: number; readonly stats: MemoryStatsSnapshot }[];
}

/** Reads what every manager of a host holds now. Starts no manager. Cost: O(managers x devices). */
export function managerReadings(host: MemoryHost): ManagerReading[] {
  return [host.slot, host.pinnedSlot].flatMap((slot) =>
    slot.usage().map(({ manager, liveBlocks, reservedBytes }) => ({
      slot: slot.kind,
      name: manager.name,
      handle: handleOf(manager),
      active: manager === slot.active,
      liveBlocks,
      reservedBytes,
      devices: Array.from({ length: host.deviceCount }, (_, device) => ({ device, stats: statsOf(manager, device) })).filter(
        (reading): reading is { device: number; stats: MemoryStatsSnapshot } => reading.stats !== undefined,
      ),
    })),
  );
}

/** Statistics of a device; undefined also when the manager was never told of it, or told to forget it. */
export function statsOf(manager: MemoryManagerAdapter, device: number): MemoryStatsSnapshot | undefined {
  try {
    return manager.stats(device);
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_INVALID_DEVICE')) return undefined;
    throw error;
  }
}
