import type { EventEmitter } from 'eventemitter3';
import type { BudgetReport } from '../core/budget-report.js';
import { budgets, type ReportsBudget } from '../core/budgets.js';
import type { LogSink } from '../core/call-log.js';
import { checkExitReport, checkFunction } from '../core/check-given.js';
import { type Device, HostDevice } from '../core/device.js';
import { type Releasable, releasable } from '../core/disposable.js';
import { checkArgument, checkUsable, MemoryError } from '../core/errors.js';
import { atExit, type EndsWithProcess, forgetAtExit } from '../core/exit-hook.js';
import { INSPECT, inspected } from '../core/inspect.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import type { MemoryHost } from '../core/memory-host.js';
import { checkOptionNames, checkOwnOptions, type OwnOptions } from '../core/option-names.js';
import { HOST_MEMORY } from '../core/slot-charges.js';
import { checkBytes, exactBytes, formatBytes } from '../core/units.js';
import type { BudgetEvents } from './budget-events.js';
import { formatBudgetAtExit } from './budget-exit-report.js';
import type { BudgetLedger } from './budget-ledger.js';
import type { BudgetLimit } from './budget-limit.js';
import { BudgetMember, type BudgetMemberOptions, MEMBER_OPTIONS, NO_CACHE } from './budget-member.js';
import { BudgetParts, RESERVATION } from './budget-parts.js';
import { joinBudget, joinSlots } from './join-budget.js';
import type { BudgetReservation } from './reservation.js';
import { RESERVE_OPTIONS, type ReserveOptions } from './reservation-line.js';
import { type BudgetTenant, TENANT_OPTIONS, type TenantOptions } from './tenant.js';

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
  /**
   * Where a line goes at the end of the process when requests were refused, the limit was passed, or members still hold memory.
   *
   * @defaultValue standard error; false for nowhere
   */
  readonly exitReport?: LogSink | false;
}

const OPTIONS: OwnOptions<MemoryBudgetOptions> = {
  of: () => MemoryBudget,
  names: { limit: true, memory: true, deviceId: true, name: true, watchV8: true, ledger: true, exitReport: true },
};

/** The limit of a budget that is given none. */
export const DEFAULT_BUDGET_LIMIT = '80%';
/** The ledgers of budgets that have not ended. */
const used = new WeakSet<BudgetLedger>();

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
 * the others do, those of lowest priority first, never below their minimum; the C library gives back what it keeps free, once
 * a second at most, which is room where the resident set is watched; listeners of `pressure` free some; V8 is asked to find
 * dropped handles, which helps `allocateAsync`; then the request is refused (ERR_MEM_OUT_OF_MEMORY with `facts.budget`).
 * What is given back is what is missing, and 1/32 of the limit more, at most 64 MiB.
 *
 * What nobody can refuse (memory that is there when a member joins, an engine that takes no refusal, V8's heap) is charged all the
 * same: past the limit others give way at once, and what is left over is an `overshoot`.
 */
export class MemoryBudget implements ReportsBudget, EndsWithProcess {
  readonly name: string;
  /** The kind of memory: `host`, or a device's name and id. */
  readonly memory: string;
  /** `pressure`, `reclaim`, `refusal` and `overshoot`. A listener that throws becomes a process warning. */
  readonly events: EventEmitter<BudgetEvents>;
  readonly #parts: BudgetParts;
  readonly #exitSink: LogSink | false;

  /** @throws ERR_MEM_INVALID_ARGUMENT for a limit that is no size or share, and for a ledger that another budget has; ERR_MEM_INVALID_DEVICE */
  constructor(options: MemoryBudgetOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    const { memory = HOST_MEMORY, deviceId = 0, name = 'budget', ledger } = options;
    checkArgument(typeof name === 'string' && name !== '', 'name', name, 'text');
    const isKnown = memory === HOST_MEMORY || typeof (memory as Device | null)?.getMaxMemorySize === 'function';
    checkArgument(isKnown, 'memory', memory, "'host' or a device");
    const device = memory === HOST_MEMORY || memory instanceof HostDevice ? undefined : (memory as Device);
    const { watchV8 = device === undefined } = options;
    // A device that is not there has no size to take a share of.
    device?.getMaxMemorySize(deviceId);
    checkLedger(ledger);
    checkExitReport(options.exitReport);
    checkArgument(typeof watchV8 === 'boolean', 'watchV8', watchV8, 'true or false');
    const { limit = ledger === undefined ? DEFAULT_BUDGET_LIMIT : Number.POSITIVE_INFINITY } = options;
    this.#parts = new BudgetParts({ name, limit, device, deviceId, watchesV8: watchV8, ledger });
    if (ledger !== undefined) used.add(ledger);
    this.name = name;
    this.memory = this.#parts.memoryText;
    this.events = this.#parts.room.events;
    this.#exitSink = options.exitReport ?? process.stderr;
    budgets().add(this);
    // A watcher: the runtimes have given back by then what they held.
    atExit(this, 'watcher');
  }

  /** Bytes that may be held now. */
  get limitBytes(): number {
    return this.#parts.limitBytes;
  }

  /** Bytes that members hold. */
  get usedBytes(): number {
    return this.#parts.account.usedBytes;
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
    const { joined, account, limitBytes } = this.#parts;
    checkArgument(!joined.has(joiner), 'member', 'one already', 'one that is not in this budget');
    const { minimumBytes = 0 } = options;
    // A limit may have fallen below the minimums: who wants none joins all the same.
    const left = Math.max(
      0,
      [...account.members].reduce((bytes, member) => bytes - member.minimumBytes, limitBytes),
    );
    checkArgument(
      !(minimumBytes > left),
      'minimumBytes',
      minimumBytes,
      `at most ${exactBytes(left)}: the limit without other minimums`,
    );
    const leave =
      joiner instanceof MemoryBudget
        ? joinBudget(this.#parts, joiner.#parts, options)
        : joinSlots(this.#parts, joiner, options, () => joined.get(joiner)?.dispose());
    const membership = releasable(() => {
      leave();
      joined.delete(joiner);
      this.#parts.startOrStop();
    });
    joined.set(joiner, membership);
    this.#parts.startOrStop();
    // A listener that was told of what it holds may have ended the budget.
    if (this.#parts.isClosed) membership.dispose();
    return membership;
  }

  /**
   * Counts memory that nobody here hands out, by asking for it now and then: about every 100 ms, whenever 16 MiB were granted, and before
   * a request is refused. It can be refused nothing: the others give way as it grows.
   *
   * @param read - gives bytes. While it throws, or gives something else, what it gave last counts; a process warning says so once
   */
  watch(name: string, read: () => number): Releasable {
    this.#checkOpen();
    checkFunction('read', read);
    const watching = this.#parts.watched.add(name, read);
    this.#parts.startOrStop();
    return releasable(() => {
      watching.dispose();
      this.#parts.startOrStop();
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
    return this.#parts.segments.add(url, bytes);
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
    return this.#parts.tenants.add(name, options);
  }

  /**
   * Takes memory ahead of a job, having others make room as for any request.
   *
   * @throws ERR_MEM_OUT_OF_MEMORY when there is not enough, or others wait for memory
   */
  reserve(bytes: number): BudgetReservation {
    this.#checkOpen();
    checkBytes(bytes);
    if (!this.#parts.line.isEmpty) throw this.#refusal(bytes);
    return this.#parts.reserve(bytes);
  }

  /**
   * Takes memory ahead of a job, and waits for it in line: of those who wait, who came first is served first. Requests that do not wait
   * get what is free meanwhile. Waiting keeps the process alive with a signal, and with a ledger, by which others may free memory. Without
   * both, a program that has nothing else to do ends while it waits: it could free nothing any more.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_DISPOSED when the budget ends meanwhile, ERR_MEM_OUT_OF_MEMORY for more than the limit
   */
  async reserveAsync(bytes: number, options: ReserveOptions = {}): Promise<BudgetReservation> {
    this.#checkOpen();
    checkOptionNames('budget.reserveAsync', options, RESERVE_OPTIONS);
    checkBytes(bytes);
    if (bytes > this.limitBytes) throw this.#refusal(bytes);
    const reservation = this.#parts.line.wait(bytes, options.signal);
    this.#parts.startOrStop();
    try {
      return await reservation;
    } finally {
      this.#parts.startOrStop();
    }
  }

  /**
   * Looks at once at the limit, at what is watched, and at what others who share the budget want, and has members give way. It is done
   * every 100 ms while there are members.
   */
  refresh(): void {
    this.#parts.refresh();
    this.#parts.look();
  }

  /** What is held, by whom, and what was done. Cost: O(managers x devices) */
  report(): BudgetReport {
    const { name, memory, limitBytes } = this;
    const { room, account, tenants, overshoots, overshootBytes } = this.#parts;
    const { refusals, reclaimCount, reclaimedBytes, reclaims } = room;
    return {
      name,
      memory,
      limitBytes,
      usedBytes: account.ledger?.usedBytes ?? account.usedBytes,
      peakBytes: account.peakBytes,
      members: room.members(),
      tenants: [...tenants].map((tenant) => tenant.reading()),
      refusals,
      overshoots,
      overshootBytes,
      reclaimCount,
      reclaimedBytes,
      reclaims: [...reclaims],
    };
  }

  /** Lets everybody leave, ends what is watched, and turns away who waits. Members keep what they hold. */
  dispose(): void {
    const parts = this.#parts;
    if (parts.isClosed) return;
    parts.isClosed = true;
    for (const membership of [...parts.joined.values()]) membership.dispose();
    for (const reservation of [...parts.account.reservations]) reservation.dispose();
    parts.segments.close();
    parts.watched.close();
    parts.line.close(new MemoryError('ERR_MEM_DISPOSED', { what: 'budget' }));
    parts.parent?.joined.get(this)?.dispose();
    parts.startOrStop();
    if (parts.ledger !== undefined) used.delete(parts.ledger);
    budgets().delete(this);
    forgetAtExit(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Says what the budget went through, unless all went well. @internal */
  endWithProcess(): void {
    const text = formatBudgetAtExit(this.report());
    if (this.#exitSink !== false && text !== '') this.#exitSink.write(text);
  }

  /** `MemoryBudget { process, host, 480.00 MiB of 512.00 MiB held, models 300.00 MiB, buffers 180.00 MiB }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => {
      const members = [...this.#parts.account.members].map(({ name, heldBytes }) => `${name} ${formatBytes(heldBytes)}`);
      return [this.name, this.memory, `${formatBytes(this.usedBytes)} of ${formatBytes(this.limitBytes)} held`, ...members];
    });
  }

  #refusal(bytes: number): MemoryError {
    return this.#parts.room.refusal(new BudgetMember('reserved', RESERVATION, NO_CACHE), bytes);
  }

  #checkOpen(): void {
    checkUsable(!this.#parts.isClosed, 'budget');
  }
}

/** Two budgets of one ledger would tell others by turns what each of them caches, and ask nothing of each other. */
function checkLedger(ledger: BudgetLedger | undefined): void {
  if (ledger === undefined) return;
  checkArgument(typeof (ledger as BudgetLedger | null)?.take === 'function', 'ledger', ledger, 'a ledger');
  checkArgument(!used.has(ledger), 'ledger', 'that of another budget', 'one of its own; or let this budget join that one');
}
