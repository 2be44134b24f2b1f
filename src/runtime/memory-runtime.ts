import { setImmediate as nextTurn } from 'node:timers/promises';
import { withAllocationTag } from '../core/allocation-tag.js';
import type { LogSink } from '../core/call-log.js';
import type { Device } from '../core/device.js';
import '../core/disposable.js';
import { deviceHost } from '../core/device-natives.js';
import { MemoryError } from '../core/errors.js';
import type { PinFailedEvent } from '../core/events.js';
import { atExit, forgetAtExit } from '../core/exit-hook.js';
import { MemoryHost, type MemoryHostOptions } from '../core/memory-host.js';
import { processState } from '../core/process-state.js';
import type { MemoryStatsSnapshot } from '../core/stats.js';
import { checkAlignment, checkBytes } from '../core/units.js';
import { Allocation } from './allocation.js';
import { type ExitReport, exitReport, formatExitReport } from './exit-report.js';
import { OwnedBlock } from './owned-block.js';
import { currentTag, runTagged, Scope } from './scope.js';

export interface MemoryRuntimeOptions extends Pick<MemoryHostOptions, 'createDefaultManager' | 'createFallbackManager'> {
  /**
   * Where the exit report goes when something is still live at exit.
   * @defaultValue standard error; false for nowhere
   */
  readonly exitReport?: LogSink | false;
}

/** How a block is to be allocated. */
export interface AllocateOptions {
  /** Bytes, a power of two. @defaultValue the manager's own */
  readonly alignment?: number;
  /** True fills the block with zeros. @defaultValue false */
  readonly zero?: boolean;
  /** The stream that uses the block first. @defaultValue that of the surrounding {@link MemoryRuntime.withStream}, or 0 */
  readonly stream?: number;
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

/**
 * The host that is built in: programs allocate from it directly.
 *
 * The first allocation installs the default manager unless another was installed before.
 * At exit (or {@link close}) it reports what is still live and frees everything.
 */
export class MemoryRuntime extends MemoryHost {
  readonly device: Device;
  readonly #exitSink: LogSink | false;
  #stream = 0;

  /** @param device - the memory to hand out */
  constructor(device: Device, options: MemoryRuntimeOptions = {}) {
    super(deviceHost(device, options));
    this.device = device;
    this.#exitSink = options.exitReport ?? process.stderr;
    device.events.on('pin-failed', this.#forwardPinFailure);
    atExit(this);
  }

  /**
   * Allocates a block and gives its handle.
   *
   * @param bytes - 0 gives a handle with the null pointer
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_DISPOSED after close
   */
  allocate(bytes: number, options: AllocateOptions = {}): Allocation {
    checkBytes(bytes);
    if (options.alignment !== undefined) checkAlignment(options.alignment);
    this.startUse();
    const slot = options.pinned === true ? this.pinnedSlot : this.slot;
    const tag = options.tag ?? currentTag();
    // Pinned memory has no streams: there a stream has to be asked for by name.
    const stream = options.stream ?? (slot === this.slot ? this.#stream : 0);
    const alloc = () => slot.alloc(bytes, true, options.alignment, stream);
    const ptr = tag === undefined ? alloc() : withAllocationTag(tag, alloc);
    if (options.zero === true && bytes > 0) {
      try {
        this.device.fill(ptr, 0, bytes);
      } catch (error) {
        slot.unlock(ptr, true);
        throw error;
      }
    }
    const handle = new Allocation(new OwnedBlock(this, this.device, slot, ptr, bytes, options.onFreed));
    Scope.current()?.adopt(handle);
    return handle;
  }

  /**
   * Allocates like {@link allocate}. Where that runs out of memory, it lets the event loop turn and has V8 collect garbage
   * (under `node --expose-gc`), so that dropped handles give their blocks back, and tries once more.
   *
   * @throws as {@link allocate}, as a rejection
   */
  async allocateAsync(bytes: number, options: AllocateOptions = {}): Promise<Allocation> {
    try {
      return this.allocate(bytes, options);
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
    }
    await nextTurn();
    globalThis.gc?.();
    // Finalisers run in a task of their own after the collection.
    await nextTurn();
    return this.allocate(bytes, options);
  }

  /** Opens a scope that frees what is allocated until it is disposed: `using scope = runtime.scope()`. */
  scope(): Scope {
    return Scope.enter();
  }

  /** Runs `fn`, awaits included, in a scope of its own that is closed when `fn` has ended or thrown. */
  scoped<T>(fn: (scope: Scope) => T): T {
    return Scope.run(fn);
  }

  /** Runs `fn`, awaits included, and tags what it allocates, for statistics by tag. */
  tag<T>(name: string, fn: () => T): T {
    return runTagged(name, fn);
  }

  /** Runs `fn` with another device active, and makes the present one active again. @throws ERR_MEM_INVALID_DEVICE */
  withDevice<T>(id: number, fn: () => T): T {
    const before = this.device.activeDeviceId;
    this.device.activate(id);
    try {
      return fn();
    } finally {
      this.device.activate(before);
    }
  }

  /**
   * Runs `fn`, which must not be asynchronous, and allocates for a stream of the device what it allocates: the block may be
   * used on that stream at once, and comes back to it first. See docs/devices.md.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT when `fn` returns a promise: what it did after its first await was not on the stream
   */
  withStream<T>(stream: number, fn: () => T): T {
    const before = this.#stream;
    this.#stream = stream;
    try {
      const result = fn();
      if (isThenable(result)) {
        throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
          name: 'fn',
          value: 'asynchronous',
          expected: 'a synchronous function',
        });
      }
      return result;
    } finally {
      this.#stream = before;
    }
  }

  /** Statistics of the active manager for a device (the active one by default); undefined before the first allocation. */
  stats(device: number = this.device.activeDeviceId): MemoryStatsSnapshot | undefined {
    return this.slot.active?.getMemoryStats(device);
  }

  /**
   * Shuts all managers down and frees everything, live blocks included. Handles are disposed by it.
   *
   * @throws ERR_MEM_REENTRANT from inside initialize or shutdown; nothing has changed then
   */
  close(): ExitReport {
    const report = exitReport([this.slot, this.pinnedSlot], this.deviceCount);
    if (this.slot.closed) return report;
    this.slot.checkClosable();
    this.pinnedSlot.checkClosable();
    try {
      this.slot.close();
    } finally {
      this.pinnedSlot.close();
      this.device.events.off('pin-failed', this.#forwardPinFailure);
      forgetAtExit(this);
      const state = processState();
      if (state.defaultHost === this) state.defaultHost = undefined;
    }
    return report;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Closes at the end of the process and reports what was live. @internal */
  endWithProcess(): void {
    const report = this.close();
    if (this.#exitSink !== false && report.liveBlocks > 0) this.#exitSink.write(formatExitReport(report));
  }

  readonly #forwardPinFailure = (event: PinFailedEvent): void => {
    this.events.emit('pin-failed', event);
  };
}

function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
