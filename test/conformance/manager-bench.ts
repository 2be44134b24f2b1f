import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import type { LogSink } from '../../src/core/call-log.js';
import type { Device } from '../../src/core/device.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';

/** Makes the manager that a suite is about. */
export type ManagerMaker = (
  deviceCount: number,
  table: MemoryManagerDeviceInterface,
  options?: { readonly logStream?: LogSink | undefined },
) => MemoryManagerAdapter & { checkInvariants?(): void };

/** A device that tells how much of it is in use. */
export type MeasuredDevice = Device & { readonly liveBytes: number };

/** A device that a manager is tried on. */
export interface DeviceCase {
  readonly name: string;
  /** Devices that `make` gives. */
  readonly deviceCount: number;
  /** Whether the host can see the memory, so that its content can be checked. */
  readonly hasBytes: boolean;
  /** Makes a device; one with `hasCapacity` has that many bytes on each id. */
  readonly make: (capacityBytes?: number) => MeasuredDevice;
  readonly hasCapacity: boolean;
  /** Whether its `liveBytes` are fewer than what managers reserve. @defaultValue false */
  readonly countsWithoutRounding?: boolean;
  /** Whether each byte of its blocks is written: then the large ones are fewer, as a page that is touched takes time. @defaultValue false */
  readonly isWritten?: boolean;
}

export const SIMULATED: DeviceCase = {
  name: 'simulated',
  deviceCount: 3,
  hasBytes: false,
  hasCapacity: true,
  make: (capacityBytes) => new SimulatedDevice({ deviceCount: 3, virtual: true, ...(capacityBytes && { capacityBytes }) }),
};

export const CPU: DeviceCase = {
  name: 'cpu',
  deviceCount: 1,
  hasBytes: true,
  hasCapacity: false,
  make: () => new CpuDevice(),
};

/** Every device that is on any machine. */
export const DEVICE_CASES: readonly DeviceCase[] = [SIMULATED, CPU];

/** A live block, as its holder knows it. */
export interface Held {
  readonly ptr: DevicePtr;
  readonly bytes: number;
  readonly device: number;
}

/**
 * A manager over a table that was filled by hand, without any slot: what it does to the device is its own doing.
 * It knows each native range that the manager holds.
 */
export class ManagerBench {
  readonly device: MeasuredDevice;
  readonly table = new MemoryManagerDeviceInterface();
  readonly manager: ReturnType<ManagerMaker>;
  nativeAllocs = 0;
  nativeFrees = 0;
  /** What the device answers instead of memory, as long as it is set. */
  refusal: (() => DevicePtr) | undefined;
  readonly #ranges = new Map<DevicePtr, number>();

  constructor(make: ManagerMaker, deviceCase: DeviceCase, capacityBytes?: number) {
    this.device = deviceCase.make(capacityBytes);
    this.#fillTable();
    this.manager = make(deviceCase.deviceCount, this.table);
    this.manager.initialize();
  }

  /** Native ranges that the manager holds. */
  get held(): number {
    return this.#ranges.size;
  }

  /** Tells whether the bytes lie in one native range that the manager holds. */
  holds(ptr: DevicePtr, bytes: number): boolean {
    for (const [start, size] of this.#ranges) if (ptr >= start && ptr + bytes <= start + size) return true;
    return false;
  }

  alloc(bytes: number, options: { userLock?: boolean; alignment?: number } = {}): Held {
    const { userLock = true, alignment = 0 } = options;
    const ptr = this.manager.allocBytes(bytes, userLock, alignment);
    this.manager.checkInvariants?.();
    return { ptr, bytes, device: this.device.activeDeviceId };
  }

  free(held: Held): void {
    this.manager.unlock(held.ptr, true);
    this.manager.checkInvariants?.();
  }

  /** What can be compared before and after a call that fails. */
  state(): unknown {
    const devices = Array.from({ length: this.device.deviceCount }, (_, id) => {
      const stats = this.manager.stats(id);
      if (stats === undefined) return undefined;
      // What counts the failures, and what giving cached memory back changes, is not part of it.
      const { requestedBytes, allocatedBytes, activeBytes, blocks } = stats;
      return { requestedBytes, allocatedBytes, activeBytes, blocks };
    });
    return devices;
  }

  #fillTable(): void {
    const { table, device } = this;
    let threshold = 1;
    table.getActiveDeviceId = () => device.activeDeviceId;
    table.getMaxMemorySize = (id) => device.getMaxMemorySize(id);
    table.getMemoryPressureThreshold = () => threshold;
    table.setMemoryPressureThreshold = (value) => {
      threshold = value;
    };
    table.nativeAlloc = (bytes, alignment) => {
      if (this.refusal !== undefined) return this.refusal();
      const ptr = device.nativeAlloc(bytes, alignment);
      if (ptr === NULL_PTR) return ptr;
      this.nativeAllocs++;
      this.#ranges.set(ptr, bytes);
      return ptr;
    };
    table.nativeFree = (ptr) => {
      device.nativeFree(ptr);
      this.nativeFrees++;
      this.#ranges.delete(ptr);
    };
    table.streams = device.streams;
    const virtual = device.virtual;
    if (virtual === undefined) return;
    table.virtual = {
      granularityBytes: virtual.granularityBytes,
      pieces: virtual.pieces,
      reserve: (bytes) => {
        const ptr = this.refusal === undefined ? virtual.reserve(bytes) : this.refusal();
        if (ptr !== NULL_PTR) this.#ranges.set(ptr, bytes);
        return ptr;
      },
      release: (ptr, bytes) => {
        virtual.release(ptr, bytes);
        this.#ranges.delete(ptr);
      },
      commit: (ptr, bytes, pieceBytes) =>
        this.refusal === undefined ? virtual.commit(ptr, bytes, pieceBytes) : this.refusal() !== NULL_PTR,
      decommit: (ptr, bytes) => virtual.decommit(ptr, bytes),
    };
  }
}
