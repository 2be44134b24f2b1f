import { AsyncLocalStorage } from 'node:async_hooks';
import '../core/disposable.js';
import { checkUsable } from '../core/errors.js';
import { INSPECT, inspected } from '../core/inspect.js';
import { formatBytes } from '../core/units.js';
import type { BudgetMember } from './budget-member.js';

const jobs = new AsyncLocalStorage<BudgetReservation>();

/** The reservation of the surrounding {@link BudgetReservation.run}. */
export function currentReservation(): BudgetReservation | undefined {
  return jobs.getStore();
}

/**
 * Memory that was taken ahead of a job: `using memory = budget.reserve(1 * GiB)`, then `memory.run(() => job())`.
 *
 * Nobody else gets it. What the job takes from the budget comes out of it first, and what is given back by those who took it
 * returns to it as long as it is open. Beyond it the job asks the budget as everybody does.
 */
export class BudgetReservation {
  readonly #member: BudgetMember;
  readonly #end: (reservation: BudgetReservation) => void;
  /** Who has taken how much of it. */
  readonly #drawn = new Map<BudgetMember, number>();
  #isOpen = true;

  /** @internal */
  constructor(
    readonly bytes: number,
    member: BudgetMember,
    end: (reservation: BudgetReservation) => void,
  ) {
    this.#member = member;
    this.#end = end;
  }

  /** Bytes that the job has not taken. */
  get remainingBytes(): number {
    return this.#isOpen ? this.#member.heldBytes : 0;
  }

  /** Runs a job, awaits included, whose members take from this reservation. @throws ERR_MEM_DISPOSED when it has ended */
  run<T>(job: () => T): T {
    checkUsable(this.#isOpen, 'reservation');
    return jobs.run(this, job);
  }

  /** Ends it: what the job has not taken is everybody's again. What it took stays with those who have it. */
  dispose(): void {
    if (!this.#isOpen) return;
    this.#end(this);
    this.#isOpen = false;
    for (const member of this.#drawn.keys()) member.drawnFrom.delete(this);
    this.#drawn.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `BudgetReservation { 1.00 GiB, 200.00 MiB remaining }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => [formatBytes(this.bytes), `${formatBytes(this.remainingBytes)} remaining`]);
  }

  /** Lets a member have up to so many bytes. @returns how many @internal */
  draw(member: BudgetMember, bytes: number): number {
    const drawn = Math.min(bytes, this.remainingBytes);
    if (drawn === 0) return 0;
    this.#member.heldBytes -= drawn;
    this.#drawn.set(member, (this.#drawn.get(member) ?? 0) + drawn);
    member.drawnFrom.add(this);
    return drawn;
  }

  /** Takes back what a member gives, up to what it drew. @returns how many bytes @internal */
  refill(member: BudgetMember, bytes: number): number {
    const drawn = this.#drawn.get(member);
    if (drawn === undefined) return 0;
    const back = Math.min(bytes, drawn);
    if (back === drawn) {
      this.#drawn.delete(member);
      member.drawnFrom.delete(this);
    } else this.#drawn.set(member, drawn - back);
    this.#member.heldBytes += back;
    return back;
  }
}
