import { AsyncLocalStorage } from 'node:async_hooks';
import '../core/disposable.js';
import type { BlockHandle } from './block-handle.js';

/** What allocations of a stretch of a program have in common, also across its awaits. */
interface AllocationContext {
  readonly scope: Scope | undefined;
  readonly tag: string | undefined;
}

const contexts = new AsyncLocalStorage<AllocationContext>();
// Looking a context up costs more than allocating, so nobody looks before the first scope or tag.
let used = false;

const FEW = 64;

/**
 * Frees what was allocated while it was open: `using scope = runtime.scope()`, or `await using` in async code.
 *
 * Scopes nest. A block whose handle was moved (`move()`, `share()`) is no longer the scope's.
 * A scope that is opened by `runtime.scope()` stays open until it is disposed, for all that follows in the same turn: in an
 * async function that is its caller, too. Async code that runs beside other code uses `runtime.scoped(fn)`, which is exact.
 */
export class Scope {
  #handles: BlockHandle[] = [];
  readonly #outer: AllocationContext | undefined;
  #open = true;
  #compactAt = FEW;

  private constructor(outer: AllocationContext | undefined) {
    this.#outer = outer;
  }

  /** Opens a scope for what follows. */
  static enter(): Scope {
    const outer = contexts.getStore();
    const scope = new Scope(outer);
    used = true;
    contexts.enterWith({ scope, tag: outer?.tag });
    return scope;
  }

  /** Opens a scope for `fn`, awaits included, and closes it when `fn` has ended or thrown. */
  static run<T>(fn: (scope: Scope) => T): T {
    const outer = contexts.getStore();
    const scope = new Scope(outer);
    used = true;
    return contexts.run({ scope, tag: outer?.tag }, () => scope.#closeAfter(fn));
  }

  /** The innermost open scope of the present stretch of the program. */
  static current(): Scope | undefined {
    let scope = used ? contexts.getStore()?.scope : undefined;
    while (scope !== undefined && !scope.#open) scope = scope.#outer?.scope;
    return scope;
  }

  /** Blocks that would be freed now. */
  get liveBlocks(): number {
    return this.#handles.reduce((sum, handle) => sum + (handle.disposed ? 0 : 1), 0);
  }

  /** Makes a handle this scope's. */
  adopt(handle: BlockHandle): void {
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
    if (contexts.getStore()?.scope === this) contexts.enterWith(this.#outer as AllocationContext);
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

  #closeAfter<T>(fn: (scope: Scope) => T): T {
    let result: T;
    try {
      result = fn(this);
    } catch (error) {
      this.dispose();
      throw error;
    }
    if (isThenable(result)) return closingAfter(result, this) as T;
    this.dispose();
    return result;
  }
}

/** The tag of the present stretch of the program. */
export function currentTag(): string | undefined {
  return used ? contexts.getStore()?.tag : undefined;
}

/** Runs `fn`, awaits included, with a tag. */
export function runTagged<T>(tag: string, fn: () => T): T {
  used = true;
  return contexts.run({ scope: contexts.getStore()?.scope, tag }, fn);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function';
}

async function closingAfter(result: PromiseLike<unknown>, scope: Scope): Promise<unknown> {
  try {
    return await result;
  } finally {
    scope.dispose();
  }
}
