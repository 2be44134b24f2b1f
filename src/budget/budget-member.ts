import type { BudgetMemberKind, BudgetMemberReading } from '../core/budget-report.js';
import { checkArgument } from '../core/errors.js';
import type { OptionNames } from '../core/option-names.js';

/** How a member stands among the others. */
export interface BudgetMemberOptions {
  /** What reports and refusals call it. @defaultValue the class of what joins */
  readonly name?: string;
  /** Those of lower priority give cached memory back first. @defaultValue 0 */
  readonly priority?: number;
  /** Bytes that it keeps when others need memory. @defaultValue 0 */
  readonly minimumBytes?: number;
}

/** Their names. */
export const MEMBER_OPTIONS: OptionNames<BudgetMemberOptions> = { name: true, priority: true, minimumBytes: true };

/** What a member could give back. */
export interface MemberCache {
  /** Bytes that its managers cache. */
  cachedBytes(): number;
  /** Gives back at least `wantedBytes` of them if it has so many, and never more than `mostBytes`. @returns how many bytes went */
  release(wantedBytes: number, mostBytes: number): number;
}

/** The cache of who has none, or whose it is not to give. */
export const NO_CACHE: MemberCache = { cachedBytes: () => 0, release: () => 0 };

/** Memory that was taken ahead, out of which members have some. */
export interface DrawnMemory {
  /** Takes back what a member gives, up to what it drew. @returns how many bytes */
  refill(member: BudgetMember, bytes: number): number;
}

/** One who holds memory of a budget. */
export class BudgetMember {
  readonly name: string;
  readonly priority: number;
  readonly minimumBytes: number;
  heldBytes = 0;
  peakBytes = 0;
  /** Open reservations out of which it has memory. */
  readonly drawnFrom = new Set<DrawnMemory>();

  /** @throws ERR_MEM_INVALID_ARGUMENT for a priority or minimum that is none */
  constructor(
    readonly kind: BudgetMemberKind,
    name: string,
    readonly cache: MemberCache,
    { priority = 0, minimumBytes = 0 }: BudgetMemberOptions = {},
  ) {
    checkArgument(typeof name === 'string' && name !== '', 'name', name, 'text');
    checkArgument(Number.isFinite(priority), 'priority', priority, 'a number');
    checkArgument(
      Number.isSafeInteger(minimumBytes) && minimumBytes >= 0,
      'minimumBytes',
      minimumBytes,
      'an integer of at least 0',
    );
    this.name = name;
    this.priority = priority;
    this.minimumBytes = minimumBytes;
  }

  /**
   * Bytes that no other member gets of what it holds: what nobody here can give back, and what its minimum keeps. A reservation
   * keeps nothing from the job that draws on it, whichever member that is.
   */
  get keptBytes(): number {
    if (this.kind === 'reserved') return 0;
    return this.kind === 'memory' || this.kind === 'budget' ? Math.min(this.heldBytes, this.minimumBytes) : this.heldBytes;
  }

  hold(bytes: number): void {
    this.heldBytes += bytes;
    if (this.heldBytes > this.peakBytes) this.peakBytes = this.heldBytes;
  }

  /** Gives cached memory back, and keeps its minimum. @returns how many bytes went */
  giveWay(wantedBytes: number): number {
    const mostBytes = this.minimumBytes === 0 ? Number.POSITIVE_INFINITY : this.heldBytes - this.minimumBytes;
    return mostBytes > 0 ? this.cache.release(Math.min(wantedBytes, mostBytes), mostBytes) : 0;
  }

  reading(): BudgetMemberReading {
    const { name, kind, heldBytes, peakBytes, minimumBytes, priority } = this;
    return { name, kind, heldBytes, cachedBytes: this.cache.cachedBytes(), peakBytes, minimumBytes, priority };
  }
}

/** Those who give way, the first ones first: the lowest priority, then who caches most. */
export function inOrderOfGiving(members: Iterable<BudgetMember>): BudgetMember[] {
  const cached = new Map([...members].map((member) => [member, member.cache.cachedBytes()]));
  return [...cached.keys()].sort((a, b) => a.priority - b.priority || cached.get(b)! - cached.get(a)!);
}
