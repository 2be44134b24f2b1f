import type { LogSink } from '../core/call-log.js';
import type { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { waitForDefaultStream } from '../core/device-stream.js';
import { MemoryError } from '../core/errors.js';
import { given } from '../core/given.js';
import { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { formatInfo, type MemoryStatsSnapshot } from '../core/memory-statistics.js';
import * as stackRoom from '../core/stack-room.js';
import { tryAll } from '../core/try-all.js';
import type { DevicePtr } from '../core/units.js';
import * as units from '../core/units.js';
import { MANAGER_LOCK, USER_LOCK } from './block-rows.js';
import type { DeviceStorage, LeavingMemory, ManagedDevice } from './device-storage.js';
import { ReleaseBounds } from './release-bounds.js';

// Bindings of their own: V8 looks imported ones up, and checks them, each time.
const { checkAlignment, checkBytes, devicePtr, NULL_PTR } = units;
const { checkStackRoom, checkStackRoomHere } = stackRoom;

const MAX_DEVICES = 65_536;

/** Options that every manager takes. */
export interface ManagerOptions {
  /** Where logged calls go; giving one turns logging on. */
  readonly logStream?: LogSink | undefined;
}

/**
 * The base of all managers that hand out parts of native memory.
 *
 * It keeps the devices, the locks, the statistics, the retry after a failed native call, the one rule of giving memory back,
 * and `printInfo`. Where the memory and its blocks are is the storage's business: there is one of heaps and one of regions.
 */
export abstract class DeviceMemoryManager<D extends ManagedDevice> extends MemoryManagerAdapter {
  readonly #storage: DeviceStorage<D>;
  /** One more than the highest device that was managed. */
  #deviceCount: number;
  #grantedBytes = 0;

  /**
   * @param deviceCount - devices managed from the start, ids 0 to deviceCount - 1
   * @throws ERR_MEM_INVALID_ARGUMENT for a count that is no positive integer
   */
  constructor(
    deviceCount: number,
    deviceInterface: MemoryManagerDeviceInterface,
    options: ManagerOptions,
    storage: DeviceStorage<D>,
  ) {
    super(deviceInterface, options.logStream);
    this.#storage = storage;
    this.#deviceCount = deviceCount;
    if (!Number.isInteger(deviceCount) || deviceCount < 1 || deviceCount > MAX_DEVICES) {
      const expected = `an integer from 1 to ${MAX_DEVICES}`;
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'deviceCount', value: given(deviceCount), expected });
    }
    for (let device = 0; device < deviceCount; device++) storage.open(device);
  }

  /** Clears a lock of a live block, and takes the block back when none is left. @throws as {@link unlock} */
  protected abstract unhold(ptr: DevicePtr, lock: number): void;

  /**
   * Gives cached memory of a device back with {@link giveBack}.
   *
   * @param bounds - how much of it, for a policy that {@link trimsInParts}; `bounds.giveBack` chooses the pieces
   * @defaultValue bounds is all
   */
  protected abstract trim(device: number, bounds?: ReleaseBounds): void;

  /** Whether {@link trim} keeps to its bounds. Here: it does not, and {@link releaseCached} calls it only when all may go. */
  protected get trimsInParts(): boolean {
    return false;
  }

  /** Drops what the policy keeps of a device that is about to be closed. Here: nothing. */
  protected forget(_device: number): void {}

  initialize(): void {}

  shutdown(): void {
    try {
      this.signalMemoryCleanup();
    } finally {
      this.callLog.flush();
    }
  }

  allocated(ptr: DevicePtr): number {
    return this.#storage.liveBytesAt(ptr);
  }

  unlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (ptr !== NULL_PTR) this.unhold(ptr, userUnlock ? USER_LOCK : MANAGER_LOCK);
  }

  userLock(ptr: DevicePtr): void {
    if (ptr !== NULL_PTR) this.hold(ptr, USER_LOCK);
  }

  override resized(ptr: DevicePtr, requestedBytes: number): void {
    this.#storage.setRequestedAt(ptr, requestedBytes);
  }

  isUserLocked(ptr: DevicePtr): boolean {
    return (this.#storage.locksAt(ptr) & USER_LOCK) !== 0;
  }

  signalMemoryCleanup(): void {
    checkStackRoom();
    tryAll(this.#storage.all, ({ device }) => {
      // A native call before may have come back with the removal of another device.
      if (this.#storage.get(device) !== undefined) this.trim(device);
    });
  }

  /**
   * Gives cached memory of a device back, within bounds; does nothing for one that is not managed. Waits for no stream but
   * those that may work on what goes.
   */
  override releaseCached(device: number, wantedBytes: number, mostBytes: number): void {
    if (!(wantedBytes > 0 && mostBytes > 0) || this.#storage.get(device) === undefined) return;
    checkStackRoom();
    if (this.trimsInParts) this.trim(device, new ReleaseBounds(wantedBytes, mostBytes));
    else super.releaseCached(device, wantedBytes, mostBytes);
  }

  /** Starts to manage one more device; does nothing for one that is managed. */
  override addMemoryManagement(device: number): void {
    if (!Number.isInteger(device) || device < 0 || device >= MAX_DEVICES) throw this.#notManaged(device);
    if (this.#storage.get(device) === undefined) this.#storage.open(device);
    this.#deviceCount = Math.max(this.#deviceCount, device + 1);
  }

  /**
   * Gives a device's cached memory back and stops managing it; does nothing for one that is not managed.
   *
   * @throws ERR_MEM_DEVICE_BUSY when blocks of it are live, from inside a call on it, and when the policy keeps memory of it
   */
  override removeMemoryManagement(device: number): void {
    const held = this.#storage.get(device);
    if (held === undefined) return;
    let nativeFrees: number;
    do {
      nativeFrees = held.stats.nativeFrees;
      this.#checkIdle(held);
      this.trim(device);
      // A native call may have come back with an allocation, and with its free.
    } while (held.stats.reservedBytes > 0 && held.stats.nativeFrees !== nativeFrees);
    this.#checkIdle(held);
    // What a policy does not give back would be forgotten with the device.
    if (held.stats.reservedBytes > 0) throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device, liveBlocks: 0 });
    this.forget(device);
    this.#storage.close(device);
  }

  override liveBlockCount(): number {
    return this.#storage.all.reduce((sum, { stats }) => sum + stats.liveBlocks, 0);
  }

  override callsUnderway(): number {
    return this.#storage.all.reduce((sum, { underway }) => sum + underway, 0);
  }

  /** @throws ERR_MEM_INVALID_DEVICE */
  override stats(device: number = this.deviceInterface.getActiveDeviceId()): MemoryStatsSnapshot {
    return this.statsOf(device).snapshot();
  }

  override deviceIds(): number[] {
    return this.#storage.all.map(({ device }) => device);
  }

  /** @throws ERR_MEM_INVALID_DEVICE */
  printInfo(message: string, device: number, sink: LogSink = process.stdout): void {
    const stats = this.stats(device);
    const capacityBytes = this.capacityOf(device);
    sink.write(formatInfo({ message, name: this.name, device, capacityBytes, stats }));
  }

  /** Bytes of the manager's own tables. */
  override get metadataBytes(): number {
    return this.#storage.metadataBytes;
  }

  /**
   * Checks the invariants of the whole manager, in O(blocks). For tests.
   *
   * @throws ERR_MEM_INVARIANT
   */
  checkInvariants(): void {
    this.#storage.checkInvariants();
  }

  /** The share of {@link callsUnderway} that may use a device. Here: native calls of it alone. */
  protected underwayOn({ underway }: D): number {
    return underway;
  }

  /** What is kept of a device. @throws ERR_MEM_INVALID_DEVICE, ERR_MEM_LIFECYCLE */
  protected managedDevice(device: number): D {
    const held = this.#storage.get(device);
    if (held !== undefined) return held;
    this.#checkServing();
    throw this.#notManaged(device);
  }

  /** The bytes that there are for this manager on a device. */
  protected capacityOf(device: number): number {
    return this.deviceInterface.getMaxMemorySize(device);
  }

  /** The statistics of a device; those at the end when the manager has ended. @throws ERR_MEM_INVALID_DEVICE */
  protected statsOf(device: number): D['stats'] {
    const stats = this.#storage.statsOf(device);
    if (stats !== undefined) return stats;
    throw this.#notManaged(device);
  }

  /** Checks that an allocation may be made. @throws ERR_MEM_LIFECYCLE, ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT; as {@link checkStream} */
  protected checkRequest(bytes: number, alignment: number, stream: number): void {
    this.#checkServing();
    checkBytes(bytes);
    if (alignment !== 0) checkAlignment(alignment);
    if (stream !== 0) this.checkStream(stream);
  }

  /**
   * Tells whether this manager keeps the order of a device's streams.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM unless a subclass says otherwise: a block must not be reused as if it did
   */
  protected checkStream(_stream: number): void {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'stream order', platform: this.name });
  }

  /** Adds a lock to a live block. @throws ERR_MEM_UNKNOWN_POINTER */
  protected hold(ptr: DevicePtr, lock: number): void {
    const locks = this.#storage.locksAt(ptr);
    if (locks === 0) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    this.#storage.setLocksAt(ptr, locks | lock);
  }

  /** Throws for a pointer that heads no live block. */
  protected refuse(ptr: DevicePtr): never {
    const isFree = this.#storage.isFreeAt(ptr);
    throw new MemoryError(isFree ? 'ERR_MEM_DOUBLE_FREE' : 'ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
  }

  /**
   * Gets native memory from the device: tries, gives cached memory back, and tries once more. Where it is a budget that refuses,
   * it asks for the least that will do at last. The caller is to enter it in its books before anything else, with
   * {@link grantedBytes}.
   *
   * @param requestedBytes - what the caller of the manager asked for
   * @param leastBytes - of a segment that has room for it
   * @returns it, or null when {@link makeRoom} made room inside the manager
   * @throws ERR_MEM_OUT_OF_MEMORY, or what the device throws with another code
   */
  protected askDevice(
    held: D,
    wantedBytes: number,
    alignment: number,
    requestedBytes: number,
    leastBytes = wantedBytes,
  ): DevicePtr {
    let cause: unknown;
    let bytes = wantedBytes;
    for (let attempt = 0; attempt < 3; attempt++) {
      if (attempt === 1) {
        held.stats.retries++;
        if (this.makeRoom(held.device, requestedBytes)) return NULL_PTR;
      } else if (attempt === 2) {
        if (leastBytes === wantedBytes || !isRefusedByBudget(cause)) break;
        bytes = leastBytes;
      }
      // Rounding may have carried the size beyond what a number holds exactly: no device has that much.
      if (!Number.isSafeInteger(bytes)) continue;
      // What the device gives is entered without fail.
      checkStackRoomHere();
      held.underway++;
      try {
        const ptr = devicePtr(this.deviceInterface.nativeAlloc(bytes, alignment));
        this.#grantedBytes = bytes;
        if (ptr !== NULL_PTR) return ptr;
      } catch (error) {
        if (MemoryError.is(error) && error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error;
        cause = error;
      } finally {
        held.underway--;
      }
    }
    throw this.outOfMemory(held, requestedBytes, bytes, { cause });
  }

  /** How many bytes the last {@link askDevice} got. */
  protected get grantedBytes(): number {
    return this.#grantedBytes;
  }

  /**
   * Makes room on a device that has none left. Here: gives cached memory back.
   *
   * @returns true when a free block of the manager has room for `requestedBytes` now, so that no native memory is needed
   */
  protected makeRoom(device: number, _requestedBytes: number): boolean {
    this.trim(device);
    return false;
  }

  /**
   * Counts a refusal and makes its error.
   *
   * @param quota - what refused, when it was not the device
   * @param limitBytes - what stands for the device's capacity then
   */
  protected outOfMemory(
    { device, stats }: D,
    requestedBytes: number,
    segmentBytes: number,
    { cause, quota, limitBytes }: { readonly cause?: unknown; readonly quota?: string; readonly limitBytes?: number } = {},
  ): MemoryError {
    stats.ooms++;
    return new MemoryError(
      'ERR_MEM_OUT_OF_MEMORY',
      {
        requestedBytes,
        allocatedBytes: stats.allocatedBytes,
        reservedBytes: stats.reservedBytes,
        capacityBytes: Math.min(limitBytes ?? Number.POSITIVE_INFINITY, this.capacityOf(device)),
        device,
        ...(segmentBytes === requestedBytes ? {} : { segmentBytes }),
        ...(quota === undefined ? {} : { quota }),
      },
      cause,
    );
  }

  /** Waits until no stream works on free memory of a device that may go back. Here: for stream 0, the only one there is. */
  protected settle(device: number): void {
    waitForDefaultStream(this.deviceInterface.streams, device);
  }

  /**
   * Gives native memory back to the device once no stream works on it. While the device is called, which may call back, nobody
   * finds it and it is not handed out; when that fails all is as before.
   *
   * @param take - takes it out of the books
   * @param release - what gives it back
   * @defaultValue release is the table's nativeFree
   */
  protected giveBack(held: D, take: () => LeavingMemory, release?: (ptr: DevicePtr) => void): void {
    checkStackRoomHere();
    const leaving = take();
    held.underway++;
    try {
      this.settle(held.device);
      if (release === undefined) this.deviceInterface.nativeFree(leaving.address as DevicePtr);
      else release(leaving.address as DevicePtr);
    } catch (error) {
      leaving.putBack();
      throw error;
    } finally {
      held.underway--;
    }
    leaving.end();
  }

  /** @throws ERR_MEM_LIFECYCLE once the manager was stopped */
  #checkServing(): void {
    if (this.lifecycle.state === 'stopped') this.lifecycle.check('active', this.name);
  }

  #checkIdle(held: D): void {
    const { liveBlocks } = held.stats;
    if (liveBlocks + this.underwayOn(held) === 0) return;
    throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device: held.device, liveBlocks });
  }

  #notManaged(device: number): MemoryError {
    return new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#deviceCount });
  }
}

/** Whether a budget has refused, which may have room for less. */
function isRefusedByBudget(error: unknown): boolean {
  return MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') && error.facts.budget !== undefined;
}
