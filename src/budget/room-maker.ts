import { EventEmitter } from 'eventemitter3';
import { attempt } from '../core/attempt.js';
import type { BudgetMemberReading, BudgetReclaim, BudgetRefusal, BudgetStep } from '../core/budget-report.js';
import { COLLECT_VARIABLE, flagFromEnvironment } from '../core/environment.js';
import { MemoryError } from '../core/errors.js';
import { processState } from '../core/process-state.js';
import { HOST_MEMORY } from '../core/slot-charges.js';
import { exactBytes, formatBytes, MiB } from '../core/units.js';
import { HandleWatch } from '../runtime/handle-watch.js';
import type { BudgetAccount } from './budget-account.js';
import type { BudgetEvents } from './budget-events.js';
import type { BudgetLedger } from './budget-ledger.js';
import { type BudgetMember, inOrderOfGiving } from './budget-member.js';
import { Pressure } from './pressure.js';
import { RoomRequests } from './room-requests.js';
import { within } from './within.js';

/** What is given back beyond what is missing, so that the next request need not ask again: this share of the limit, at most so much. */
const HYSTERESIS = 1 / 32;
const MOST_HYSTERESIS_BYTES = 64 * MiB;
/** How long what could not be given is not offered again: others are asked meanwhile, and then it may be other memory. */
const STUCK_MS = 1000;
/** How long an asynchronous request waits for listeners: one that never ends must not keep all that come later. */
const LISTENERS_MS = 10_000;
/** How many reclaims a report shows. */
const REMEMBERED = 64;

/** One thing to try, and what it freed. */
type Step = readonly [step: BudgetStep, take: () => number];
type Tried = BudgetRefusal['tried'][number];

/** What is known of a tenant that asks. */
export interface TenantFacts {
  readonly name: string;
  readonly liveBytes: number;
  readonly limitBytes: number;
}

/** What the maker of room knows of its budget. */
export interface RoomFacts {
  readonly name: string;
  /** The kind of memory. */
  readonly memory: string;
  readonly limitBytes: number;
  /** Tenants that have more than their minimum, the lowest priority first. */
  givesWay(): string[];
  /** Looks at what is watched and at the limit. */
  refresh(): void;
  /** Notes that there may be room. */
  hasRoom(): void;
  /** The id of the memory's device. */
  readonly deviceId: number;
}

/** Makes room in a budget that is full, step by step, and remembers what it did. */
export class RoomMaker {
  /** Whether a request is tried that waits when it is refused. */
  static #isUntold = false;
  readonly events = new EventEmitter<BudgetEvents>();
  readonly reclaims: BudgetReclaim[] = [];
  reclaimCount = 0;
  reclaimedBytes = 0;
  refusals = 0;
  readonly #facts: RoomFacts;
  readonly #account: BudgetAccount;
  readonly #requests: RoomRequests | undefined;
  readonly #waiting = new Set<Promise<unknown>>();
  #isBusy = false;
  /** Cached bytes that nobody here could give when they were wanted: parts of segments in use, and what minimums keep. */
  #stuckBytes = 0;
  #stuckUntilMs = 0;
  /** The last refusal of this turn. */
  #last:
    | { readonly asking: BudgetMember; readonly bytes: number; readonly gives: number; readonly error: MemoryError }
    | undefined;

  constructor(facts: RoomFacts, account: BudgetAccount) {
    this.#facts = facts;
    this.#account = account;
    const { ledger } = account;
    if (ledger !== undefined) this.#requests = new RoomRequests(ledger, (bytes) => account.missingBytes(bytes));
  }

  /**
   * Makes room for bytes. Stops at the first step after which they fit.
   *
   * @throws ERR_MEM_OUT_OF_MEMORY when no step helped
   */
  makeRoom(asking: BudgetMember, bytes: number): void {
    const account = this.#account;
    const before = this.#refusedJustNow(asking, bytes);
    const tried: Tried[] = [];
    const others = [...account.members].filter((member) => member !== asking);
    const steps: Step[] = [
      ['own cache', () => this.#askMembers('own cache', asking, bytes, [asking])],
      ['caches of others', () => this.#askMembers('caches of others', asking, bytes, others)],
      ...(before === undefined && !this.#isAwaited ? this.#slowSteps(asking, bytes) : []),
      ...(this.#requests === undefined ? [] : [['other processes', () => this.#requests!.ask(bytes)] as Step]),
    ];
    const fits = () => account.missingBytes(bytes) <= 0;
    const hasRoom = () => {
      this.#facts.refresh();
      // What is more than the limit never fits: nobody is to lose a cache for it.
      return fits() || (bytes <= this.#facts.limitBytes && this.#climb(steps, fits, tried));
    };
    // A listener or a manager that asks meanwhile gets what there is.
    if (!this.#isBusy && this.#exclusively(hasRoom)) return;
    if (before !== undefined) throw before;
    const error = this.refusal(asking, bytes, tried);
    if (!this.#isBusy) {
      this.#last = { asking, bytes, gives: account.gives, error };
      queueMicrotask(() => (this.#last = undefined));
    }
    throw error;
  }

  /**
   * Has listeners make room for a tenant's blocks. Caches do not help: what a manager caches is no tenant's.
   *
   * @throws ERR_MEM_OUT_OF_MEMORY when they do not
   */
  makeTenantRoom(tenant: TenantFacts, bytes: number, missingBytes: () => number): void {
    const tried: Tried[] = [];
    const { name, limitBytes } = tenant;
    const steps: Step[] = [
      ['listeners', () => this.#askListeners(name, missingBytes())],
      ['dropped handles', () => this.#askCollector()],
    ];
    if (!this.#isBusy && this.#exclusively(() => this.#climb(steps, () => missingBytes() <= 0, tried))) return;
    const refusal = {
      name: `${this.#facts.name}/${name}`,
      limitBytes,
      usedBytes: tenant.liveBytes,
      asking: name,
      missingBytes: missingBytes(),
      tried,
    };
    throw this.#refuse({ ...refusal, members: this.members() }, bytes, tenant.liveBytes);
  }

  /** Tries a reservation that waits when it does not fit: that is no refusal, and nobody is told. */
  static untold<T>(reserve: () => T): T {
    RoomMaker.#isUntold = true;
    try {
      return reserve();
    } finally {
      RoomMaker.#isUntold = false;
    }
  }

  /** Has others give cached memory back so that the budget is within its limit again. */
  shrink(): void {
    if (this.#isBusy || this.#account.missingBytes(0) <= 0) return;
    this.#exclusively(() => this.#askMembers('caches of others', undefined, 0, this.#account.members));
  }

  /** Gives cached memory back for others, those of lowest priority first. @returns how many bytes went */
  release(wantedBytes: number, mostBytes: number, step: BudgetStep = 'caches of others', asking = 'others'): number {
    let freed = 0;
    const { members, asking: own } = this.#account;
    const first = own === undefined ? [] : [own];
    for (const member of [...first, ...inOrderOfGiving(members).filter((other) => other !== own)]) {
      if (freed >= wantedBytes) break;
      // As in a budget that is in no other: its own cache the one who asks may give without regard to its minimum.
      const kept = member === own ? 0 : member.minimumBytes;
      const most = Math.min(mostBytes - freed, member.heldBytes - kept);
      if (most <= 0) continue;
      const isAll = mostBytes === Number.POSITIVE_INFINITY && kept === 0;
      const gone = member.cache.release(Math.min(wantedBytes - freed, most), isAll ? Number.POSITIVE_INFINITY : most);
      this.#remember(asking, member, step, wantedBytes - freed, gone);
      freed += gone;
    }
    return freed;
  }

  /** Gives memory back that others want who share the limit, and tells them how much there is. */
  giveToOthers(): void {
    const { ledger, members } = this.#account;
    if (ledger === undefined) return;
    ledger.returnDead();
    this.#requests!.expire();
    const wanted = ledger.wantedHere();
    const gone = wanted > 0 ? this.release(wanted, this.#mostForOthers(ledger), 'other processes', 'another process') : 0;
    let cached = 0;
    for (const { cache } of members) cached += cache.cachedBytes();
    this.#noteStuck(wanted, gone, cached);
    // Others count on what is published: what does not go when it is wanted would keep them from asking anybody else.
    ledger.publishCached(cached - this.#stuckBytes);
  }

  /** Notes that bytes were granted: others need not give them. */
  granted(bytes: number): void {
    this.#requests?.granted(bytes);
  }

  /** Waits for listeners that make room in their own time, and a while for others who share the budget. */
  async settled(): Promise<void> {
    // Not for those that begin meanwhile: where there is always somebody who asks, that would be for ever.
    if (this.#waiting.size > 0) await within(Promise.allSettled(this.#waiting), LISTENERS_MS);
    await this.#requests?.settled();
  }

  /** Counts a refusal, tells of it, and makes its error. */
  refusal(asking: BudgetMember, bytes: number, tried: readonly Tried[] = []): MemoryError {
    const { limitBytes, name } = this.#facts;
    const { usedBytes, ledger } = this.#account;
    const missingBytes = Math.max(0, this.#account.missingBytes(bytes));
    const held = { usedBytes: ledger?.usedBytes ?? usedBytes, members: this.members() };
    const isTold = !RoomMaker.#isUntold || (asking.kind !== 'reserved' && asking.kind !== 'budget');
    return this.#refuse({ name, limitBytes, ...held, asking: asking.name, missingBytes, tried }, bytes, asking.heldBytes, isTold);
  }

  /** Who holds what, the most first, also beyond this isolate. */
  members(): BudgetMemberReading[] {
    const { members, ledger } = this.#account;
    const others = ledger?.members().filter(({ isSelf }) => !isSelf) ?? [];
    const readings = others.map(({ name, heldBytes, cachedBytes, minimumBytes, priority }) => {
      return { name, kind: 'process' as const, heldBytes, cachedBytes, peakBytes: heldBytes, minimumBytes, priority };
    });
    return [...[...members].map((member) => member.reading()), ...readings].sort((a, b) => b.heldBytes - a.heldBytes);
  }

  #refuse(refusal: BudgetRefusal, requestedBytes: number, heldBytes: number, isTold = true): MemoryError {
    const { limitBytes, missingBytes } = refusal;
    if (isTold) {
      this.refusals++;
      attempt(() => this.events.emit('refusal', refusal));
      for (const listener of processState().refusalListeners) attempt(listener);
    }
    return new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
      requestedBytes,
      allocatedBytes: heldBytes,
      reservedBytes: heldBytes,
      capacityBytes: limitBytes,
      device: this.#facts.deviceId,
      missingBytes,
      quota: refusalText(refusal),
      budget: refusal,
    });
  }

  /** Takes step after step until it fits. @returns whether it does */
  #climb(steps: readonly Step[], fits: () => boolean, tried: Tried[]): boolean {
    for (const [step, take] of steps) {
      tried.push({ step, freedBytes: take() });
      if (fits()) return true;
    }
    return false;
  }

  #askMembers(step: BudgetStep, asking: BudgetMember | undefined, bytes: number, members: Iterable<BudgetMember>): number {
    let freed = 0;
    for (const member of inOrderOfGiving(members)) {
      const missing = this.#account.missingBytes(bytes);
      if (missing <= 0) break;
      const wanted = missing + Math.floor(Math.min(HYSTERESIS * this.#facts.limitBytes, MOST_HYSTERESIS_BYTES));
      // Its own cache it may give without regard to a minimum: nobody else gains by that.
      const gone = member === asking ? member.cache.release(wanted, Number.POSITIVE_INFINITY) : member.giveWay(wanted);
      this.#remember(asking?.name ?? this.#facts.name, member, step, wanted, gone);
      freed += gone;
    }
    return freed;
  }

  #noteStuck(wanted: number, gone: number, cached: number): void {
    const nowMs = performance.now();
    if (gone < wanted) {
      this.#stuckBytes = cached;
      this.#stuckUntilMs = nowMs + STUCK_MS;
    } else this.#stuckBytes = wanted > 0 || nowMs >= this.#stuckUntilMs ? 0 : Math.min(this.#stuckBytes, cached);
  }

  /** How much may go so that this isolate keeps the minimum that it has in the ledger. */
  #mostForOthers(ledger: BudgetLedger): number {
    const own = ledger.members().find(({ isSelf }) => isSelf);
    return own === undefined || own.minimumBytes === 0 ? Number.POSITIVE_INFINITY : own.heldBytes - own.minimumBytes;
  }

  #slowSteps(asking: BudgetMember, bytes: number): Step[] {
    const { trimNativeHeap } = processState();
    return [
      ...(trimNativeHeap === undefined || this.#facts.memory !== HOST_MEMORY
        ? []
        : [['C library', () => this.#trimHeap(asking, bytes, trimNativeHeap)] as Step]),
      ['listeners', () => this.#askListenersFor(asking, bytes)],
      ['dropped handles', () => this.#askCollector()],
    ];
  }

  /** Whether who waits in line has asked listeners already, and they are at it. */
  get #isAwaited(): boolean {
    return RoomMaker.#isUntold && this.#waiting.size > 0;
  }

  /** The refusal of this request a moment ago. Managers ask once more when they have given back what they cache: nobody is to hear of that twice. */
  #refusedJustNow(asking: BudgetMember, bytes: number): MemoryError | undefined {
    const last = this.#last;
    const isSame = last?.asking === asking && last.bytes === bytes && last.gives === this.#account.gives;
    return isSame ? last?.error : undefined;
  }

  #askListenersFor(asking: BudgetMember, bytes: number): number {
    const freed = this.#askListeners(asking.name, this.#account.missingBytes(bytes));
    // What a listener freed lies in the caches of managers now.
    if (this.#account.missingBytes(bytes) > 0) this.#askMembers('listeners', asking, bytes, this.#account.members);
    return freed;
  }

  #askListeners(asking: string, neededBytes: number): number {
    const before = this.#account.usedBytes;
    const givesWay = this.#facts.givesWay();
    const pressure = new Pressure({ neededBytes, asking, givesWay, wait: (promise) => this.#wait(promise) });
    attempt(() => this.events.emit('pressure', pressure));
    const freedBytes = Math.max(pressure.gaveUpBytes, before - this.#account.usedBytes);
    if (freedBytes > 0) this.#note({ asking, from: 'listeners', step: 'listeners', wantedBytes: neededBytes, freedBytes });
    return freedBytes;
  }

  /** Has the C library give back what it keeps free. That is room where somebody watches the resident set: members hold what they held. */
  #trimHeap({ name: asking }: BudgetMember, bytes: number, trim: () => number): number {
    const wantedBytes = this.#account.missingBytes(bytes);
    const before = this.#account.usedBytes;
    attempt(trim);
    this.#facts.refresh();
    const freedBytes = Math.max(0, before - this.#account.usedBytes);
    if (freedBytes > 0) this.#note({ asking, from: 'C library', step: 'C library', wantedBytes, freedBytes });
    return freedBytes;
  }

  /** Asks for a collection of garbage, at most so often; dropped handles that it finds are freed in a later turn. */
  #askCollector(): number {
    if (this.#facts.memory === HOST_MEMORY && flagFromEnvironment(COLLECT_VARIABLE, true)) HandleWatch.shared().pressure.press();
    return 0;
  }

  #wait(promise: Promise<unknown>): void {
    const ended = promise.catch((error: unknown) => {
      attempt(() => {
        throw error;
      });
    });
    this.#waiting.add(ended);
    void ended.finally(() => {
      this.#waiting.delete(ended);
      this.#facts.hasRoom();
    });
  }

  #exclusively<T>(work: () => T): T {
    this.#isBusy = true;
    try {
      return work();
    } finally {
      this.#isBusy = false;
    }
  }

  #remember(asking: string, { name }: BudgetMember, step: BudgetStep, wantedBytes: number, freedBytes: number): void {
    if (freedBytes > 0) this.#note({ asking, from: name, step, wantedBytes, freedBytes });
  }

  #note(reclaim: Omit<BudgetReclaim, 'timeMs'>): void {
    const noted = { timeMs: Date.now(), ...reclaim };
    this.reclaimCount++;
    this.reclaimedBytes += reclaim.freedBytes;
    this.reclaims.push(noted);
    if (this.reclaims.length > REMEMBERED) this.reclaims.shift();
    attempt(() => this.events.emit('reclaim', noted));
  }
}

function refusalText({ name, limitBytes, usedBytes, missingBytes, members }: BudgetRefusal): string {
  const most = members.slice(0, 3).map((member) => `${member.name} ${formatBytes(member.heldBytes)}`);
  const who = members.length > most.length ? [...most, `${members.length - most.length} more`] : most;
  return (
    `the budget ${JSON.stringify(name)} holds ${formatBytes(usedBytes)} of ${exactBytes(limitBytes)} (${who.join(', ')}); ` +
    (missingBytes > 0 ? `${exactBytes(missingBytes)} would have to go` : 'what is free is for those who asked before')
  );
}
