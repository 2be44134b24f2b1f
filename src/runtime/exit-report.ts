import { attempt } from '../core/attempt.js';
import { counted } from '../core/counted.js';
import type { SlotKind } from '../core/events.js';
import { statsOf } from '../core/manager-readings.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { exactBytes } from '../core/units.js';

/** A manager that still has live blocks when its runtime closes. */
export interface LiveAtExit {
  readonly manager: string;
  readonly slot: SlotKind;
  readonly liveBlocks: number;
  /** Bytes of those blocks; undefined when the manager keeps no statistics. */
  readonly liveBytes: number | undefined;
  /** Native memory that the manager held. */
  readonly reservedBytes: number;
}

/** What was still live when a runtime was closed. It was freed then, but for what the device refused. */
export interface ExitReport {
  readonly managers: readonly LiveAtExit[];
  readonly liveBlocks: number;
  /** Native memory that the device did not take back; left out for none. Closing again tries again. */
  readonly refusedBytes?: number;
  /** The signal, such as SIGINT, that ended the process before it was done: what was live then need not be a leak. */
  readonly signal?: string;
}

/** Looks at what is live in some slots. Cost: O(managers x devices). */
export function exitReport(slots: readonly ManagerSlot[], deviceCount: number): ExitReport {
  const managers = slots.flatMap((slot) =>
    slot
      .usage()
      .filter((use) => use.liveBlocks > 0)
      .map((use) => ({
        manager: use.manager.name,
        slot: slot.kind,
        liveBlocks: use.liveBlocks,
        liveBytes: liveBytes(use.manager, deviceCount),
        reservedBytes: use.reservedBytes,
      })),
  );
  return { managers, liveBlocks: managers.reduce((sum, live) => sum + live.liveBlocks, 0) };
}

/** Formats a report as text: a line for each manager, and one for what was refused; none when nothing is live. */
export function formatExitReport(report: ExitReport): string {
  const lines = report.managers.map((live) => {
    const bytes = live.liveBytes === undefined ? 'unknown bytes' : exactBytes(live.liveBytes);
    const blocks = counted(live.liveBlocks, 'block');
    const [were, are] = live.liveBlocks === 1 ? ['was', 'is'] : ['were', 'are'];
    const when =
      report.signal === undefined
        ? `at exit and ${are} freed now`
        : `when ${report.signal} ended the process, ${are} freed now, and need not be a leak`;
    return `stowage: ${blocks}, ${bytes}, of ${live.manager} (${live.slot}) ${were} live ${when}\n`;
  });
  if (report.refusedBytes !== undefined) {
    lines.push(`stowage: ${exactBytes(report.refusedBytes)} could not be given back: the device refused\n`);
  }
  return lines.join('');
}

/** A manager that cannot tell must not keep its runtime from closing: that becomes a process warning. */
function liveBytes(manager: MemoryManagerAdapter, deviceCount: number): number | undefined {
  let bytes: number | undefined;
  attempt(() => {
    const known = Array.from({ length: deviceCount }, (_, device) => statsOf(manager, device)).filter(
      (stats) => stats !== undefined,
    );
    if (known.length > 0) bytes = known.reduce((sum, { allocatedBytes }) => sum + allocatedBytes.current, 0);
  });
  return bytes;
}
