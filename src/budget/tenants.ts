import { checkArgument } from '../core/errors.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import { BudgetTenant, TenantCharge, type TenantOptions, type TenantOwner } from './tenant.js';

/** The tenants of a budget, and the slots whose blocks are charged to them. */
export class Tenants {
  readonly #byName = new Map<string, BudgetTenant>();
  readonly #slots = new Map<ManagerSlot, Map<string, TenantCharge>>();
  readonly #owner: TenantOwner;

  constructor(owner: TenantOwner) {
    this.#owner = owner;
  }

  /** Makes the tenant of a tag. @throws ERR_MEM_INVALID_ARGUMENT for one that there is, and as its constructor */
  add(name: string, options: TenantOptions): BudgetTenant {
    checkArgument(!this.#byName.has(name), 'the name of a tenant', JSON.stringify(name), 'one that no other tenant has');
    const tenant = new BudgetTenant(name, this.#owner, options);
    this.#byName.set(name, tenant);
    for (const slot of this.#slots.keys()) this.#charge(slot);
    return tenant;
  }

  /** Ends a tenant: its blocks are charged to nobody. */
  remove(tenant: BudgetTenant): void {
    if (this.#byName.get(tenant.name) !== tenant) return;
    this.#byName.delete(tenant.name);
    for (const [slot, charges] of this.#slots) {
      charges.get(tenant.name)?.closed();
      this.#charge(slot);
    }
    this.#owner.keptBytes -= tenant.minimumBytes;
  }

  /**
   * Charges the blocks of a slot to those tenants whose tags they have, from now on. Of tenants with one tag, in budgets around each
   * other, the innermost has them.
   */
  join(slot: ManagerSlot): void {
    this.#slots.set(slot, new Map());
    this.#charge(slot);
  }

  leave(slot: ManagerSlot): void {
    const charges = this.#slots.get(slot);
    if (charges === undefined) return;
    for (const charge of charges.values()) charge.closed();
    this.#slots.delete(slot);
    slot.charges.chargeTags(this, undefined);
  }

  /** Those that have more than their minimum, the lowest priority first. */
  givesWay(): string[] {
    return [...this.#byName.values()]
      .filter(({ liveBytes, minimumBytes }) => liveBytes > minimumBytes)
      .sort((a, b) => a.priority - b.priority || b.liveBytes - a.liveBytes)
      .map(({ name }) => name);
  }

  [Symbol.iterator](): IterableIterator<BudgetTenant> {
    return this.#byName.values();
  }

  #charge(slot: ManagerSlot): void {
    const charges = this.#slots.get(slot)!;
    for (const name of charges.keys()) if (!this.#byName.has(name)) charges.delete(name);
    for (const [name, tenant] of this.#byName) if (!charges.has(name)) charges.set(name, new TenantCharge(tenant));
    slot.charges.chargeTags(this, charges);
  }
}
