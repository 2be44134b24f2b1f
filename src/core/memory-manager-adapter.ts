import { CallLog, type LogSink } from './call-log.js';
import { checkTable } from './check-given.js';
import { counted } from './counted.js';
import type { MemoryManagerDeviceInterface } from './device-interface.js';
import { MemoryError } from './errors.js';
import { INSPECT, inspected } from './inspect.js';
import { ManagerLifecycle } from './manager-lifecycle.js';
import { heldText, type MemoryStatsSnapshot } from './memory-statistics.js';
import { processState } from './process-state.js';
import { bytesOf, type DevicePtr } from './units.js';

declare module './process-state.js' {
  interface ProcessState {
    /** Managers by handle: those in a slot, and weakly those that somebody asked the handle of. */
    readonly managers: Map<number, { deref(): MemoryManagerAdapter | undefined }>;
    readonly handles: WeakMap<MemoryManagerAdapter, number>;
    readonly managerCleanup: FinalizationRegistry<number>;
  }
}

/** What a subclass has to bring, beside an allocation. */
const NEEDED = [
  'initialize',
  'shutdown',
  'allocated',
  'unlock',
  'userLock',
  'isUserLocked',
  'signalMemoryCleanup',
  'printInfo',
] as const satisfies readonly (keyof MemoryManagerAdapter)[];

/**
 * The interface of all memory managers. A subclass is a policy: it decides which native memory to get, keep and give back.
 *
 * A manager reaches its device through {@link deviceInterface} alone, and starts to use it in {@link initialize}.
 * Each block has two locks, the manager's own and the user's; it is free when both are clear.
 * When a call throws, the manager is as it was before.
 *
 * @see Source: Flashlight, fl::MemoryManagerAdapter
 */
export abstract class MemoryManagerAdapter {
  readonly deviceInterface: MemoryManagerDeviceInterface;
  /** Logging mode. The slot that a manager sits in writes to it, so a subclass need not. */
  readonly callLog: CallLog;
  readonly lifecycle = new ManagerLifecycle();
  /** What the {@link callAlloc} under way asks for beside the array, for an override of {@link alloc} that does not pass it on. */
  #wish: { readonly alignment: number; readonly stream: number } | undefined;

  /**
   * @param deviceInterface - the callback table; an installer fills it
   * @param logStream - where logged calls go; giving one turns logging on
   */
  constructor(deviceInterface: MemoryManagerDeviceInterface, logStream?: LogSink) {
    checkTable(deviceInterface);
    this.deviceInterface = deviceInterface;
    this.callLog = new CallLog(this.name, logStream);
  }

  /** The name for reports and messages. */
  get name(): string {
    return this.constructor.name;
  }

  /** Prepares for the first allocation. Called once, when the manager first becomes active. */
  abstract initialize(): void;

  /**
   * Gives all native memory back that no live block lies in. Called after the last block is gone.
   *
   * @throws what the device threw, after everything was tried: what it did not take stays in the manager's books, and is
   * given back by the next call of this or of {@link signalMemoryCleanup}
   */
  abstract shutdown(): void;

  /**
   * Allocates an array. Hosts call it for every allocation of a manager that overrides it. Here: calls {@link allocBytes}.
   *
   * @param userLock - true sets the user's lock, false the manager's
   * @param dims - the array's extents; the bytes alone where the host knows no more
   * @param elementSize - bytes of an element
   * @param alignment - as that of {@link allocBytes}
   * @param stream - as that of {@link allocBytes}
   * @defaultValue alignment and stream are those that the host asks for
   * @throws as {@link allocBytes}
   */
  alloc(userLock: boolean, dims: ArrayLike<number>, elementSize: number, alignment?: number, stream?: number): DevicePtr {
    const wish = this.#wish;
    // Each of the two would call the other.
    if (this.allocBytes === MemoryManagerAdapter.prototype.allocBytes) throw lacking(this, 'allocBytes');
    return this.allocBytes(bytesOf(dims, elementSize), userLock, alignment ?? wish?.alignment ?? 0, stream ?? wish?.stream ?? 0);
  }

  /**
   * Allocates a block on the active device. Here: calls {@link alloc}; a subclass overrides one of the two.
   *
   * @param bytes - 0 gives the null pointer
   * @param userLock - true sets the user's lock, false the manager's
   * @param alignment - bytes, a power of two; 0 for the manager's own
   * @param stream - the stream that will use the block first; 0 is the default stream
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
   * @throws ERR_MEM_OUT_OF_MEMORY when the device has no room, also after cached memory was given back
   */
  allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    return this.alloc(userLock, [bytes], 1, alignment, stream);
  }

  /** The bytes of the live block that `ptr` heads, 0 if there is none. */
  abstract allocated(ptr: DevicePtr): number;

  /**
   * Clears one lock of a block and frees it when both are clear. Does nothing for null, whichever device is active.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER when no block here has that address
   * @throws ERR_MEM_DOUBLE_FREE when the block with that address is free
   */
  abstract unlock(ptr: DevicePtr, userUnlock: boolean): void;

  /** Sets the user's lock. @throws ERR_MEM_UNKNOWN_POINTER when no live block has that address */
  abstract userLock(ptr: DevicePtr): void;

  /** Clears the user's lock. Hosts call it for every free by the user of a manager that overrides it. @throws as {@link unlock} */
  userUnlock(ptr: DevicePtr): void {
    this.unlock(ptr, true);
  }

  /** Tells whether a live block has the user's lock; false for other pointers. */
  abstract isUserLocked(ptr: DevicePtr): boolean;

  /** Gives cached native memory back. @throws what the device threw; what it did not take stays cached */
  abstract signalMemoryCleanup(): void;

  /**
   * Gives cached native memory of a device back: it stops as soon as at least `wantedBytes` went, and gives no more than
   * `mostBytes` back. Whoever overrides it keeps to that, and may be called from inside a native call of its own. Here:
   * {@link signalMemoryCleanup} when {@link stats} say that no more than `mostBytes` are cached there, or when there is no bound.
   *
   * @throws what the device threw; what it did not take stays cached
   */
  releaseCached(device: number, wantedBytes: number, mostBytes: number): void {
    if (!(wantedBytes > 0 && mostBytes > 0)) return;
    const cachedBytes = this.stats(device)?.cachedBytes.current;
    if (cachedBytes === 0) return;
    if (mostBytes === Number.POSITIVE_INFINITY || (cachedBytes !== undefined && cachedBytes <= mostBytes)) {
      this.signalMemoryCleanup();
    }
  }

  /** Writes a report for people about one device, to standard output unless a sink is given. */
  abstract printInfo(message: string, device: number, sink?: LogSink): void;

  /** The share of memory in use that an engine should react to, from 0 to 1. */
  getMemoryPressure(): number {
    return 0;
  }

  /** Tells whether a pending expression tree over that many bytes should be evaluated now. */
  jitTreeExceedsMemoryPressure(_bytes: number): boolean {
    return false;
  }

  /** Starts to manage one more device. */
  addMemoryManagement(_device: number): void {}

  /** Stops managing a device. */
  removeMemoryManagement(_device: number): void {}

  /** The step in bytes that sizes are rounded to. */
  getMemStepSize(): number {
    return 1;
  }

  /** @throws ERR_MEM_UNSUPPORTED_PLATFORM when the policy's step is fixed, as it is unless a subclass says otherwise */
  setMemStepSize(_bytes: number): void {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'setting the step size', platform: this.name });
  }

  /**
   * Marks a further stream that uses a block: once freed it is reused only when that stream is done with it, too.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM when the manager keeps no stream order, as it does unless a subclass says otherwise
   */
  recordStream(_ptr: DevicePtr, _stream: number): void {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'stream order', platform: this.name });
  }

  /**
   * Notes that the holder of a live block asks for other bytes of it from now on, for statistics. Here: does nothing.
   *
   * @param _requestedBytes - from 1 to those that it has, which may become fewer by this
   */
  resized(_ptr: DevicePtr, _requestedBytes: number): void {}

  /** Statistics of a device (the active one by default), or undefined when the manager keeps none. */
  stats(_device?: number): MemoryStatsSnapshot | undefined {
    return undefined;
  }

  /** Cached bytes of a device that could go back to it now, or undefined when the manager cannot tell. Cost: O(blocks) at most. */
  idleBytes(_device: number): number | undefined {
    return undefined;
  }

  /** Bytes of the tables that the manager keeps of its blocks; 0 when it cannot tell. */
  get metadataBytes(): number {
    return 0;
  }

  /**
   * The live blocks of all devices, or undefined when the manager does not count them; its slot counts then, by the calls
   * that it makes itself. A manager whose blocks come and go by other methods too has to count them.
   */
  liveBlockCount(): number | undefined {
    return undefined;
  }

  /**
   * Calls under way that go on using the manager's books when a native call has come back, or undefined when the manager
   * does not count them; its slot counts allocations then. A manager is not shut down from inside such a call. One that a
   * subclass replaces before it calls `super` has not begun: it may have stopped by then, and serves nothing more.
   */
  callsUnderway(): number | undefined {
    return undefined;
  }

  /**
   * Tells blocks apart that had the same address one after the other, for a manager that frees blocks by itself (an arena's
   * reset): a handle keeps the ticket of its block, and is disposed of when the address has another one. 0 for an address
   * without a live block; always 0 for a manager that frees nothing by itself, as it is unless a subclass says otherwise.
   */
  ticketOf(_ptr: DevicePtr): number {
    return 0;
  }

  /** Whether {@link ticketOf} may answer other than 0. @internal */
  get givesTickets(): boolean {
    return this.ticketOf !== MemoryManagerAdapter.prototype.ticketOf;
  }

  /** Where a live block was allocated (a stack trace), or undefined when the manager does not track it. */
  siteOf(_ptr: DevicePtr): string | undefined {
    return undefined;
  }

  /** Whether a subclass overrides what the hot paths of a slot pass by: {@link alloc} or {@link userUnlock}. @internal */
  get overridesCalls(): boolean {
    const { alloc, userUnlock } = MemoryManagerAdapter.prototype;
    return this.alloc !== alloc || this.userUnlock !== userUnlock;
  }

  /**
   * Allocates by whichever of {@link alloc} and {@link allocBytes} a subclass overrides. For hosts and decorators.
   *
   * @param dims - the array's extents, where the caller knows them
   * @throws as {@link allocBytes}
   * @internal
   */
  callAlloc(bytes: number, userLock: boolean, alignment = 0, stream = 0, dims?: ArrayLike<number>, elementSize = 1): DevicePtr {
    if (this.alloc === MemoryManagerAdapter.prototype.alloc) return this.allocBytes(bytes, userLock, alignment, stream);
    const before = this.#wish;
    this.#wish = { alignment, stream };
    try {
      return dims === undefined
        ? this.alloc(userLock, [bytes], 1, alignment, stream)
        : this.alloc(userLock, dims, elementSize, alignment, stream);
    } finally {
      this.#wish = before;
    }
  }

  /** Unlocks by whichever of {@link unlock} and {@link userUnlock} a subclass overrides. For hosts and decorators. @internal */
  callUnlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (userUnlock) this.userUnlock(ptr);
    else this.unlock(ptr, false);
  }

  /** What a subclass of a base class has to bring beside the methods of this class. */
  protected get policyMethods(): readonly string[] {
    return [];
  }

  /** Checks that a subclass has every method. @throws ERR_MEM_INVALID_ARGUMENT, which names the one that it lacks @internal */
  checkMethods(): void {
    const missing = [...NEEDED, ...this.policyMethods].find((name) => typeof Reflect.get(this, name) !== 'function');
    if (missing !== undefined) throw lacking(this, missing);
    const { alloc, allocBytes } = MemoryManagerAdapter.prototype;
    if (this.alloc === alloc && this.allocBytes === allocBytes) throw lacking(this, 'allocBytes');
  }

  /**
   * The ids of devices that there may be statistics of.
   *
   * @internal
   */
  deviceIds(): number[] {
    return Array.from({ length: this.deviceInterface.deviceCount ?? 1 }, (_, device) => device);
  }

  /** `CachingMemoryManager { device 0: 12.00 MiB allocated in 3 blocks, 20.00 MiB reserved }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => {
      const { state } = this.lifecycle;
      const held = this.deviceIds().flatMap((device) => {
        const stats = this.stats(device);
        return stats === undefined ? [] : [`device ${device}: ${heldText(stats)}`];
      });
      const blocks = held.length === 0 ? this.liveBlockCount() : undefined;
      return [
        ...(state === 'active' ? [] : [state === 'created' ? 'not installed' : state]),
        ...(held.length === 0 ? [] : [held.join('; ')]),
        ...(blocks === undefined ? [] : [counted(blocks, 'live block')]),
      ];
    });
  }

  /** Logs a call when logging is on: its name, then integers. */
  log(name: string, ...values: number[]): void {
    this.callLog.lineOf(name, values);
  }

  setLogStream(sink: LogSink | undefined): void {
    this.callLog.setSink(sink);
  }

  getLogStream(): LogSink | undefined {
    return this.callLog.sink;
  }

  /** @throws ERR_MEM_NO_LOG_STREAM when enabled without a sink */
  setLoggingEnabled(enabled: boolean): void {
    this.callLog.setEnabled(enabled);
  }

  /** @param lines - how many are buffered before the sink gets them; above 1 */
  setLogFlushInterval(lines: number): void {
    this.callLog.setFlushInterval(lines);
  }

  /** The number by which `MemoryManagerInstaller.getImpl` finds this manager. */
  getHandle(): number {
    return registerManager(this);
  }
}

/** The number of a manager in the process. */
export function handleOf(manager: MemoryManagerAdapter): number {
  const state = processState();
  let handle = state.handles.get(manager);
  if (handle === undefined) {
    handle = ++state.lastHandle;
    state.handles.set(manager, handle);
  }
  return handle;
}

/** Lets a manager be found by its handle as long as somebody holds it. @returns the handle */
export function registerManager(manager: MemoryManagerAdapter): number {
  const state = processState();
  const handle = handleOf(manager);
  if (!(state.managers.get(handle) instanceof WeakRef)) {
    state.managers.set(handle, new WeakRef(manager));
    state.managerCleanup.register(manager, handle);
  }
  return handle;
}

/**
 * Lets a manager be found by its handle until {@link releaseManager}. Not by a WeakRef: V8 keeps what one was made for until
 * the event loop turns, which a program that swaps in a loop does not wait for.
 *
 * @returns the handle
 */
export function holdManager(manager: MemoryManagerAdapter): number {
  const { managers } = processState();
  const handle = handleOf(manager);
  if (!managers.has(handle)) managers.set(handle, { deref: () => manager });
  return handle;
}

/** Takes back {@link holdManager}. */
export function releaseManager(manager: MemoryManagerAdapter): void {
  const { managers } = processState();
  const handle = handleOf(manager);
  if (!(managers.get(handle) instanceof WeakRef)) managers.delete(handle);
}

function lacking(manager: MemoryManagerAdapter, method: string): MemoryError {
  const expected = `a manager with the method ${method}; see docs/writing-a-manager.md`;
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'manager', value: manager.name, expected });
}
