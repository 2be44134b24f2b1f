import { counted } from './counted.js';
import { formatBytes } from './units.js';

/** What people want to know of a slot. */
interface SlotState {
  readonly closed: boolean;
  readonly active: { readonly name: string } | null;
  readonly draining: readonly unknown[];
  readonly liveBlocks: number;
  readonly reservedBytes: number;
}

/** Says who serves in a slot, and what is held there. */
export function slotFacts({ closed, active, draining, liveBlocks, reservedBytes }: SlotState): string[] {
  return [
    closed ? 'closed' : `active: ${active?.name ?? 'none yet'}`,
    ...(draining.length === 0 ? [] : [`${draining.length} draining`]),
    counted(liveBlocks, 'live block'),
    `${formatBytes(reservedBytes)} reserved`,
  ];
}
