import { AsyncLocalStorage } from 'node:async_hooks';
import '../core/disposable.js';
import { checkFunction } from '../core/check-given.js';
import type { Releasable } from '../core/disposable.js';
import { checkUsable } from '../core/errors.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import type { OptionNames } from '../core/option-names.js';

/** Settings of a part of a program, its awaits included, for its allocations from one runtime. */
export interface AllocationContext {
  readonly scope?: Scope | undefined;
  readonly tag?: string | undefined;
  readonly device?: number | undefined;
  readonly stream?: number | undefined;
  /** What allocates, beside the active manager. */
  readonly manager?: MemoryManagerAdapter | undefined;
}

/** By runtime. A map is never changed: a part with other settings has another map, or none without settings. */
type Contexts = ReadonlyMap<object, AllocationContext> | undefined;

const contexts = new AsyncLocalStorage<Contexts>();
// Looking a context up costs more than allocating, so it is not done before there is one.
let used = false;

/** The present settings for allocations from a runtime. Cost: one flag before the first setting. */
export function contextOf(runtime: object): AllocationContext | undefined {
  return used ? contexts.getStore()?.get(runtime) : undefined;
}

/** Runs `fn`, awaits included, with settings for its allocations from a runtime. */
export function runWith<T>(runtime: object, change: AllocationContext, fn: () => T): T {
  checkFunction('fn', fn);
  return contexts.run(changed(runtime, change), fn);
}

function changed(runtime: object, change: AllocationContext): Contexts {
  used = true;
  const after = new Map(contexts.getStore());
  const context: AllocationContext = { ...after.get(runtime), ...change };
  // A runtime without settings is dropped, so that it can be collected.
  if (Object.values(context).some((said) => said !== undefined)) after.set(runtime, context);
  else after.delete(runtime);
  return after.size === 0 ? undefined : after;
}

const FEW = 64;

/** How a scope is opened. */
export interface ScopeOptions {
  /** What is allocated in it is for, as by `runtime.tag`: for statistics by tag, and tenants of a budget. @defaultValue that around it */
  readonly tag?: string;
}

/** Their names. */
export const SCOPE_OPTIONS: OptionNames<ScopeOptions> = { tag: true };

/**
 * Frees what was allocated from one runtime while it was open: `using scope = runtime.scope()`, or `await using` in async code.
 *
 * Scopes nest. A block whose handle was moved (`move()`, `share()`) is no longer the scope's.
 * A scope that is opened by `runtime.scope()` stays open until it is disposed, for all that follows in the same turn: in an
 * async function that is its caller, too. Async code that runs beside other code uses `runtime.scoped(fn)`, which is exact.
 */
export class Scope {
  #handles: (Releasable & { readonly disposed: boolean })[] = [];
  readonly #runtime: object;
  readonly #outer: Scope | undefined;
  readonly #outerTag: string | undefined;
  /** Its own. */
  readonly #tag: string | undefined;
  #open = true;
  #compactAt = FEW;

  private constructor(runtime: object, tag: string | undefined) {
    this.#runtime = runtime;
    this.#outer = Scope.current(runtime);
    this.#outerTag = contextOf(runtime)?.tag;
    this.#tag = tag;
  }

  /** Opens a scope for what follows. */
  static enter(runtime: object, options: ScopeOptions = {}): Scope {
    const scope = new Scope(runtime, options.tag);
    contexts.enterWith(changed(runtime, scope.#context));
    return scope;
  }

  /** Opens a scope for `fn`, awaits included, and closes it when `fn` has ended or thrown. */
  static run<T>(runtime: object, fn: (scope: Scope) => T, options: ScopeOptions = {}): T {
    checkFunction('fn', fn);
    const scope = new Scope(runtime, options.tag);
    return runWith(runtime, scope.#context, () => scope.#closeAfter(fn));
  }

  /** Opens a scope that nothing is in yet but what {@link run} runs. */
  static apart(runtime: object, options: ScopeOptions = {}): Scope {
    return new Scope(runtime, options.tag);
  }

  /** The innermost open scope of a runtime at this point of the program. */
  static current(runtime: object): Scope | undefined {
    return contextOf(runtime)?.scope?.innermostOpen;
  }

  /** This scope, or the innermost open one around it. */
  get innermostOpen(): Scope | undefined {
    let scope: Scope | undefined = this;
    while (scope !== undefined && !scope.#open) scope = scope.#outer;
    return scope;
  }

  /** Blocks that would be freed now. */
  get liveBlocks(): number {
    return this.#handles.reduce((sum, handle) => sum + (handle.disposed ? 0 : 1), 0);
  }

  /** Whether it was disposed. */
  get disposed(): boolean {
    return !this.#open;
  }

  /**
   * Runs `fn`, awaits included, in this scope, which stays open after it.
   *
   * @throws ERR_MEM_DISPOSED
   */
  run<T>(fn: () => T): T {
    checkUsable(this.#open, 'scope');
    return runWith(this.#runtime, this.#context, fn);
  }

  /** Makes a handle this scope's. */
  adopt(handle: Releasable & { readonly disposed: boolean }): void {
    const newest = this.#handles.length - 1;
    // Most blocks are disposed of before the next one is allocated.
    if (newest >= 0 && this.#handles[newest]!.disposed) {
      this.#handles[newest] = handle;
      return;
    }
    if (this.#handles.length >= this.#compactAt) {
      this.#handles = this.#handles.filter((one) => !one.disposed);
      this.#compactAt = Math.max(FEW, 2 * this.#handles.length);
    }
    this.#handles.push(handle);
  }

  /**
   * Frees the scope's blocks, the newest first, and closes it. Does nothing the second time.
   * When frees fail, the others are made all the same.
   */
  dispose(): void {
    if (!this.#open) return;
    this.#open = false;
    const runtime = this.#runtime;
    const context = contextOf(runtime);
    if (context?.scope === this)
      contexts.enterWith(changed(runtime, { scope: Scope.current(runtime), tag: this.#tagWithout(context.tag) }));
    const failures: unknown[] = [];
    for (let handle = this.#handles.pop(); handle !== undefined; handle = this.#handles.pop()) {
      try {
        handle.dispose();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, 'several blocks of a scope could not be freed');
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
  }

  get #context(): AllocationContext {
    return this.#tag === undefined ? { scope: this } : { scope: this, tag: this.#tag };
  }

  /** The tag that is left of a present one without those of closed scopes: of this one, and of those around it that ended before. */
  #tagWithout(present: string | undefined): string | undefined {
    let tag = present;
    for (let scope: Scope | undefined = this; scope !== undefined && !scope.#open; scope = scope.#outer) {
      if (scope.#tag !== undefined && scope.#tag === tag) tag = scope.#outerTag;
    }
    return tag;
  }

  #closeAfter<T>(fn: (scope: Scope) => T): T {
    let goesOn = false;
    try {
      const result = fn(this);
      goesOn = typeof (result as PromiseLike<unknown> | null | undefined)?.then === 'function';
      return goesOn ? (closingAfter(result, this) as T) : result;
    } finally {
      if (!goesOn) this.dispose();
    }
  }
}

async function closingAfter(result: unknown, scope: Scope): Promise<unknown> {
  try {
    return await result;
  } finally {
    scope.dispose();
  }
}
