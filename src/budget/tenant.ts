import type { BudgetTenantReading } from '../core/budget-report.js';
import '../core/disposable.js';
import { checkArgument } from '../core/errors.js';
import { INSPECT, inspected } from '../core/inspect.js';
import type { NativeCharge } from '../core/native-charge.js';
import type { OptionNames } from '../core/option-names.js';
import { exactBytes, formatBytes } from '../core/units.js';
import { type BudgetLimit, shareOf } from './budget-limit.js';

/** The share of a tenant. */
export interface TenantOptions {
  /** Bytes of live blocks that it may have, or a share of the budget. @defaultValue all of the budget */
  readonly limit?: BudgetLimit;
  /** Bytes of live blocks that no other tenant gets. @defaultValue 0 */
  readonly minimumBytes?: number;
  /** Those of lower priority are named first when tenants are to give way. @defaultValue 0 */
  readonly priority?: number;
}

/** Their names. */
export const TENANT_OPTIONS: OptionNames<TenantOptions> = { limit: true, minimumBytes: true, priority: true };

/** What tenants ask of their budget. */
export interface TenantOwner {
  readonly limitBytes: number;
  /** Bytes that tenants have or are kept for them: the sum of `max(live, minimum)`. */
  keptBytes: number;
  /** Has listeners make room until nothing is missing. @throws ERR_MEM_OUT_OF_MEMORY when they do not */
  makeTenantRoom(tenant: BudgetTenant, bytes: number, missingBytes: () => number): void;
  /** Forgets a tenant. */
  endTenant(tenant: BudgetTenant): void;
  settled(): Promise<void>;
}

/**
 * The share that allocations with one tag have of a budget: `budget.tenant('alice', { limit: 100 * MiB })`, then `runtime.tag('alice', fn)` or
 * `runtime.allocate(bytes, { tag: 'alice' })`. Blocks are charged with the bytes that were asked for, from then on, as long as
 * they live.
 */
export class BudgetTenant {
  readonly minimumBytes: number;
  readonly priority: number;
  liveBytes = 0;
  peakBytes = 0;
  refusals = 0;
  readonly #owner: TenantOwner;
  readonly #bytes: number;
  readonly #share: number;

  /** @param name - the tag @throws ERR_MEM_INVALID_ARGUMENT @internal */
  constructor(
    readonly name: string,
    owner: TenantOwner,
    { limit = Number.POSITIVE_INFINITY, minimumBytes = 0, priority = 0 }: TenantOptions,
  ) {
    checkArgument(typeof name === 'string' && name !== '', 'the name of a tenant', name, 'text');
    this.#share = shareOf(limit) ?? 1;
    this.#bytes = typeof limit === 'number' ? limit : Number.POSITIVE_INFINITY;
    this.#owner = owner;
    const most = this.limitBytes;
    const isMinimum = Number.isSafeInteger(minimumBytes) && minimumBytes >= 0 && minimumBytes <= most;
    checkArgument(isMinimum, 'minimumBytes', minimumBytes, `an integer from 0 to the limit of ${exactBytes(most)}`);
    const left = Math.max(0, owner.limitBytes - owner.keptBytes);
    checkArgument(minimumBytes <= left, 'minimumBytes', minimumBytes, `at most ${exactBytes(left)}, which other tenants leave`);
    checkArgument(Number.isFinite(priority), 'priority', priority, 'a number');
    this.minimumBytes = minimumBytes;
    this.priority = priority;
    owner.keptBytes += minimumBytes;
  }

  get limitBytes(): number {
    const { limitBytes } = this.#owner;
    return Math.min(this.#bytes, this.#share === 1 ? limitBytes : Math.floor(this.#share * limitBytes));
  }

  /** Charges bytes that are about to be allocated. @throws ERR_MEM_OUT_OF_MEMORY; nothing has changed then @internal */
  take(bytes: number): void {
    if (this.#missingBytes(bytes) > 0) this.#makeRoom(bytes);
    this.force(bytes);
  }

  /** Charges bytes without asking. @param bytes - negative ones are charged no more @internal */
  force(bytes: number): void {
    const live = this.liveBytes + bytes;
    this.#owner.keptBytes += this.#keptWith(live) - this.#keptWith(this.liveBytes);
    this.liveBytes = live;
    if (live > this.peakBytes) this.peakBytes = live;
  }

  /** Ends it: its blocks are charged to nobody. */
  dispose(): void {
    this.#owner.endTenant(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal */
  settled(): Promise<void> {
    return this.#owner.settled();
  }

  reading(): BudgetTenantReading {
    const { name, liveBytes, peakBytes, minimumBytes, priority, refusals } = this;
    return { name, liveBytes, peakBytes, limitBytes: this.limitBytes, minimumBytes, priority, refusals };
  }

  /** `BudgetTenant { alice, 1.00 MiB live of 10.00 MiB }`. @internal */
  [INSPECT](): string {
    const { name, liveBytes, limitBytes } = this.reading();
    return inspected(this, () => [name, `${formatBytes(liveBytes)} live of ${formatBytes(limitBytes)}`]);
  }

  #keptWith(liveBytes: number): number {
    return liveBytes > this.minimumBytes ? liveBytes : this.minimumBytes;
  }

  /** By how much bytes would go past its limit, or into what is kept for others. */
  #missingBytes(bytes: number): number {
    const owner = this.#owner;
    const live = this.liveBytes + bytes;
    const grown = this.#keptWith(live) - this.#keptWith(this.liveBytes);
    // What it takes of its own minimum is kept for it already.
    const ofOthers = grown === 0 ? 0 : owner.keptBytes + grown - owner.limitBytes;
    return Math.max(live - this.limitBytes, ofOthers);
  }

  #makeRoom(bytes: number): void {
    try {
      this.#owner.makeTenantRoom(this, bytes, () => this.#missingBytes(bytes));
    } catch (error) {
      this.refusals++;
      throw error;
    }
  }
}

/** Charges the blocks of one slot to a tenant. Once it has ended it charges nobody. */
export class TenantCharge implements NativeCharge {
  #liveBytes = 0;
  /** Undefined once it has ended: blocks that live on refer to this, and are not to keep the budget. */
  #tenant: BudgetTenant | undefined;

  constructor(tenant: BudgetTenant) {
    this.#tenant = tenant;
  }

  get mostBytes(): number {
    return this.#tenant?.limitBytes ?? Number.POSITIVE_INFINITY;
  }

  take(bytes: number): void {
    const tenant = this.#tenant;
    if (tenant === undefined) return;
    tenant.take(bytes);
    // Whoever made room may have ended the tenant.
    if (this.#tenant === undefined) tenant.force(-bytes);
    else this.#liveBytes += bytes;
  }

  force(bytes: number): void {
    this.#tenant?.force(bytes);
    this.#liveBytes += bytes;
  }

  give(bytes: number): void {
    this.#tenant?.force(-bytes);
    this.#liveBytes -= bytes;
  }

  settled(): Promise<void> {
    return this.#tenant?.settled() ?? Promise.resolve();
  }

  closed(): void {
    this.give(this.#liveBytes);
    this.#tenant = undefined;
  }
}
