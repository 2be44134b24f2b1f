import { AsyncLocalStorage } from 'node:async_hooks';
import { attempt, shown, warn } from '../core/attempt.js';
import { type Releasable, releasable } from '../core/disposable.js';
import { badArgument } from '../core/errors.js';
import { MiB } from '../core/units.js';
import type { BudgetAccount } from './budget-account.js';
import { BudgetMember, NO_CACHE } from './budget-member.js';
import { v8Bytes } from './v8-memory.js';

/** How often what is watched is looked at, and after how many bytes that were granted. */
const WATCH_MS = 100;
const WATCH_BYTES = 16 * MiB;

// The timer must not keep the async context alive in which the budget was made.
const outsideOfContexts: <T>(fn: () => T) => T = AsyncLocalStorage.snapshot();

/** Memory that a budget counts by asking for it now and then, V8's among it, and the timer that asks. */
export class WatchedMemory {
  readonly #account: BudgetAccount;
  readonly #read = new Map<BudgetMember, () => number>();
  readonly #tick: () => void;
  readonly #budgetName: string;
  /** Those that gave no bytes when they were last asked. */
  readonly #failing = new WeakSet<BudgetMember>();
  #v8: BudgetMember | undefined;
  #timer: NodeJS.Timeout | undefined;
  #grantedBytes = 0;

  /** @param tick - called every 100 ms while {@link run} says so */
  constructor(account: BudgetAccount, tick: () => void, budgetName: string) {
    this.#account = account;
    this.#budgetName = budgetName;
    this.#tick = tick;
  }

  /** Whether there is anything beside V8. */
  get isEmpty(): boolean {
    return this.#read.size === (this.#v8 === undefined ? 0 : 1);
  }

  /** Counts what `read` gives from now on. @returns what ends that */
  add(name: string, read: () => number): Releasable {
    const member = this.#enter(name, read);
    return releasable(() => this.#leave(member));
  }

  /** Looks at everything. */
  look(): void {
    this.#grantedBytes = 0;
    for (const [member, read] of this.#read) this.#lookAt(member, read);
  }

  /** Notes that bytes were granted: after many the timer would be too late. */
  granted(bytes: number): void {
    this.#grantedBytes += bytes;
    if (this.#grantedBytes >= WATCH_BYTES) this.look();
  }

  /**
   * Starts or stops the timer, and to watch V8.
   *
   * @param keepsAlive - whether the process does not end before the timer does
   */
  run(isTimed: boolean, isV8Watched: boolean, keepsAlive: boolean): void {
    if (isV8Watched) this.#v8 ??= this.#enter('v8', v8Bytes);
    else if (this.#v8 !== undefined) {
      this.#leave(this.#v8);
      this.#v8 = undefined;
    }
    if (isTimed) {
      this.#timer ??= outsideOfContexts(() => setInterval(this.#tick, WATCH_MS));
      if (keepsAlive) this.#timer.ref();
      else this.#timer.unref();
    } else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  /** Ends to watch everything. */
  close(): void {
    for (const member of [...this.#read.keys()]) this.#leave(member);
    this.#v8 = undefined;
  }

  #enter(name: string, read: () => number): BudgetMember {
    const member = new BudgetMember('watched', name, NO_CACHE);
    this.#account.members.add(member);
    this.#read.set(member, read);
    this.#lookAt(member, read);
    return member;
  }

  #leave(member: BudgetMember): void {
    if (!this.#read.delete(member)) return;
    this.#account.give(member, member.heldBytes);
    this.#account.members.delete(member);
  }

  #lookAt(member: BudgetMember, read: () => number): void {
    const bytes = this.#bytesOf(member, read);
    // It may have ended that.
    if (bytes === undefined || !this.#read.has(member)) return;
    attempt(() => {
      const grown = Math.ceil(bytes) - member.heldBytes;
      if (grown > 0) this.#account.force(member, grown);
      else if (grown < 0) this.#account.give(member, -grown);
    });
  }

  /** What `read` gives; undefined when that is no number of bytes, which is told once, until there is one again. */
  #bytesOf(member: BudgetMember, read: () => number): number | undefined {
    let found: unknown;
    try {
      found = read();
    } catch (error) {
      found = shown(error);
    }
    const isSize = typeof found === 'number' && found >= 0 && found <= Number.MAX_SAFE_INTEGER;
    if (isSize) {
      this.#failing.delete(member);
      return found as number;
    }
    if (this.#failing.has(member)) return undefined;
    this.#failing.add(member);
    const told = shown(found);
    const what = `what "${member.name}" of budget "${this.#budgetName}" reads`;
    warn(badArgument(what, told instanceof Error ? `an error (${told.message})` : told, 'a number of bytes', found));
    return undefined;
  }
}
