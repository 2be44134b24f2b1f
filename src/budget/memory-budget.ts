import type { EventEmitter } from 'eventemitter3';
import { attempt } from '../core/attempt.js';
import type { BudgetReport } from '../core/budget-report.js';
import { budgets, type ReportsBudget } from '../core/budgets.js';
import type { Device } from '../core/device.js';
import { HostDevice } from '../core/device.js';
import { type Releasable, releasable } from '../core/disposable.js';
import { checkArgument, checkUsable, MemoryError } from '../core/errors.js';
import { INSPECT, inspected } from '../core/inspect.js';
import { ManagerSlot } from '../core/manager-slot.js';
import { MemoryHost } from '../core/memory-host.js';
import { checkOptionNames, checkOwnOptions, type OwnOptions } from '../core/option-names.js';
import { HOST_MEMORY } from '../core/slot-charges.js';
import { checkBytes, formatBytes } from '../core/units.js';
import { type AccountOwner, BudgetAccount } from './budget-account.js';
import type { BudgetEvents } from './budget-events.js';
import type { BudgetLedger } from './budget-ledger.js';
import { type BudgetLimit, LimitReading } from './budget-limit.js';
import { BudgetMember, type BudgetMemberOptions, MEMBER_OPTIONS, NO_CACHE } from './budget-member.js';
import { CountedSegments } from './counted-segments.js';
import { MemberCharge } from './member-charge.js';
import { BudgetReservation } from './reservation.js';
import { RESERVE_OPTIONS, ReservationLine, type ReserveOptions } from './reservation-line.js';
import { type RoomFacts, RoomMaker } from './room-maker.js';
import { SlotCache } from './slot-cache.js';
import { type BudgetTenant, TENANT_OPTIONS, type TenantOptions, type TenantOwner } from './tenant.js';
import { Tenants } from './tenants.js';
import { WatchedMemory } from './watched-memory.js';

/** Settings of a {@link MemoryBudget}. */
export interface MemoryBudgetOptions {
  /**
   * Bytes that all members may hold together, or a share: of this machine's memory or of the container's limit, whichever is less,
   * which is read again when it changes; of the card's memory where `memory` is a card.
   *
   * @defaultValue 80 %, or the limit of `ledger`
   */
  readonly limit?: BudgetLimit;
  /** The memory: this machine's, or that of a device. @defaultValue host */
  readonly memory?: 'host' | Device;
  /** Which of the device's. @defaultValue 0 */
  readonly deviceId?: number;
  /** What reports and refusals call it. @defaultValue budget */
  readonly name?: string;
  /** Whether V8's heap and ArrayBuffers count. @defaultValue true for this machine's memory */
  readonly watchV8?: boolean;
  /** Where other workers or processes count what they hold of the same limit; see `SharedLedger`. @defaultValue none */
  readonly ledger?: BudgetLedger;
}

const OPTIONS: OwnOptions<MemoryBudgetOptions> = {
  of: () => MemoryBudget,
  names: { limit: true, memory: true, deviceId: true, name: true, watchV8: true, ledger: true },
};

const DEFAULT_LIMIT = '80%';
/** How often a container's limit is read again, in looks at what is watched. */
const LIMIT_LOOKS = 10;

/** What can join a budget. */
export type BudgetJoiner = MemoryHost | ManagerSlot | MemoryBudget;

/**
 * One limit over all that holds native memory: runtimes, engines, slots, other budgets, what V8 has, and (with a ledger) other
 * workers and processes.
 *
 * ```ts
 * using budget = new MemoryBudget({ limit: '80%' });
 * budget.add(runtime, { name: 'buffers', priority: 1 });
 * budget.add(onnxHost, { name: 'models', minimumBytes: 64 * MiB });
 * ```
 *
 * Charged is what members reserve from the device, at the native call: an allocation that a manager serves from its cache costs
 * nothing more. When a request does not fit, this is done in order, until it does: the asking member gives cached memory back;
 * the others do, those of lowest priority first, never below their minimum; listeners of `pressure` free some; V8 is asked to find
 * dropped handles, which helps `allocateAsync`; then the request is refused (ERR_MEM_OUT_OF_MEMORY with `facts.budget`).
 * What is given back is what is missing, and 1/32 of the limit more, at most 64 MiB.
 *
 * What nobody can refuse (memory that is there when a member joins, an engine that takes no refusal, V8's heap) is charged all the
 * same: past the limit others give way at once, and what is left over is an `overshoot`.
 */
export class MemoryBudget implements ReportsBudget {
  readonly name: string;
  /** The kind of memory: `host`, or a device's name and id. */
  readonly memory: string;
  /** `pressure`, `reclaim`, `refusal` and `overshoot`. A listener that throws becomes a process warning. */
  readonly events: EventEmitter<BudgetEvents>;
  readonly #kind: string;
  readonly #deviceId: number;
  readonly #limit: LimitReading;
  readonly #watchesV8: boolean;
  readonly #account: BudgetAccount;
  readonly #room: RoomMaker;
  readonly #line: ReservationLine;
  readonly #tenants: Tenants;
  /** Of members, and of budgets below. */
  readonly #slots = new Set<ManagerSlot>();
  readonly #joined = new Map<BudgetJoiner, Releasable>();
  readonly #watched: WatchedMemory;
  readonly #segments: CountedSegments;
  #parent: MemoryBudget | undefined;
  #looks = 0;
  #overshoots = 0;
  #overshootBytes = 0;
  #isClosed = false;

  /** @throws ERR_MEM_INVALID_ARGUMENT for a limit that is no size or share, ERR_MEM_INVALID_DEVICE */
  constructor(options: MemoryBudgetOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    const { memory = HOST_MEMORY, deviceId = 0, name = 'budget', ledger } = options;
    checkArgument(typeof name === 'string' && name !== '', 'name', name, 'text');
    const isKnown = memory === HOST_MEMORY || typeof (memory as Device).getMaxMemorySize === 'function';
    checkArgument(isKnown, 'memory', memory, "'host' or a device");
    const device = memory === HOST_MEMORY || memory instanceof HostDevice ? undefined : (memory as Device);
    // A device that is not there has no size to take a share of.
    device?.getMaxMemorySize(deviceId);
    this.name = name;
    this.#kind = device === undefined ? HOST_MEMORY : device.name;
    this.#deviceId = device === undefined ? 0 : deviceId;
    this.memory = device === undefined ? HOST_MEMORY : `${device.name} ${deviceId}`;
    this.#limit = new LimitReading(
      options.limit ?? (ledger === undefined ? DEFAULT_LIMIT : Number.POSITIVE_INFINITY),
      device,
      deviceId,
    );
    this.#watchesV8 = options.watchV8 ?? device === undefined;
    const owner = this.#owner();
    this.#account = new BudgetAccount(owner, ledger);
    this.#room = new RoomMaker(owner, this.#account);
    this.events = this.#room.events;
    this.#line = new ReservationLine((bytes) => this.#reserveNow(bytes));
    this.#tenants = new Tenants(owner);
    this.#watched = new WatchedMemory(this.#account, () => this.#tick());
    this.#segments = new CountedSegments(this.#account, owner);
    budgets().add(this);
  }

  /** Bytes that may be held now. */
  get limitBytes(): number {
    const { ledger } = this.#account;
    return ledger === undefined ? this.#limit.bytes : Math.min(this.#limit.bytes, ledger.limitBytes);
  }

  /** Bytes that members hold. */
  get usedBytes(): number {
    return this.#account.usedBytes;
  }

  /**
   * Lets a host, slot or budget be a member, with what it holds already. A host's pinned memory is this machine's: it counts with its
   * ordinary memory, or, where that is a card's, joins by itself (`budget.add(host.pinnedSlot)`).
   *
   * @returns what lets it leave, with what it holds
   * @throws ERR_MEM_INVALID_ARGUMENT for other memory than the budget's, a minimum above the limit, one that is a member already, and a
   *   budget that is around this one
   * @throws ERR_MEM_DISPOSED
   */
  add(joiner: BudgetJoiner, options: BudgetMemberOptions = {}): Releasable {
    this.#checkOpen();
    checkOptionNames('budget.add', options, MEMBER_OPTIONS);
    checkArgument(!this.#joined.has(joiner), 'member', 'one already', 'one that is not in this budget');
    const left = this.limitBytes - [...this.#account.members].reduce((sum, { minimumBytes }) => sum + minimumBytes, 0);
    const { minimumBytes = 0 } = options;
    checkArgument(
      !(minimumBytes > left),
      'minimumBytes',
      minimumBytes,
      `at most ${left}: what the limit has beyond other minimums`,
    );
    const leave = joiner instanceof MemoryBudget ? this.#addBudget(joiner, options) : this.#addSlots(joiner, options);
    const membership = releasable(() => {
      leave();
      this.#joined.delete(joiner);
      this.#startOrStop();
    });
    this.#joined.set(joiner, membership);
    this.#startOrStop();
    return membership;
  }

  /**
   * Counts memory that nobody here hands out, by asking for it now and then: about every 100 ms, whenever 16 MiB were granted, and before
   * a request is refused. It can be refused nothing: the others give way as it grows.
   *
   * @param read - gives bytes
   */
  watch(name: string, read: () => number): Releasable {
    this.#checkOpen();
    const watching = this.#watched.add(name, read);
    this.#startOrStop();
    return releasable(() => {
      watching.dispose();
      this.#startOrStop();
    });
  }

  /**
   * Counts a shared segment once, however many here attach it; with a ledger once for all who share that.
   *
   * @param segment - its url and bytes
   * @returns what counts one attachment less
   * @throws ERR_MEM_OUT_OF_MEMORY when it does not fit; nothing has changed then
   */
  addSegment({ url, bytes }: { readonly url: string; readonly bytes: number }): Releasable {
    this.#checkOpen();
    return this.#segments.add(url, bytes);
  }

  /**
   * Gives the allocations with a tag a share: those of runtimes in this budget and in budgets below it, from now on. They are charged
   * to it by the bytes that were asked for, as long as the blocks live.
   *
   * @param name - the tag
   * @throws ERR_MEM_INVALID_ARGUMENT for a minimum above the limit, or above what other tenants leave; for a tag that has a tenant
   */
  tenant(name: string, options: TenantOptions = {}): BudgetTenant {
    this.#checkOpen();
    checkOptionNames('budget.tenant', options, TENANT_OPTIONS);
    return this.#tenants.add(name, options);
  }

  /**
   * Takes memory ahead of a job, having others make room as for any request.
   *
   * @throws ERR_MEM_OUT_OF_MEMORY when there is not enough, or others wait for memory
   */
  reserve(bytes: number): BudgetReservation {
    this.#checkOpen();
    checkBytes(bytes);
    if (!this.#line.isEmpty) throw this.#room.refusal(new BudgetMember('reserved', 'reservation', NO_CACHE), bytes, []);
    return this.#reserveNow(bytes);
  }

  /**
   * Takes memory ahead of a job, and waits for it in line: who came first is served first.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_DISPOSED when the budget ends meanwhile, ERR_MEM_OUT_OF_MEMORY for more than the limit
   */
  async reserveAsync(bytes: number, options: ReserveOptions = {}): Promise<BudgetReservation> {
    this.#checkOpen();
    checkOptionNames('budget.reserveAsync', options, RESERVE_OPTIONS);
    checkBytes(bytes);
    if (bytes > this.limitBytes) throw this.#room.refusal(new BudgetMember('reserved', 'reservation', NO_CACHE), bytes, []);
    return await this.#line.wait(bytes, options.signal);
  }

  /**
   * Looks at once at the limit, at what is watched, and at what others who share the budget want, and has members give way. It is done
   * every 100 ms while there are members.
   */
  refresh(): void {
    this.#limit.refresh();
    this.#look();
  }

  /** What is held, by whom, and what was done. Cost: O(managers x devices) */
  report(): BudgetReport {
    const { name, memory, limitBytes } = this;
    const { usedBytes, peakBytes, ledger } = this.#account;
    const { refusals, reclaimCount, reclaimedBytes, reclaims } = this.#room;
    return {
      name,
      memory,
      limitBytes,
      usedBytes: ledger?.usedBytes ?? usedBytes,
      peakBytes,
      members: this.#room.members(),
      tenants: [...this.#tenants].map((tenant) => tenant.reading()),
      refusals,
      overshoots: this.#overshoots,
      overshootBytes: this.#overshootBytes,
      reclaimCount,
      reclaimedBytes,
      reclaims: [...reclaims],
    };
  }

  /** Lets everybody leave, and turns away who waits. Members keep what they hold. */
  dispose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const membership of [...this.#joined.values()]) membership.dispose();
    for (const reservation of [...this.#account.reservations]) reservation.dispose();
    this.#line.close(new MemoryError('ERR_MEM_DISPOSED', { what: 'budget' }));
    this.#leaveParent();
    this.#startOrStop();
    budgets().delete(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `MemoryBudget { process, host, 480.00 MiB of 512.00 MiB held, models 300.00 MiB, buffers 180.00 MiB }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => {
      const members = [...this.#account.members].map(({ name, heldBytes }) => `${name} ${formatBytes(heldBytes)}`);
      return [this.name, this.memory, `${formatBytes(this.usedBytes)} of ${formatBytes(this.limitBytes)} held`, ...members];
    });
  }

  #addBudget(child: MemoryBudget, options: BudgetMemberOptions): () => void {
    const isSame = child.#kind === this.#kind && child.#deviceId === this.#deviceId;
    checkArgument(isSame, 'member', `a budget of ${child.memory}`, `one of ${this.memory}`);
    checkArgument(child.#parent === undefined, 'member', `the budget ${child.name}, in another one`, 'one that is in no other');
    checkArgument(
      child.#account.ledger === undefined,
      'member',
      'a budget with a ledger',
      'one without: that of processes is the outermost',
    );
    const isAround = this.#outwards().includes(child);
    checkArgument(!isAround, 'member', `the budget ${child.name}, which is around this one`, 'one that is not');
    const cache = {
      cachedBytes: () => {
        let bytes = 0;
        for (const member of child.#account.members) bytes += member.cache.cachedBytes();
        return bytes;
      },
      release: (wantedBytes: number, mostBytes: number) => child.#room.release(wantedBytes, mostBytes),
    };
    const member = new BudgetMember('budget', options.name ?? child.name, cache, options);
    const charge = new MemberCharge(this.#account, member, () => this.#settled());
    this.#account.members.add(member);
    child.#parent = this;
    child.#account.parent = charge;
    charge.force(child.usedBytes);
    child.#startOrStop();
    for (const slot of child.#slots) this.#joinTenants(slot);
    return () => {
      for (const slot of child.#slots) this.#leaveTenants(slot);
      child.#account.parent = undefined;
      child.#parent = undefined;
      charge.end();
      this.#account.members.delete(member);
      child.#startOrStop();
    };
  }

  #leaveParent(): void {
    const parent = this.#parent;
    if (parent !== undefined) parent.#joined.get(this)?.dispose();
  }

  /** This budget, and those around it. */
  #outwards(): MemoryBudget[] {
    const parent = this.#parent;
    return parent === undefined ? [this] : [this, ...parent.#outwards()];
  }

  #addSlots(joiner: MemoryHost | ManagerSlot, options: BudgetMemberOptions): () => void {
    checkArgument(joiner instanceof MemoryHost || joiner instanceof ManagerSlot, 'member', joiner, 'a host, a slot or a budget');
    const ofHost = joiner instanceof MemoryHost ? [joiner.slot, joiner.pinnedSlot] : [joiner];
    const [{ charges }] = ofHost as [ManagerSlot];
    const isOurs = charges.memory === this.#kind;
    const expected = `one of ${this.memory}${joiner instanceof MemoryHost ? '; its pinned memory joins by host.pinnedSlot' : ''}`;
    checkArgument(isOurs, 'member', `memory of ${charges.memory}`, expected);
    const slots = ofHost.filter((slot) => slot.charges.memory === this.#kind);
    for (const { charges: taken } of slots) {
      checkArgument(
        taken.of(this.#deviceId) === undefined,
        'member',
        'memory that is in another budget',
        'memory that is in none',
      );
    }
    const deviceCount = joiner instanceof MemoryHost ? joiner.deviceCount : 1;
    const name = options.name ?? this.#freeName(joiner.constructor.name);
    const member = new BudgetMember('memory', name, new SlotCache(slots, this.#deviceId, deviceCount), options);
    this.#account.members.add(member);
    const ends = slots.map((slot) => {
      const charge = new MemberCharge(
        this.#account,
        member,
        () => this.#settled(),
        () => this.#joined.get(joiner)?.dispose(),
      );
      const end = slot.charges.join(this.#deviceId, charge);
      this.#joinTenants(slot);
      return () => {
        end();
        charge.end();
        this.#leaveTenants(slot);
      };
    });
    return () => {
      for (const end of ends) end();
      this.#account.members.delete(member);
    };
  }

  #joinTenants(slot: ManagerSlot): void {
    for (const budget of this.#outwards()) {
      budget.#slots.add(slot);
      budget.#tenants.join(slot);
    }
  }

  #leaveTenants(slot: ManagerSlot): void {
    for (const budget of this.#outwards()) {
      budget.#slots.delete(slot);
      budget.#tenants.leave(slot);
    }
  }

  #freeName(wanted: string): string {
    const names = new Set([...this.#account.members].map(({ name }) => name));
    let name = wanted;
    for (let n = 2; names.has(name); n++) name = `${wanted} ${n}`;
    return name;
  }

  #reserveNow(bytes: number): BudgetReservation {
    const member = new BudgetMember('reserved', this.#freeName('reservation'), NO_CACHE);
    this.#account.take(member, bytes);
    const reservation = new BudgetReservation(bytes, member, () => {
      this.#account.reservations.delete(reservation);
      this.#account.give(member, member.heldBytes);
      this.#account.members.delete(member);
    });
    this.#account.members.add(member);
    this.#account.reservations.add(reservation);
    return reservation;
  }

  async #settled(): Promise<void> {
    for (const budget of this.#outwards()) await budget.#room.settled();
  }

  /** Watches V8 and starts the timer while there are members; a budget around this one watches V8 in its place. */
  #startOrStop(): void {
    const hasMembers = !this.#isClosed && (this.#joined.size > 0 || !this.#watched.isEmpty);
    this.#watched.run(hasMembers, hasMembers && this.#watchesV8 && this.#parent === undefined);
  }

  #tick(): void {
    if (this.#looks++ % LIMIT_LOOKS === 0) attempt(() => this.#limit.refresh());
    attempt(() => this.#look());
  }

  #look(): void {
    this.#watched.look();
    this.#room.shrink();
    this.#lookAtOthers();
    this.#line.serve();
  }

  /** Gives memory back that others want who share the limit, and tells them how much there is. */
  #lookAtOthers(): void {
    const { ledger, members } = this.#account;
    if (ledger === undefined) return;
    ledger.returnDead();
    const wanted = ledger.wantedHere();
    if (wanted > 0) this.#room.release(wanted, Number.POSITIVE_INFINITY, 'other processes', 'another process');
    let cached = 0;
    for (const { cache } of members) cached += cache.cachedBytes();
    ledger.publishCached(cached);
  }

  #checkOpen(): void {
    checkUsable(!this.#isClosed, 'budget');
  }

  /** What the parts of this budget ask of it. */
  #owner(): AccountOwner & RoomFacts & TenantOwner {
    const budget = this;
    return {
      name: this.name,
      memory: this.#kind,
      deviceId: this.#deviceId,
      keptBytes: 0,
      get limitBytes() {
        return budget.limitBytes;
      },
      makeRoom: (asking, bytes) => this.#room.makeRoom(asking, bytes),
      makeTenantRoom: (tenant, bytes, fits) => this.#room.makeTenantRoom(tenant, bytes, fits),
      refusal: (asking, bytes) => this.#room.refusal(asking, bytes, []),
      granted: (bytes) => this.#watched.granted(bytes),
      overshot: (asking, bytes) => this.#overshot(asking, bytes),
      hasRoom: () => this.#line.serve(),
      givesWay: () => this.#tenants.givesWay(),
      refresh: () => {
        this.#limit.refresh();
        this.#watched.look();
      },
      endTenant: (tenant) => this.#tenants.remove(tenant),
      settled: () => this.#settled(),
    };
  }

  #overshot(asking: BudgetMember, bytes: number): void {
    this.#room.shrink();
    const overshootBytes = this.#account.missingBytes(0);
    if (overshootBytes <= 0) return;
    this.#overshoots++;
    this.#overshootBytes = Math.max(this.#overshootBytes, overshootBytes);
    attempt(() => this.events.emit('overshoot', { asking: asking.name, bytes, overshootBytes }));
  }
}
