import { attempt } from '../core/attempt.js';
import type { Device } from '../core/device.js';
import type { Releasable } from '../core/disposable.js';
import type { MemoryError } from '../core/errors.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import { HOST_MEMORY } from '../core/slot-charges.js';
import { type AccountOwner, BudgetAccount } from './budget-account.js';
import type { BudgetLedger } from './budget-ledger.js';
import { type BudgetLimit, LimitReading } from './budget-limit.js';
import { BudgetMember, NO_CACHE } from './budget-member.js';
import { CountedSegments } from './counted-segments.js';
import { FreedMemory } from './freed-memory.js';
import { BudgetReservation } from './reservation.js';
import { ReservationLine } from './reservation-line.js';
import { type RoomFacts, RoomMaker } from './room-maker.js';
import type { BudgetTenant, TenantOwner } from './tenant.js';
import { Tenants } from './tenants.js';
import { WatchedMemory } from './watched-memory.js';

/** How often a container's limit is read again, in looks at what is watched. */
const LIMIT_LOOKS = 10;

/** The name of all reservations: reports add them up. */
export const RESERVATION = 'reservation';

/** What a budget is made of. */
export interface PartsOptions {
  readonly name: string;
  readonly limit: BudgetLimit;
  /** Undefined for this machine's memory. */
  readonly device: Device | undefined;
  readonly deviceId: number;
  readonly watchesV8: boolean;
  readonly ledger: BudgetLedger | undefined;
}

/** The parts of a budget, which know each other by way of this one, and the budget around it. */
export class BudgetParts implements AccountOwner, RoomFacts, TenantOwner {
  readonly name: string;
  readonly memory: string;
  readonly deviceId: number;
  readonly account: BudgetAccount;
  readonly ledger: BudgetLedger | undefined;
  readonly room: RoomMaker;
  readonly line: ReservationLine;
  readonly tenants: Tenants;
  readonly watched: WatchedMemory;
  readonly segments: CountedSegments;
  /** What lets each member leave that joined. */
  readonly joined = new Map<object, Releasable>();
  /** Of members, and of budgets below. */
  readonly slots = new Set<ManagerSlot>();
  parent: BudgetParts | undefined;
  /** Budgets that are members. */
  readonly children = new Set<BudgetParts>();
  keptBytes = 0;
  overshoots = 0;
  overshootBytes = 0;
  isClosed = false;
  readonly #limit: LimitReading;
  readonly #watchesV8: boolean;
  /** Kept for reports when the ledger has ended. */
  #sharedLimitBytes = Number.POSITIVE_INFINITY;
  #looks = 0;
  /** Whether more is held than the limit. */
  #isOver = false;

  constructor({ name, limit, device, deviceId, watchesV8, ledger }: PartsOptions) {
    this.name = name;
    this.memory = device === undefined ? HOST_MEMORY : device.name;
    this.deviceId = device === undefined ? 0 : deviceId;
    this.#limit = new LimitReading(limit, device, deviceId);
    this.#watchesV8 = watchesV8;
    this.ledger = ledger;
    this.account = new BudgetAccount(this, ledger, device === undefined ? new FreedMemory() : undefined);
    this.room = new RoomMaker(this, this.account);
    this.line = new ReservationLine(
      (bytes) => RoomMaker.untold(() => this.reserve(bytes)),
      (bytes) => this.outwards().every(({ account }) => account.missingBytes(bytes) <= 0),
    );
    this.tenants = new Tenants(this);
    this.watched = new WatchedMemory(this.account, () => this.#tick(), name);
    this.segments = new CountedSegments(this.account);
  }

  get limitBytes(): number {
    const { ledger } = this.account;
    if (ledger !== undefined) this.#sharedLimitBytes = ledger.limitBytes;
    return Math.min(this.#limit.bytes, this.#sharedLimitBytes);
  }

  /** The memory, for people. */
  get memoryText(): string {
    return this.memory === HOST_MEMORY ? HOST_MEMORY : `${this.memory} ${this.deviceId}`;
  }

  /** This budget, and those around it, from the inside out. */
  outwards(): BudgetParts[] {
    return this.parent === undefined ? [this] : [this, ...this.parent.outwards()];
  }

  /** Takes memory ahead of a job. @throws ERR_MEM_OUT_OF_MEMORY */
  reserve(bytes: number): BudgetReservation {
    const { members, reservations } = this.account;
    const member = new BudgetMember('reserved', RESERVATION, NO_CACHE);
    this.account.take(member, bytes);
    const reservation = new BudgetReservation(bytes, member, () => {
      reservations.delete(reservation);
      this.account.give(member, member.heldBytes);
      members.delete(member);
    });
    members.add(member);
    reservations.add(reservation);
    return reservation;
  }

  /** A name that no member has. */
  freeName(wanted: string): string {
    const names = new Set([...this.account.members].map(({ name }) => name));
    let name = wanted;
    for (let n = 2; names.has(name); n++) name = `${wanted} ${n}`;
    return name;
  }

  /** Watches V8 and starts the timer while there are members, or somebody waits; a budget around this one watches V8 in its place. */
  startOrStop(): void {
    const hasMembers = !this.isClosed && (this.joined.size > 0 || !this.watched.isEmpty);
    const isAwaited = !this.isClosed && !this.line.isEmpty;
    // Once this process has nothing left to do, nobody but others who share a ledger could free anything. A signal has a timer that keeps
    // no process alive.
    const isSettled = this.line.mayBeLeft || this.outwards().some(({ account }) => account.ledger !== undefined);
    const keepsAlive = isAwaited && isSettled;
    this.watched.run(hasMembers || isAwaited, hasMembers && this.#watchesV8 && this.parent === undefined, keepsAlive);
  }

  /** Looks at everything that changes by itself, and has members give way. */
  look(): void {
    this.watched.look();
    this.room.shrink();
    // The limit may have fallen below what is held.
    this.#noteOver(this.name, 0, true);
    this.room.giveToOthers();
    // Others count on what was given back here, and do not see what the C library of this process keeps of it.
    if (this.account.ledger !== undefined) this.account.freed?.giveBackMuch(this.limitBytes);
    this.line.serve(true);
  }

  /** Waits for those who make room in their own time. */
  async settled(): Promise<void> {
    for (const { room } of this.outwards()) await room.settled();
  }

  refresh(): void {
    this.#limit.refresh();
    this.watched.look();
  }

  makeRoom(asking: BudgetMember, bytes: number): void {
    this.room.makeRoom(asking, bytes);
  }

  makeTenantRoom(tenant: BudgetTenant, bytes: number, missingBytes: () => number): void {
    this.room.makeTenantRoom(tenant, bytes, missingBytes);
  }

  refusal(asking: BudgetMember, bytes: number): MemoryError {
    return this.room.refusal(asking, bytes);
  }

  granted(bytes: number): void {
    this.watched.granted(bytes);
    this.room.granted(bytes);
  }

  overshot(asking: BudgetMember, bytes: number): void {
    this.room.shrink();
    // What is only watched grows bit by bit: it went past the limit once.
    this.#noteOver(asking.name, bytes, asking.kind === 'watched');
  }

  /** Tells when more is held than the limit. @param isGradual - whether that is told once until it is within again */
  #noteOver(asking: string, bytes: number, isGradual: boolean): void {
    const overshootBytes = this.account.missingBytes(0);
    if (overshootBytes <= 0) {
      this.#isOver = false;
      return;
    }
    const isMore = this.#isOver && isGradual;
    this.#isOver = true;
    this.overshootBytes = Math.max(this.overshootBytes, overshootBytes);
    if (isMore) return;
    this.overshoots++;
    attempt(() => this.room.events.emit('overshoot', { asking, bytes, overshootBytes }));
  }

  hasRoom(): void {
    if (this.#isOver && this.account.missingBytes(0) <= 0) this.#isOver = false;
    this.line.serve();
    // What somebody there waits for may be missing here.
    for (const child of this.children) child.hasRoom();
  }

  givesWay(): string[] {
    return this.tenants.givesWay();
  }

  endTenant(tenant: BudgetTenant): void {
    this.tenants.remove(tenant);
  }

  #tick(): void {
    if (this.#looks++ % LIMIT_LOOKS === 0) attempt(() => this.#limit.refresh());
    attempt(() => this.look());
  }
}
