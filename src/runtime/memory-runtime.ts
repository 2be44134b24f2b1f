import { setImmediate as nextTurn } from 'node:timers/promises';
import { setAllocationTag } from '../core/allocation-tag.js';
import { orUndo, unlessRefused } from '../core/attempt.js';
import type { LogSink } from '../core/call-log.js';
import { checkExitReport, checkFunction, checkManager, isManagerClass } from '../core/check-given.js';
import type { Device } from '../core/device.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { deviceHost } from '../core/device-natives.js';
import { type DeviceStream, streamIdOf } from '../core/device-stream.js';
import { checkOwnOptions, type OwnOptions } from '../core/option-names.js';
import '../core/disposable.js';
import { COLLECT_VARIABLE, flagFromEnvironment } from '../core/environment.js';
import { MemoryError } from '../core/errors.js';
import type { PinFailedEvent } from '../core/events.js';
import { atExit, endingSignal, forgetAtExit } from '../core/exit-hook.js';
import { type ManagerFactory, MemoryHost } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import type { MemoryStatsSnapshot } from '../core/memory-statistics.js';
import { processState } from '../core/process-state.js';
import { checkStackRoom } from '../core/stack-room.js';
import { checkAlignment, checkBytes, type DevicePtr, NULL_PTR } from '../core/units.js';
import { Allocation } from './allocation.js';
import { type CapturedGraph, captureGraph } from './captured-graph.js';
import type { CollectorStats } from './collector-pressure.js';
import { type ExitReport, exitReport, formatExitReport } from './exit-report.js';
import { HandleWatch } from './handle-watch.js';
import { onDevice } from './on-device.js';
import { abandon, type BlockSource, type BlockTerms, newTerms, plainSource, termsOf } from './owned-block.js';
import {
  type AllocateOptions,
  checkAllocateOptions,
  checkScope,
  checkTag,
  type ManagerUse,
  type MemoryRuntimeOptions,
} from './runtime-options.js';
import { type AllocationContext, contextOf, runWith, Scope, type ScopeOptions } from './scope.js';

const OPTIONS: OwnOptions<MemoryRuntimeOptions> = {
  of: () => MemoryRuntime,
  names: { exitReport: true, collectDropped: true, createDefaultManager: true, createFallbackManager: true },
};

const NO_OPTIONS: AllocateOptions = {};

/**
 * The host that is built in: programs allocate from it directly.
 *
 * The first allocation installs the default manager unless another was installed before.
 * At exit (or {@link close}) it reports what is still live and frees everything.
 */
export class MemoryRuntime extends MemoryHost {
  readonly #exitSink: LogSink | false;
  readonly #ordinary: BlockSource;
  readonly #pinned: BlockSource;
  readonly #collects: boolean;
  /** What was asked for last in other ways than the ordinary one: what follows is likely to be asked for in the same way. */
  #asked: BlockSource;
  #closing = false;

  /** @param device - the memory to hand out */
  constructor(
    readonly device: Device,
    options: MemoryRuntimeOptions = {},
  ) {
    checkOwnOptions(OPTIONS, new.target, options);
    checkExitReport(options.exitReport);
    const collectDropped = options.collectDropped ?? flagFromEnvironment(COLLECT_VARIABLE, true);
    super(deviceHost(device, options));
    this.#exitSink = options.exitReport ?? process.stderr;
    const watch = HandleWatch.shared();
    this.#collects = collectDropped || globalThis.gc !== undefined;
    this.#ordinary = plainSource(this, device, this.slot, watch, collectDropped);
    this.#pinned = plainSource(this, device, this.pinnedSlot, watch, collectDropped);
    this.#asked = this.#ordinary;
    device.events.on('pin-failed', this.#forwardPinFailure);
    atExit(this);
  }

  /**
   * Allocates a block and gives its handle.
   *
   * @param bytes - 0 gives a handle with the null pointer
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_DISPOSED after close
   */
  // All in one, over 460 bytes of V8's bytecode: it inlines no such function into a program's, but its parts into it. A smaller
  // one it inlines with some of the parts, and calls the others, which takes a seventh more.
  allocate(bytes: number, options?: AllocateOptions): Allocation {
    const context = contextOf(this);
    if (options === undefined && context === undefined) {
      // As #take, but without what nobody asked for.
      checkBytes(bytes);
      this.startUse();
      checkStackRoom();
      const source = this.#ordinary;
      const ptr = source.slot.alloc(bytes, true);
      try {
        const terms = source.slot.givesTickets ? termsOf(source, ptr, bytes, undefined) : undefined;
        return new Allocation(source, ptr, bytes, terms);
      } catch (error) {
        abandon(source, ptr, bytes);
        throw error;
      }
    }
    if (options !== undefined) checkAllocateOptions(options);
    const { alignment = 0, pinned = false, zero = false, onFreed } = options ?? NO_OPTIONS;
    if (alignment !== 0) checkAlignment(alignment);
    // Pinned memory has no streams: there a stream has to be asked for by name.
    const stream = options?.stream === undefined ? (pinned ? 0 : (context?.stream ?? 0)) : streamIdOf(options.stream);
    const tag = options?.tag ?? context?.tag;
    const ordinary = pinned ? this.#pinned : this.#ordinary;
    const isPlain = alignment === 0 && stream === 0 && tag === undefined;
    const source = isPlain ? ordinary : this.#askedAs(ordinary, alignment, stream, tag);
    const terms = onFreed === undefined ? undefined : newTerms(bytes, onFreed);
    const tagBefore = tag === undefined ? undefined : setAllocationTag(tag);
    let handle: Allocation | undefined;
    try {
      handle = this.#take(source, bytes, terms, context);
      if (zero) handle.fill(0);
      context?.scope?.innermostOpen?.adopt(handle);
    } catch (error) {
      handle?.abandon();
      throw error;
    } finally {
      if (tag !== undefined) setAllocationTag(tagBefore);
    }
    return handle;
  }

  /**
   * Allocates like {@link allocate}. Where that runs out of memory, it lets the event loop turn and has V8 collect garbage
   * (unless `collectDropped` is off), so that dropped handles give their blocks back, waits for listeners of a budget that free memory
   * in their own time, and tries once more, on the same device and for the same stream.
   *
   * @throws as {@link allocate}, as a rejection
   */
  async allocateAsync(bytes: number, options?: AllocateOptions): Promise<Allocation> {
    const context = contextOf(this);
    // The device that is active by then may be another one.
    const device = context?.device ?? this.device.activeDeviceId;
    try {
      return this.allocate(bytes, options);
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
    }
    await nextTurn();
    if (this.#collects) await this.#ordinary.watch.pressure.collect();
    // Listeners of a budget may need their own time.
    const slot = options?.pinned === true ? this.pinnedSlot : this.slot;
    await slot.charges.settled(options?.tag ?? context?.tag);
    let handle: Allocation | undefined;
    return orUndo(
      () => onDevice(this.device, device, () => (handle = this.allocate(bytes, options))),
      () => handle?.abandon(),
    );
  }

  /**
   * Opens a scope that frees what is allocated from this runtime until it is disposed: `using scope = runtime.scope()`.
   *
   * @param options - a tag for what is allocated in it
   */
  scope(options: ScopeOptions = {}): Scope {
    return Scope.enter(this, checkScope(options));
  }

  /** Runs `fn`, awaits included, in a scope of its own that is closed when `fn` has ended or thrown. */
  scoped<T>(fn: (scope: Scope) => T, options: ScopeOptions = {}): T {
    return Scope.run(this, fn, checkScope(options));
  }

  /**
   * Runs `fn`, awaits included, and tags what it allocates from this runtime, for statistics by tag.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for a name that is no text
   */
  tag<T>(name: string, fn: () => T): T {
    checkTag('name', name);
    return runWith(this, { tag: name }, fn);
  }

  /**
   * Runs `fn`, awaits included, and allocates on a device what it allocates from this runtime, whatever is active. Until `fn`
   * returns (its first await, in an async function) the device is the active one, too; then the present one is again.
   *
   * @throws ERR_MEM_INVALID_DEVICE
   */
  withDevice<T>(id: number, fn: () => T): T {
    return onDevice(this.device, id, () => runWith(this, { device: id }, fn));
  }

  /**
   * Runs `fn`, awaits included, and allocates for a stream of the device what it allocates from this runtime: the block may
   * be used on that stream at once, and comes back to it first. See docs/devices.md.
   */
  withStream<T>(stream: DeviceStream | number, fn: () => T): T {
    return runWith(this, { stream: streamIdOf(stream) }, fn);
  }

  /**
   * Makes a manager the active one for ordinary memory until what is returned is disposed, which brings the former one back:
   * `using pooled = runtime.use((deviceCount, table) => new PoolMemoryManager(deviceCount, table))`. The former one waits
   * meanwhile, and frees its blocks. Uses nest. See docs/swapping.md.
   *
   * @param manager - it, or what makes it
   * @throws as {@link ManagerSlot.install}; so does the disposal, which may be tried again
   */
  use<M extends MemoryManagerAdapter>(
    manager: M | ((deviceCount: number, deviceInterface: MemoryManagerDeviceInterface) => M),
  ): ManagerUse<M> {
    const isFactory = typeof manager === 'function' && !isManagerClass(manager);
    const used = isFactory ? manager(this.deviceCount, new MemoryManagerDeviceInterface()) : (manager as M);
    checkManager(used, 'a manager, or (deviceCount, table) => a manager');
    this.startUse();
    const end = this.slot.use(used);
    return { manager: used, dispose: end, [Symbol.dispose]: end };
  }

  /**
   * Runs `fn`, awaits included, and allocates from a manager of its own what it allocates from this runtime: the manager sits
   * beside the active one. It stays there for the next call, with what it caches, until {@link retire}. Pinned memory
   * comes from where it came from. Cost: while there is such a manager frees have to find their manager.
   *
   * @throws as {@link ManagerSlot.install}
   */
  withManager<T>(manager: MemoryManagerAdapter, fn: () => T): T {
    checkManager(manager);
    checkFunction('fn', fn);
    this.startUse();
    this.slot.keep(manager);
    return runWith(this, { manager }, fn);
  }

  /**
   * Lets a manager of {@link withManager} go: it is shut down when its last block is gone, at once if it has none. What still runs in
   * its `withManager` cannot allocate from it any more (ERR_MEM_LIFECYCLE).
   */
  retire(manager: MemoryManagerAdapter): void {
    this.slot.retire(manager);
  }

  /**
   * Captures what `fn` enqueues on a stream as a graph, see {@link Device.capture}. What `fn` allocates comes from a manager of the graph's
   * own, for that stream, and is nobody else's as long as the graph lives: launch it on one stream at a time.
   *
   * @param create - makes that manager. @defaultValue the runtime's default manager
   * @throws as {@link Device.capture} and {@link allocate}; nothing stays then
   */
  capture(stream: DeviceStream | number, fn: () => void, create?: ManagerFactory): CapturedGraph {
    return captureGraph(this, stream, fn, create);
  }

  /**
   * Statistics of the active manager, or of that of the surrounding {@link withManager}, for a device (that of the surrounding
   * {@link withDevice} by default, or the active one); undefined before the first allocation.
   */
  stats(device: number = contextOf(this)?.device ?? this.device.activeDeviceId): MemoryStatsSnapshot | undefined {
    return (contextOf(this)?.manager ?? this.slot.active)?.stats(device);
  }

  /** The collections of garbage that handles of this process have asked for by not being disposed. */
  collectorStats(): CollectorStats {
    return this.#ordinary.watch.pressure.stats;
  }

  /**
   * Shuts all managers down and frees everything, live blocks included. Handles are disposed by it. What the device refuses
   * to take back is in the report; a second call tries it again, and so does the end of the process.
   *
   * @throws ERR_MEM_REENTRANT from inside initialize, shutdown or a call under way of a manager; nothing has changed then
   */
  close(): ExitReport {
    const slots = [this.slot, this.pinnedSlot];
    const report = exitReport(slots, this.deviceCount);
    if (this.#closing) return report;
    if (this.slot.closed) {
      for (const slot of slots) slot.signalMemoryCleanup();
    } else {
      for (const slot of slots) slot.checkClosable();
      this.#closing = true;
      try {
        for (const slot of slots) slot.close();
      } finally {
        this.#closing = false;
        // The blocks are gone, and their handles are not to keep this runtime.
        for (const { undisposed } of [this.#ordinary, this.#pinned]) undisposed.close();
        this.#ordinary.watch.letGo();
      }
      this.device.events.off('pin-failed', this.#forwardPinFailure);
      const state = processState();
      if (state.defaultHost === this) state.defaultHost = undefined;
    }
    const refusedBytes = this.slot.reservedBytes + this.pinnedSlot.reservedBytes;
    if (refusedBytes > 0) return { ...report, refusedBytes };
    forgetAtExit(this);
    return report;
  }

  /** As {@link close}, without its report. */
  dispose(): void {
    this.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * Closes at the end of the process and reports what was live. Inside a call of a manager or of the device, which
   * `process.exit` does not come back to, nothing can be closed: the logs get their lines, and the system takes the memory.
   *
   * @internal
   */
  endWithProcess(): void {
    const isReentrant = (error: unknown) => MemoryError.is(error, 'ERR_MEM_REENTRANT');
    const signal = endingSignal();
    const report = unlessRefused(isReentrant, () => this.close());
    const text = report && formatExitReport(signal === undefined ? report : { ...report, signal });
    if (text === undefined) {
      this.slot.flushLogs();
      this.pinnedSlot.flushLogs();
    } else if (this.#exitSink !== false && text !== '') this.#exitSink.write(text);
  }

  /** The source of blocks that are asked for in other ways than the ordinary one. */
  #askedAs(ordinary: BlockSource, alignment: number, stream: number, tag: string | undefined): BlockSource {
    const last = this.#asked;
    const { slot } = ordinary;
    const { tenants } = slot.charges;
    const isWanted = last.alignment === alignment && last.stream === stream && last.tag === tag;
    if (isWanted && last.slot === slot && last.tenants === tenants) return last;
    const charge = tag === undefined ? undefined : tenants?.get(tag);
    return (this.#asked = { ...ordinary, alignment, stream, tag, tenants, charge });
  }

  /** Allocates in a way that was asked for. */
  #take(source: BlockSource, bytes: number, terms: BlockTerms | undefined, context: AllocationContext | undefined): Allocation {
    checkBytes(bytes);
    this.startUse();
    // No stack may end between the allocation and its owner.
    checkStackRoom();
    source.charge?.take(bytes);
    let ptr = NULL_PTR;
    try {
      const device = context?.device;
      ptr = device === undefined ? this.#allocFrom(source, bytes, context) : this.#allocOn(device, source, bytes, context);
      return new Allocation(source, ptr, bytes, termsOf(source, ptr, bytes, terms));
    } catch (error) {
      abandon(source, ptr, bytes);
      throw error;
    }
  }

  /** Has the slot allocate from the manager of the surroundings. */
  #allocFrom({ slot, alignment, stream }: BlockSource, bytes: number, context: AllocationContext | undefined): DevicePtr {
    const manager = context?.manager;
    if (manager === undefined || slot === this.pinnedSlot) return slot.alloc(bytes, true, alignment, stream);
    return slot.allocFrom(manager, bytes, true, alignment, stream);
  }

  /** As {@link #allocFrom}, on a device. Apart: the variables of a closure cost wherever it might be made. */
  #allocOn(device: number, source: BlockSource, bytes: number, context: AllocationContext | undefined): DevicePtr {
    const { slot } = source;
    let ptr = NULL_PTR;
    return orUndo(
      () => onDevice(this.device, device, () => (ptr = this.#allocFrom(source, bytes, context))),
      () => {
        if (ptr !== NULL_PTR) slot.ensureFreed(() => slot.unlock(ptr, true, bytes));
      },
    );
  }

  readonly #forwardPinFailure = (event: PinFailedEvent): void => {
    this.events.emit('pin-failed', event);
  };
}
