import type { LedgerMemberReading } from '../../budget/budget-ledger.js';

/** A member, and what it waits for. */
export interface WantingMember {
  readonly reading: LedgerMemberReading;
  /** What has to be free below the limit until it has what it wants; 0 when it wants nothing. */
  readonly targetBytes: number;
}

/**
 * Divides what members want over those that can give it: what they have cached, down to their minimum, those of lowest
 * priority first. Of equals the first one gives first. Nobody gives to itself. What was given back meanwhile counts.
 *
 * @param members - in the order of their cells
 * @param freeBytes - below the limit; negative when it is passed
 * @returns the bytes that the member `isSelf` gives
 */
export function wantedOfSelf(members: readonly WantingMember[], freeBytes: number): number {
  const givers = members
    .map(({ reading }) => ({ reading, bytes: Math.min(reading.cachedBytes, reading.heldBytes - reading.minimumBytes) }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => a.reading.priority - b.reading.priority);
  const wanting = members.filter((member) => member.targetBytes > 0).sort((a, b) => b.reading.priority - a.reading.priority);
  let free = freeBytes;
  let ofSelf = 0;
  for (const { reading, targetBytes } of wanting) {
    let missing = Math.max(0, targetBytes - free);
    free = Math.max(0, free - targetBytes);
    for (const giver of givers) {
      if (giver.reading === reading) continue;
      const bytes = Math.min(missing, giver.bytes);
      giver.bytes -= bytes;
      missing -= bytes;
      if (giver.reading.isSelf) ofSelf += bytes;
    }
  }
  return ofSelf;
}
