import { ArenaMemoryManager, type ArenaMemoryManagerOptions } from '../../managers/arena/arena-memory-manager.js';
import '../core/disposable.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import { tryAll } from '../core/try-all.js';
import type { Allocation } from '../runtime/allocation.js';
import type { MemoryRuntime } from '../runtime/memory-runtime.js';
import type { AllocateOptions } from '../runtime/runtime-options.js';
import { Scope } from '../runtime/scope.js';

/** How the memory of a request is made. */
export interface RequestMemoryOptions {
  /** What it is for: in statistics by tag, and for tenants of a budget. @defaultValue that of its surroundings */
  readonly tag?: string;
  /** True, or its options, for an arena of the request's own: blocks one behind the other. @defaultValue false, the runtime's manager */
  readonly arena?: boolean | ArenaMemoryManagerOptions;
}

/** Their names. */
export const REQUEST_OPTIONS: OptionNames<RequestMemoryOptions> = { tag: true, arena: true };

/**
 * What one request allocates, and gives back when it ends: a scope, on request in an arena of its own.
 * It is nobody's surroundings: requests that run at the same time do not see each other's.
 */
export class RequestMemory {
  readonly runtime: MemoryRuntime;
  readonly #scope: Scope;
  readonly #arena: ArenaMemoryManager | undefined;

  /** @throws ERR_MEM_INVALID_ARGUMENT for options that cannot be */
  constructor(runtime: MemoryRuntime, options: RequestMemoryOptions = {}) {
    checkOptionNames('RequestMemory', options, REQUEST_OPTIONS);
    const { tag, arena = false } = options;
    this.runtime = runtime;
    this.#scope = Scope.apart(runtime, tag === undefined ? {} : { tag });
    this.#arena = arena === false ? undefined : newArena(runtime, arena === true ? {} : arena);
  }

  /** Blocks that would be freed now. */
  get liveBlocks(): number {
    return this.#scope.liveBlocks;
  }

  /** Whether the request has ended. */
  get disposed(): boolean {
    return this.#scope.disposed;
  }

  /**
   * Allocates a block that ends with the request at the latest.
   *
   * @throws as {@link MemoryRuntime.allocate}; ERR_MEM_DISPOSED after the request
   */
  allocate(bytes: number, options: AllocateOptions = {}): Allocation {
    return this.run(() => this.runtime.allocate(bytes, options));
  }

  /**
   * Runs `fn`, awaits included: what it allocates from the runtime, in whatever way, ends with the request.
   *
   * @throws ERR_MEM_DISPOSED after the request
   */
  run<T>(fn: () => T): T {
    const arena = this.#arena;
    return this.#scope.run(arena === undefined ? fn : () => this.runtime.withManager(arena, fn));
  }

  /** Frees the request's blocks, the newest first, and lets its arena go. Does nothing the second time. */
  dispose(): void {
    if (this.disposed) return;
    const arena = this.#arena;
    const letGo = (): void => {
      if (arena?.lifecycle.state === 'active') this.runtime.retire(arena);
    };
    tryAll([() => this.#scope.dispose(), letGo], (step) => step());
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function newArena(runtime: MemoryRuntime, options: ArenaMemoryManagerOptions): ArenaMemoryManager {
  return new ArenaMemoryManager(runtime.deviceCount, new MemoryManagerDeviceInterface(), options);
}
