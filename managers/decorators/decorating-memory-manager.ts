import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import type { LogSink } from '../../src/core/call-log.js';
import { checkManager } from '../../src/core/check-given.js';
import { MemoryError } from '../../src/core/errors.js';
import { INSPECT, inspected } from '../../src/core/inspect.js';
import { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import type { MemoryStatsSnapshot } from '../../src/core/memory-statistics.js';
import { bytesOf, type DevicePtr } from '../../src/core/units.js';

/**
 * A manager around another one: the base of all decorators, which forwards every call.
 *
 * It is what gets installed. It shares the inner manager's table, so that a slot that claims and fills it serves both,
 * and calls are logged on the decorator's own call log. The inner manager must not be installed itself, nor called past
 * the decorator: what is allocated or freed there is not recorded.
 *
 * A decorator overrides `allocBytes`, `unlock` and `userLock`, and calls {@link callInner}, which passes on what array the
 * block is for.
 */
export abstract class DecoratingMemoryManager extends MemoryManagerAdapter {
  /** Live blocks of the inner manager that no caller got, and whether the user's lock holds them. */
  readonly #unclaimed = new Map<DevicePtr, boolean>();
  /** What the {@link alloc} under way was told of its array. */
  #array: { readonly bytes: number; readonly dims: ArrayLike<number>; readonly elementSize: number } | undefined;

  constructor(
    /** The manager that does the work. */
    readonly inner: MemoryManagerAdapter,
    options: ManagerOptions = {},
  ) {
    checkManager(inner, 'the manager that does the work');
    super(inner.deviceInterface, options.logStream);
  }

  /** @throws ERR_MEM_LIFECYCLE when the inner manager was used and shut down before */
  initialize(): void {
    this.inner.lifecycle.check('active', this.inner.name);
    this.inner.initialize();
    this.inner.lifecycle.enter('active', this.inner.name);
    this.inner.lifecycle.onFree = () => this.lifecycle.onFree?.();
    this.inner.lifecycle.onReset = () => {
      this.innerWasReset();
      this.lifecycle.onReset?.();
    };
  }

  shutdown(): void {
    const { inner } = this;
    if (inner.lifecycle.state === 'active') {
      inner.lifecycle.enter('draining', inner.name);
      inner.lifecycle.enter('stopped', inner.name);
    }
    this.#takeUnclaimedBack();
    inner.shutdown();
  }

  /** The inner manager has freed blocks by itself: what keeps books of them drops those. Must not throw. */
  protected innerWasReset(): void {}

  override alloc(
    userLock: boolean,
    dims: ArrayLike<number>,
    elementSize: number,
    alignment?: number,
    stream?: number,
  ): DevicePtr {
    const before = this.#array;
    this.#array = { bytes: bytesOf(dims, elementSize), dims, elementSize };
    try {
      return super.alloc(userLock, dims, elementSize, alignment, stream);
    } finally {
      this.#array = before;
    }
  }

  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    return this.callInner(bytes, userLock, alignment, stream);
  }

  allocated(ptr: DevicePtr): number {
    return this.inner.allocated(ptr);
  }

  unlock(ptr: DevicePtr, userUnlock: boolean): void {
    this.inner.callUnlock(ptr, userUnlock);
  }

  userLock(ptr: DevicePtr): void {
    this.inner.userLock(ptr);
  }

  isUserLocked(ptr: DevicePtr): boolean {
    return this.inner.isUserLocked(ptr);
  }

  override recordStream(ptr: DevicePtr, stream: number): void {
    this.inner.recordStream(ptr, stream);
  }

  override resized(ptr: DevicePtr, requestedBytes: number): void {
    this.inner.resized(ptr, requestedBytes);
  }

  signalMemoryCleanup(): void {
    this.#takeUnclaimedBack();
    this.inner.signalMemoryCleanup();
  }

  override releaseCached(device: number, wantedBytes: number, mostBytes: number): void {
    this.inner.releaseCached(device, wantedBytes, mostBytes);
  }

  /** Writes the inner manager's report, then this one's. */
  printInfo(message: string, device: number, sink: LogSink = process.stdout): void {
    this.inner.printInfo(message, device, sink);
    const line = this.infoLine();
    sink.write(`Type: ${this.name}\n${line === '' ? '' : `${line}\n`}`);
  }

  override getMemoryPressure(): number {
    return this.inner.getMemoryPressure();
  }

  override jitTreeExceedsMemoryPressure(bytes: number): boolean {
    return this.inner.jitTreeExceedsMemoryPressure(bytes);
  }

  override addMemoryManagement(device: number): void {
    this.inner.addMemoryManagement(device);
  }

  override removeMemoryManagement(device: number): void {
    this.inner.removeMemoryManagement(device);
  }

  override getMemStepSize(): number {
    return this.inner.getMemStepSize();
  }

  override setMemStepSize(bytes: number): void {
    this.inner.setMemStepSize(bytes);
  }

  override stats(device?: number): MemoryStatsSnapshot | undefined {
    return this.inner.stats(device);
  }

  override idleBytes(device: number): number | undefined {
    return this.inner.idleBytes(device);
  }

  override get metadataBytes(): number {
    return this.inner.metadataBytes;
  }

  override liveBlockCount(): number | undefined {
    const count = this.inner.liveBlockCount();
    return count === undefined ? undefined : count - this.#unclaimed.size;
  }

  override callsUnderway(): number | undefined {
    return this.inner.callsUnderway();
  }

  override ticketOf(ptr: DevicePtr): number {
    return this.inner.ticketOf(ptr);
  }

  override siteOf(ptr: DevicePtr): string | undefined {
    return this.inner.siteOf(ptr);
  }

  override deviceIds(): number[] {
    return this.inner.deviceIds();
  }

  /** As any manager, with {@link infoLine} and what is inside. @internal */
  override [INSPECT](): string {
    return inspected(this, () => [this.infoLine(), this.inner[INSPECT]()].filter((fact) => fact !== ''));
  }

  /** Whether a subclass overrides what hosts know of arrays, or the inner manager does. @internal */
  override get overridesCalls(): boolean {
    const { alloc, userUnlock } = DecoratingMemoryManager.prototype;
    return this.alloc !== alloc || this.userUnlock !== userUnlock || this.inner.overridesCalls;
  }

  /** As any manager; arrays are for inner managers that want to know of them. @internal */
  override callAlloc(
    bytes: number,
    userLock: boolean,
    alignment = 0,
    stream = 0,
    dims?: ArrayLike<number>,
    elementSize?: number,
  ): DevicePtr {
    if (this.overridesCalls) return super.callAlloc(bytes, userLock, alignment, stream, dims, elementSize);
    return this.allocBytes(bytes, userLock, alignment, stream);
  }

  /**
   * Allocates a block of the inner manager, which is told of the array that it is for where that has so many bytes.
   *
   * @throws as {@link allocBytes} of the inner manager
   */
  protected callInner(bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    const array = this.#array?.bytes === bytes ? this.#array : undefined;
    return this.inner.callAlloc(bytes, userLock, alignment, stream, array?.dims, array?.elementSize);
  }

  /** Checks the invariants of this manager and of those inside, in O(blocks). For tests. @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    if (hasInvariants(this.inner)) this.inner.checkInvariants();
  }

  /** Frees a block of the inner manager that no caller gets. When the device does not take it, the next cleanup tries again. */
  protected takeBack(ptr: DevicePtr, userLock: boolean): void {
    try {
      this.inner.callUnlock(ptr, userLock);
    } catch {
      // The caller gets the error that came first.
      this.#unclaimed.set(ptr, userLock);
    }
  }

  #takeUnclaimedBack(): void {
    const unclaimed = [...this.#unclaimed];
    this.#unclaimed.clear();
    for (const [ptr, userLock] of unclaimed) this.takeBack(ptr, userLock);
  }

  /** What {@link printInfo} tells about this manager: one line, or nothing. */
  protected infoLine(): string {
    return '';
  }

  /** The error for an allocation that this manager refuses itself. */
  protected outOfMemory(requestedBytes: number, facts: OutOfMemoryFacts = {}): MemoryError {
    const device = this.deviceInterface.getActiveDeviceId();
    const stats = this.stats(device);
    const allocatedBytes = facts.allocatedBytes ?? stats?.allocatedBytes.current ?? 0;
    return new MemoryError(
      'ERR_MEM_OUT_OF_MEMORY',
      {
        requestedBytes,
        allocatedBytes,
        reservedBytes: stats?.reservedBytes.current ?? allocatedBytes,
        capacityBytes: Math.min(facts.limitBytes ?? Number.POSITIVE_INFINITY, this.deviceInterface.getMaxMemorySize(device)),
        device,
        ...(facts.quota === undefined ? {} : { quota: facts.quota }),
      },
      facts.cause,
    );
  }
}

/** What a decorator knows about a refusal better than the inner manager. */
export interface OutOfMemoryFacts {
  /** @defaultValue what the inner manager says */
  readonly allocatedBytes?: number;
  /** A capacity below the device's. @defaultValue none */
  readonly limitBytes?: number;
  /** What refused, for the message. @defaultValue the device */
  readonly quota?: string;
  readonly cause?: unknown;
}

function hasInvariants(manager: MemoryManagerAdapter): manager is MemoryManagerAdapter & { checkInvariants(): void } {
  return 'checkInvariants' in manager && typeof manager.checkInvariants === 'function';
}
