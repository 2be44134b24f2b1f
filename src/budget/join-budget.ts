import { checkArgument } from '../core/errors.js';
import { given } from '../core/given.js';
import { ManagerSlot } from '../core/manager-slot.js';
import { MemoryHost } from '../core/memory-host.js';
import { BudgetMember, type BudgetMemberOptions, type MemberCache } from './budget-member.js';
import type { BudgetParts } from './budget-parts.js';
import { MemberCharge } from './member-charge.js';
import { SlotCache } from './slot-cache.js';

/** Lets a budget be a member of another one. @returns what lets it leave @throws ERR_MEM_INVALID_ARGUMENT; nothing has changed then */
export function joinBudget(budget: BudgetParts, child: BudgetParts, options: BudgetMemberOptions): () => void {
  const isSame = child.memory === budget.memory && child.deviceId === budget.deviceId;
  checkArgument(isSame, 'member', `a budget of ${child.memoryText}`, `one of ${budget.memoryText}`);
  checkArgument(child.parent === undefined, 'member', `the budget ${child.name}, in another one`, 'one that is in no other');
  const outermost = 'one without: what processes share is the outermost';
  checkArgument(child.account.ledger === undefined, 'member', 'a budget with a ledger', outermost);
  const isAround = budget.outwards().includes(child);
  checkArgument(!isAround, 'member', `the budget ${child.name}, which is around this one`, 'one that is not');
  const { members } = budget.account;
  const member = new BudgetMember('budget', options.name ?? budget.freeName(child.name), cacheOf(child), options);
  const charge = new MemberCharge(budget.account, member, () => budget.settled());
  members.add(member);
  child.parent = budget;
  budget.children.add(child);
  child.account.parent = charge;
  charge.force(child.account.usedBytes);
  child.startOrStop();
  for (const slot of child.slots) joinTenants(budget, slot);
  return () => {
    for (const slot of child.slots) leaveTenants(budget, slot);
    child.account.parent = undefined;
    child.parent = undefined;
    budget.children.delete(child);
    charge.end();
    members.delete(member);
    child.startOrStop();
  };
}

/**
 * Lets a host, or a slot of one, be a member of a budget.
 *
 * @param leave - called when a slot is closed
 * @returns what lets it leave
 * @throws ERR_MEM_INVALID_ARGUMENT; nothing has changed then
 */
export function joinSlots(
  budget: BudgetParts,
  joiner: MemoryHost | ManagerSlot,
  options: BudgetMemberOptions,
  leave: () => void,
): () => void {
  const isHost = joiner instanceof MemoryHost;
  checkArgument(isHost || joiner instanceof ManagerSlot, 'member', given(joiner), 'a host, a slot or a budget');
  const [first, ...others] = isHost ? [joiner.slot, joiner.pinnedSlot] : [joiner];
  const { memory, account, deviceId } = budget;
  const hint = isHost ? '; its pinned memory joins by host.pinnedSlot' : '';
  checkArgument(
    first!.charges.memory === memory,
    'member',
    `memory of ${first!.charges.memory}`,
    `one of ${budget.memoryText}${hint}`,
  );
  const slots = [first!, ...others.filter(({ charges }) => charges.memory === memory)];
  const isFree = slots.every(({ charges }) => charges.of(deviceId) === undefined);
  checkArgument(isFree, 'member', 'memory that is in a budget', 'memory that is in none');
  const cache = new SlotCache(slots, deviceId);
  const member = new BudgetMember('memory', options.name ?? budget.freeName(joiner.constructor.name || 'host'), cache, options);
  account.members.add(member);
  const ends = slots.map((slot) => {
    const charge = new MemberCharge(account, member, () => budget.settled(), leave);
    const end = slot.charges.join(deviceId, charge);
    joinTenants(budget, slot);
    return () => {
      end();
      charge.end();
      leaveTenants(budget, slot);
    };
  });
  return () => {
    for (const end of ends) end();
    account.members.delete(member);
  };
}

/** What the members of a budget cache. */
function cacheOf({ account, room }: BudgetParts): MemberCache {
  return {
    cachedBytes: () => [...account.members].reduce((sum, { cache }) => sum + cache.cachedBytes(), 0),
    release: (wantedBytes, mostBytes) => room.release(wantedBytes, mostBytes),
  };
}

function joinTenants(budget: BudgetParts, slot: ManagerSlot): void {
  for (const { slots, tenants } of budget.outwards()) {
    slots.add(slot);
    tenants.join(slot);
  }
}

function leaveTenants(budget: BudgetParts, slot: ManagerSlot): void {
  for (const { slots, tenants } of budget.outwards()) {
    slots.delete(slot);
    tenants.leave(slot);
  }
}
