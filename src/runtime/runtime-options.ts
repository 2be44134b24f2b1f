import type { LogSink } from '../core/call-log.js';
import type { DeviceStream } from '../core/device-stream.js';
import '../core/disposable.js';
import { checkArgument } from '../core/errors.js';
import type { MemoryHostOptions } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { areOptions, checkOptionNames, type OptionNames } from '../core/option-names.js';
import { SCOPE_OPTIONS, type ScopeOptions } from './scope.js';

/** How a runtime is made. */
export interface MemoryRuntimeOptions extends Pick<MemoryHostOptions, 'createDefaultManager' | 'createFallbackManager'> {
  /**
   * Where the exit report goes when something is still live at exit.
   * @defaultValue standard error; false for nowhere
   */
  readonly exitReport?: LogSink | false;
  /**
   * True lets V8 collect garbage when the memory of handles that were not disposed grows, so that dropped ones are found.
   * @defaultValue true, unless the environment has STOWAGE_COLLECT=0
   */
  readonly collectDropped?: boolean;
}

/** How a block is to be allocated. */
export interface AllocateOptions {
  /** Bytes, a power of two. @defaultValue the manager's own */
  readonly alignment?: number;
  /** True fills the block with zeros. @defaultValue false */
  readonly zero?: boolean;
  /** The stream that uses the block first. @defaultValue that of the surrounding `runtime.withStream`, or 0 */
  readonly stream?: DeviceStream | number;
  /** What it is for, in statistics by tag. @defaultValue the tag of the surrounding `runtime.tag(name, fn)` */
  readonly tag?: string;
  /** True takes page-locked host memory. @defaultValue false */
  readonly pinned?: boolean;
  /**
   * Called when the block was given back by its last owner, a scope or the collector's backstop. It must not throw.
   * `runtime.close()` frees without calling it.
   */
  readonly onFreed?: () => void;
}

/** Their names. */
export const ALLOCATE_OPTIONS: OptionNames<AllocateOptions> = {
  alignment: true,
  zero: true,
  stream: true,
  tag: true,
  pinned: true,
  onFreed: true,
};

/**
 * Whether {@link checkOptionNames} would refuse no name: blocks are allocated with options, too. V8 compares a name of a `for in`
 * with constants by its address, and to look it up in an object takes twice as long.
 */
function hasOnlyKnownNames(options: AllocateOptions): boolean {
  for (const key in options) {
    const name = key as keyof AllocateOptions;
    switch (name) {
      case 'tag':
      case 'alignment':
      case 'zero':
      case 'stream':
      case 'pinned':
      case 'onFreed':
        continue;
      default:
        name satisfies never;
        return false;
    }
  }
  return true;
}

/** A manager that is the active one until this is disposed. */
export interface ManagerUse<M extends MemoryManagerAdapter = MemoryManagerAdapter> {
  readonly manager: M;
  /** Brings the former manager back. Does nothing the second time. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Refuses options that would be ignored, or fail when the block is freed. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkAllocateOptions(options: AllocateOptions): void {
  if (!areOptions(options) || !hasOnlyKnownNames(options)) checkOptionNames('allocate', options, ALLOCATE_OPTIONS);
  const { tag, zero, pinned, onFreed } = options;
  if (tag !== undefined) checkTag('tag', tag);
  if (zero !== undefined) checkArgument(typeof zero === 'boolean', 'zero', zero, 'true or false');
  if (pinned !== undefined) checkArgument(typeof pinned === 'boolean', 'pinned', pinned, 'true or false');
  if (onFreed !== undefined) checkArgument(typeof onFreed === 'function', 'onFreed', typeof onFreed, 'a function');
}

/** Refuses a tag that is no text, and unknown names. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkScope(options: ScopeOptions): ScopeOptions {
  checkOptionNames('scope', options, SCOPE_OPTIONS);
  if (options.tag !== undefined) checkTag('tag', options.tag);
  return options;
}

/** @throws ERR_MEM_INVALID_ARGUMENT */
export function checkTag(name: string, tag: unknown): void {
  checkArgument(typeof tag === 'string', name, tag, 'text');
}
