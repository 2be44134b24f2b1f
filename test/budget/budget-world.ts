import { expect } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { FallbackMemory } from '../../adapters/hosts/fallback-memory.js';
import { type BudgetReservation, MemoryBudget } from '../../src/budget/index.js';
import type { Releasable } from '../../src/core/disposable.js';
import { MemoryError, MiB } from '../../src/core/index.js';
import type { DevicePtr } from '../../src/core/units.js';
import type { MemoryRuntime } from '../../src/runtime/index.js';
import { atLeast, is } from '../fixtures/same.js';
import { AROUND, type Block, BUDGETS, LIMIT, MAKERS, type OwnTenant, type Step } from './budget-steps.js';
import { runtimeOn, simulated, table } from './budgets.js';
import { FakeShared } from './fake-ledger.js';

/** A runtime, and what the model knows of it. */
class Member {
  runtime: MemoryRuntime;
  fallback: FallbackMemory;
  fallbackBlocks: DevicePtr[] = [];
  blocks: Block[] = [];
  budget: number | undefined;
  membership: Releasable | undefined;
  minimum = 0;

  constructor(
    readonly device: SimulatedDevice,
    readonly name: string,
    readonly make: (typeof MAKERS)[number],
  ) {
    this.runtime = runtimeOn(device, make);
    this.fallback = new FallbackMemory(device, this.runtime.slot.charges);
  }

  get held(): number {
    return this.runtime.slot.reservedBytes + this.fallback.liveBytes;
  }

  /** Another runtime in its place: this one was closed. */
  renew(): void {
    this.runtime = runtimeOn(this.device, this.make);
    this.fallback = new FallbackMemory(this.device, this.runtime.slot.charges);
    this.fallbackBlocks = [];
    this.blocks = [];
    this.budget = undefined;
    this.membership = undefined;
  }
}

const isRefused = (error: unknown) => MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') || isOfDevice(error);
const isOfDevice = (error: unknown) => (error as Error).message === 'refused';

/** Budgets around each other, runtimes in them, and what they hold. */
export class World {
  readonly device = simulated({ virtual: true, capacityBytes: 512 * MiB });
  readonly shared = new FakeShared(LIMIT);
  readonly ledger = this.shared.join();
  readonly budgets: MemoryBudget[];
  readonly nestings: (Releasable | undefined)[];
  readonly members = MAKERS.map((make, i) => new Member(this.device, `runtime ${i}`, make));
  readonly reservations: { budget: number; reservation: BudgetReservation }[] = [];
  readonly tenants: OwnTenant[] = [];
  readonly watched: number[] = [];
  readonly segments: { budget: number; name: string; bytes: number; attachment: Releasable }[] = [];
  waiting = 0;

  constructor() {
    const limits = [LIMIT, 64 * MiB, 40 * MiB, 48 * MiB];
    this.budgets = limits.map((limit, i) => {
      const ledger = i === 0 ? { ledger: this.ledger } : {};
      return new MemoryBudget({ limit, memory: this.device, name: `budget ${i}`, ...ledger });
    });
    this.nestings = this.budgets.map((_, i) => this.nest(i));
    for (const [i, budget] of this.budgets.entries()) {
      this.watched.push(0);
      budget.watch('watched', () => this.watched[i]!);
    }
    for (const [i, member] of this.members.entries()) this.#do({ do: 'join', of: i, in: i % BUDGETS, minimum: member.minimum });
    for (const [of, name] of [
      [0, 'a'],
      [1, 'a'],
      [0, 'b'],
      [2, 'b'],
    ] as const) {
      this.#do({ do: 'tenant', of, name, bytes: 16 * MiB, minimum: of * MiB });
    }
  }

  nest(i: number): Releasable | undefined {
    const around = AROUND[i];
    return around === undefined ? undefined : this.budgets[around]!.add(this.budgets[i]!, { priority: i });
  }

  /** A budget and those around it now, from the inside out. */
  outwards(i: number | undefined): number[] {
    if (i === undefined) return [];
    return this.nestings[i] === undefined ? [i] : [i, ...this.outwards(AROUND[i])];
  }

  tenantOf(member: Member, tag: string | undefined): OwnTenant | undefined {
    for (const budget of this.outwards(member.budget)) {
      const found = this.tenants.find((own) => own.budget === budget && own.tenant.name === tag);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Blocks of a member are no longer charged to tenants of these budgets. */
  uncharge(member: Member, budgets: readonly number[]): void {
    for (const block of member.blocks) if (block.tenant && budgets.includes(block.tenant.budget)) block.tenant = undefined;
  }

  leave(member: Member): void {
    member.membership?.dispose();
    this.uncharge(member, this.outwards(member.budget));
    member.budget = undefined;
    member.membership = undefined;
  }

  isBelow(member: Member, i: number): boolean {
    return this.outwards(member.budget).includes(i);
  }

  expected(i: number): number {
    let bytes = this.watched[i]!;
    for (const member of this.members) if (member.budget === i) bytes += member.held;
    for (const { budget, reservation } of this.reservations) if (budget === i) bytes += reservation.remainingBytes;
    const urls = new Map(this.segments.filter(({ budget }) => budget === i).map(({ name, bytes: of }) => [name, of]));
    for (const of of urls.values()) bytes += of;
    for (const [child, around] of AROUND.entries()) {
      if (around === i && this.nestings[child] !== undefined) bytes += this.expected(child);
    }
    return bytes;
  }

  check(): void {
    for (const [i, budget] of this.budgets.entries()) {
      const members = budget.report().members.filter(({ kind }) => kind !== 'process');
      expect(budget.usedBytes, `used of ${i}`).toBe(members.reduce((sum, { heldBytes }) => sum + heldBytes, 0));
      expect(budget.usedBytes, `used of ${i}`).toBe(this.expected(i));
      for (const [child, around] of AROUND.entries()) {
        if (around !== i || this.nestings[child] === undefined) continue;
        const held = members.find(({ name }) => name === `budget ${child}`)?.heldBytes;
        is(held, this.budgets[child]!.usedBytes, `${child} in ${i}`);
      }
    }
    // What is shared counts in the ledger as it counts here.
    is(this.shared.usedBytes, this.budgets[0]!.usedBytes);
    for (const own of this.tenants) {
      let live = 0;
      for (const { blocks } of this.members) for (const block of blocks) if (block.tenant === own) live += block.bytes;
      is(own.tenant.liveBytes, live, `of tenant ${own.tenant.name}`);
    }
  }

  /** Does a step, and checks what a request may do to others. */
  async run(one: Step): Promise<void> {
    const before = this.members.map(({ held }) => held);
    const used = this.budgets.map(({ usedBytes }) => usedBytes);
    const remaining = this.reservations.map(({ reservation }) => reservation.remainingBytes);
    const watched = [...this.watched];
    const actor = 'of' in one && ['allocate', 'allocateReserved'].includes(one.do) ? this.members[one.of] : undefined;
    const draws = one.do === 'allocateReserved' ? this.#reservation(one.from)?.reservation : undefined;
    this.#do(one);
    // Those who wait in line are served in turns of their own.
    await new Promise(setImmediate);
    this.check();
    const canBeRefused = ['allocate', 'allocateReserved', 'reserve', 'segment', 'reserveAsync', 'free', 'cleanUp'].includes(
      one.do,
    );
    if (!canBeRefused) return;
    expect(watched).toEqual(this.watched);
    for (const [i, budget] of this.budgets.entries()) {
      const most = Math.max(budget.limitBytes, used[i]!);
      atLeast(most, budget.usedBytes, `limit of ${i} after ${one.do}`);
    }
    for (const [i, member] of this.members.entries()) {
      if (member === actor || member.budget === undefined || one.do === 'cleanUp' || one.do === 'free') continue;
      atLeast(member.held, Math.min(before[i]!, member.minimum), `minimum of ${member.name}`);
    }
    for (const [i, { reservation }] of this.reservations.entries()) {
      if (i >= remaining.length || reservation === draws) continue;
      atLeast(reservation.remainingBytes, remaining[i]!, 'reserved');
    }
  }

  #reservation(which: number) {
    return this.reservations[which % Math.max(1, this.reservations.length)];
  }

  #allocate(member: Member, bytes: number, tag?: string): void {
    const tenant = this.tenantOf(member, tag);
    try {
      const handle = member.runtime.allocate(bytes, tag === undefined ? {} : { tag });
      member.blocks.push({ handle, bytes, tenant });
    } catch (error) {
      if (!isRefused(error)) throw error;
    }
  }

  #do(one: Step): void {
    switch (one.do) {
      case 'allocate':
        this.#allocate(this.members[one.of]!, one.bytes, one.tag);
        return;
      case 'allocateReserved': {
        const found = this.#reservation(one.from);
        if (found !== undefined) found.reservation.run(() => this.#allocate(this.members[one.of]!, one.bytes));
        return;
      }
      case 'free': {
        const members = this.members.filter(({ blocks }) => blocks.length > 0);
        const member = members[one.of % Math.max(1, members.length)];
        if (member === undefined) return;
        const at = one.of % member.blocks.length;
        try {
          member.blocks[at]!.handle.dispose();
          member.blocks.splice(at, 1);
        } catch (error) {
          if (!isOfDevice(error)) throw error;
        }
        return;
      }
      case 'join': {
        const member = this.members[one.of]!;
        if (member.budget !== undefined) return;
        try {
          const options = { name: member.name, minimumBytes: one.minimum, priority: one.of % 3 };
          member.membership = this.budgets[one.in]!.add(member.runtime, options);
          member.budget = one.in;
          member.minimum = one.minimum;
        } catch (error) {
          if (!MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) throw error;
        }
        return;
      }
      case 'leave':
        this.leave(this.members[one.of]!);
        return;
      case 'nest':
        this.nestings[one.of] ??= this.nest(one.of);
        return;
      case 'unnest': {
        const outer = this.outwards(one.of).slice(1);
        for (const member of this.members) if (this.isBelow(member, one.of)) this.uncharge(member, outer);
        this.nestings[one.of]?.dispose();
        this.nestings[one.of] = undefined;
        return;
      }
      case 'fail':
        this.device.failNext(one.calls);
        return;
      case 'failFrees': {
        let calls = 0;
        this.device.failWhen(({ name }) => {
          const gives = name === 'nativeFree' || name === 'release' || name === 'decommit';
          return gives && ++calls % (one.every + 1) === 0 ? new Error('refused') : false;
        });
        return;
      }
      case 'cleanUp':
        try {
          this.members[one.of]!.runtime.slot.signalMemoryCleanup();
        } catch (error) {
          if (!isOfDevice(error)) throw error;
        }
        return;
      case 'swap':
        this.members[one.of]!.runtime.slot.install(MAKERS[one.by]!(1, table()));
        return;
      case 'close': {
        const member = this.members[one.of]!;
        for (const ptr of member.fallbackBlocks.splice(0)) this.#freeFallback(member, ptr);
        if (member.fallback.liveBlocks > 0) return;
        this.device.failWhen(undefined);
        member.runtime.close();
        this.leave(member);
        member.renew();
        return;
      }
      case 'reserve':
        try {
          this.reservations.push({ budget: one.of, reservation: this.budgets[one.of]!.reserve(one.bytes) });
        } catch (error) {
          if (!isRefused(error)) throw error;
        }
        return;
      case 'reserveAsync':
        this.waiting++;
        this.budgets[one.of]!.reserveAsync(one.bytes).then(
          (reservation) => {
            this.waiting--;
            this.reservations.push({ budget: one.of, reservation });
          },
          (error: unknown) => {
            this.waiting--;
            if (!MemoryError.is(error)) throw error;
          },
        );
        return;
      case 'endReservation': {
        const found = this.#reservation(one.of);
        if (found === undefined) return;
        this.reservations.splice(this.reservations.indexOf(found), 1);
        found.reservation.dispose();
        return;
      }
      case 'watched':
        this.watched[one.of] = one.bytes;
        this.budgets[one.of]!.refresh();
        return;
      case 'tenant':
        try {
          const options = { limit: one.bytes, minimumBytes: Math.min(one.minimum, one.bytes) };
          this.tenants.push({ budget: one.of, tenant: this.budgets[one.of]!.tenant(one.name, options) });
        } catch (error) {
          if (!MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) throw error;
        }
        return;
      case 'endTenant': {
        const found = this.tenants[one.of % Math.max(1, this.tenants.length)];
        if (found === undefined) return;
        found.tenant.dispose();
        this.tenants.splice(this.tenants.indexOf(found), 1);
        for (const { blocks } of this.members) for (const block of blocks) if (block.tenant === found) block.tenant = undefined;
        return;
      }
      case 'segment':
        try {
          const known = this.segments.find(({ budget, name }) => budget === one.of && name === one.name);
          const bytes = known?.bytes ?? one.bytes;
          const attachment = this.budgets[one.of]!.addSegment({ url: one.name, bytes });
          this.segments.push({ budget: one.of, name: one.name, bytes, attachment });
        } catch (error) {
          if (!isRefused(error)) throw error;
        }
        return;
      case 'endSegment':
        this.segments.splice(one.of % Math.max(1, this.segments.length), 1)[0]?.attachment.dispose();
        return;
      case 'fallback': {
        const member = this.members[one.of]!;
        const ptr = member.fallback.alloc(one.bytes, 64);
        if (ptr !== 0) member.fallbackBlocks.push(ptr);
        return;
      }
      case 'freeFallback': {
        const member = this.members[one.of % this.members.length]!;
        const ptr = member.fallbackBlocks.shift();
        if (ptr !== undefined) this.#freeFallback(member, ptr);
        return;
      }
      case 'limit':
        this.ledger.setLimit(one.bytes);
        this.budgets[0]!.refresh();
        return;
    }
  }

  #freeFallback(member: Member, ptr: DevicePtr): void {
    try {
      member.fallback.free(ptr);
    } catch (error) {
      if (!isOfDevice(error)) throw error;
    }
  }

  /** Ends everything, in some order. */
  async end(): Promise<void> {
    this.device.failWhen(undefined);
    this.device.failNext(0);
    for (const { reservation } of this.reservations.splice(0)) reservation.dispose();
    for (const { attachment } of this.segments.splice(0)) attachment.dispose();
    for (const member of this.members) {
      member.fallback.retryFrees();
      for (const ptr of member.fallbackBlocks.splice(0)) member.fallback.free(ptr);
      member.fallback.retryFrees();
      member.runtime.close();
      this.leave(member);
      member.renew();
    }
    this.watched.fill(0);
    for (const budget of this.budgets) budget.refresh();
    await new Promise(setImmediate);
    for (const { reservation } of this.reservations.splice(0)) reservation.dispose();
    for (let turns = 0; this.waiting > 0; turns++) {
      expect(turns, 'turns of waiting').toBeLessThan(100);
      for (const budget of this.budgets) budget.refresh();
      await new Promise(setImmediate);
      for (const { reservation } of this.reservations.splice(0)) reservation.dispose();
    }
    this.check();
    expect(this.budgets.map(({ usedBytes }) => usedBytes)).toEqual([0, 0, 0, 0]);
    expect(this.tenants.map(({ tenant }) => tenant.liveBytes)).toEqual(this.tenants.map(() => 0));
    expect(this.device.liveBytes).toBe(0);
    for (const budget of this.budgets) budget.dispose();
    expect(this.ledger.heldBytes).toBe(0);
    for (const { runtime } of this.members) runtime.close();
  }
}
