import { type BudgetReading, budgetReadings } from '../../core/budget-readings.js';
import type { BudgetMemberReading } from '../../core/budget-report.js';
import type { ReportsBudget } from '../../core/budgets.js';
import type { LiveBudget, LiveBudgetReading, LiveBudgets, LiveReclaim } from './live-data.js';

/** How many budgets are shown at most, and how many of them have ended. */
const SHOWN_BUDGETS = 16;
const KEPT_ENDED = 4;
/** How many members a sample has, how many a budget remembers, and how many rows a table has. */
const SAMPLED_MEMBERS = 12;
const KEPT_MEMBERS = 32;
const SHOWN_ROWS = 100;
const KEPT_RECLAIMS = 128;

interface KnownBudget {
  readonly id: number;
  last: BudgetReading;
  /** The last reading that had it. */
  seen: number;
  lastMemberId: number;
  /** By name and kind. */
  readonly members: Map<string, { readonly id: number; readonly name: string }>;
  readonly reclaims: LiveReclaim[];
}

/** Reads all budgets of this isolate at intervals, and remembers who their members were and what was reclaimed: a bounded part of it. */
export class BudgetSampler {
  #known = new Map<ReportsBudget, KnownBudget>();
  #lastId = -1;
  #readings = 0;
  #count = 0;

  /** Reads once. @param ms - now, since the dashboard began @returns by the id of the budget */
  read(ms: number): Record<number, LiveBudgetReading> {
    const read: Record<number, LiveBudgetReading> = {};
    const readings = budgetReadings();
    const beganMs = Date.now() - ms;
    this.#readings++;
    this.#count = readings.length;
    for (const reading of readings.slice(0, SHOWN_BUDGETS)) {
      const known = this.#known.get(reading.budget) ?? this.#meet(reading);
      this.#noteReclaims(known, reading, beganMs);
      known.last = reading;
      known.seen = this.#readings;
      read[known.id] = this.#reading(known);
    }
    const ended = [...this.#known].filter(([, { seen }]) => seen < this.#readings).sort(([, a], [, b]) => b.seen - a.seen);
    for (const [budget] of ended.slice(KEPT_ENDED)) this.#known.delete(budget);
    return read;
  }

  /** What is known of those that are shown. */
  budgets(): LiveBudgets {
    return { count: this.#count, shown: Array.from(this.#known.values(), (known) => this.#budget(known)) };
  }

  #meet(reading: BudgetReading): KnownBudget {
    const { budget } = reading;
    const known = { id: ++this.#lastId, last: reading, seen: 0, lastMemberId: -1, members: new Map(), reclaims: [] };
    this.#known.set(budget, known);
    return known;
  }

  /** Adds what was reclaimed since the last reading: of very many the last ones, which the report has. */
  #noteReclaims({ last, seen, reclaims }: KnownBudget, { report }: BudgetReading, beganMs: number): void {
    const before = seen === 0 ? 0 : last.report.reclaimCount;
    const fresh = Math.min(report.reclaims.length, report.reclaimCount - before);
    if (fresh <= 0) return;
    for (const { timeMs, ...reclaim } of report.reclaims.slice(-fresh)) {
      const ms = Math.round(timeMs - beganMs);
      reclaims.push({ ms: ms < 0 ? null : ms, ...reclaim });
    }
    reclaims.splice(0, reclaims.length - KEPT_RECLAIMS);
  }

  #reading(known: KnownBudget): LiveBudgetReading {
    const { report, members } = known.last;
    const held: Record<number, number> = {};
    const most = members.filter(({ heldBytes }) => heldBytes > 0).slice(0, SAMPLED_MEMBERS);
    for (const member of most) held[this.#memberOf(known, member)] = member.heldBytes;
    const { usedBytes, refusals, overshoots, limitBytes } = report;
    return { usedBytes, limitBytes: finite(limitBytes), refusals, overshoots, held };
  }

  /** Those that were seen last are remembered: in a chart the others are one. A map has the one first that was not seen for longest. */
  #memberOf(known: KnownBudget, reading: BudgetMemberReading): number {
    const { members } = known;
    const key = keyOf(reading);
    const member = members.get(key) ?? { id: ++known.lastMemberId, name: reading.name };
    members.delete(key);
    members.set(key, member);
    if (members.size > KEPT_MEMBERS) members.delete(members.keys().next().value as string);
    return member.id;
  }

  #budget({ id, last, seen, members, reclaims }: KnownBudget): LiveBudget {
    const { name, report } = last;
    const { memory, usedBytes, peakBytes, refusals, overshoots, overshootBytes, reclaimCount, reclaimedBytes } = report;
    const tenants = [...report.tenants].sort((a, b) => b.liveBytes - a.liveBytes).slice(0, SHOWN_ROWS);
    return {
      id,
      name,
      memory,
      hasEnded: seen < this.#readings,
      limitBytes: finite(report.limitBytes),
      usedBytes,
      peakBytes,
      refusals,
      overshoots,
      overshootBytes,
      reclaimCount,
      reclaimedBytes,
      names: Object.fromEntries(Array.from(members.values(), (member) => [member.id, member.name])),
      members: last.members.slice(0, SHOWN_ROWS).map((member) => ({ id: members.get(keyOf(member))?.id ?? null, ...member })),
      memberCount: last.members.length,
      tenants: tenants.map((tenant) => ({ ...tenant, limitBytes: finite(tenant.limitBytes) })),
      tenantCount: report.tenants.length,
      reclaims,
    };
  }
}

function keyOf({ kind, name }: BudgetMemberReading): string {
  return `${kind} ${name}`;
}

/** JSON has no infinity. */
function finite(bytes: number): number | null {
  return Number.isFinite(bytes) ? bytes : null;
}
