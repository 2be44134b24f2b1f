import type { LedgerMemberReading } from '../../budget/budget-ledger.js';

/**
 * Divides what members want over those that can give it: what they have cached, down to their minimum, those of lowest
 * priority first. Of equals the first one gives first. Nobody gives to itself. What is free already counts.
 *
 * @param members - in the order of their cells
 * @param freeBytes - below the limit
 * @returns the bytes that the member `isSelf` gives
 */
export function wantedOfSelf(members: readonly LedgerMemberReading[], freeBytes: number): number {
  const givers = [...members]
    .sort((a, b) => a.priority - b.priority)
    .map((member) => ({ member, bytes: Math.min(member.cachedBytes, Math.max(0, member.heldBytes - member.minimumBytes)) }));
  const wanting = members.filter(({ wantedBytes }) => wantedBytes > 0).sort((a, b) => b.priority - a.priority);
  let free = Math.max(0, freeBytes);
  let ofSelf = 0;
  for (const wanter of wanting) {
    const fromFree = Math.min(free, wanter.wantedBytes);
    free -= fromFree;
    let missing = wanter.wantedBytes - fromFree;
    for (const giver of givers) {
      if (giver.member === wanter) continue;
      const bytes = Math.min(missing, giver.bytes);
      giver.bytes -= bytes;
      missing -= bytes;
      if (giver.member.isSelf) ofSelf += bytes;
    }
  }
  return ofSelf;
}
