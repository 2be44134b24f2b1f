import { checkDevice } from './check-given.js';
import { type Device, HostDevice } from './device.js';
import type { NativeFunctions, StreamOperations, VirtualMemory } from './device-interface.js';
import { MemoryError } from './errors.js';
import type { MemoryHostOptions } from './memory-host.js';
import { HOST_MEMORY } from './slot-charges.js';
import type { DevicePtr } from './units.js';

/** What a host over a device is made of. */
export function deviceHost(
  device: Device,
  factories: Pick<MemoryHostOptions, 'createDefaultManager' | 'createFallbackManager'>,
): MemoryHostOptions {
  checkDevice(device);
  return {
    deviceCount: device.deviceCount,
    deviceName: device.name,
    memory: device instanceof HostDevice ? HOST_MEMORY : device.name,
    natives: new OrdinaryNatives(device),
    pinnedNatives: new PinnedNatives(device),
    createDefaultManager: factories.createDefaultManager,
    createFallbackManager: factories.createFallbackManager,
  };
}

/** What the managers of a device get, whichever memory they hand out. */
abstract class DeviceNatives implements NativeFunctions {
  protected readonly device: Device;
  // As in ArrayFire, pressure counts as high from 1.0 on unless the program says otherwise.
  #threshold = 1;

  constructor(device: Device) {
    this.device = device;
  }

  abstract nativeAlloc(bytes: number, alignment?: number): DevicePtr;
  abstract nativeFree(ptr: DevicePtr): void;

  get deviceCount(): number {
    return this.device.deviceCount;
  }

  getActiveDeviceId(): number {
    return this.device.activeDeviceId;
  }

  getMaxMemorySize(id: number): number {
    return this.device.getMaxMemorySize(id);
  }

  getMemoryPressureThreshold(): number {
    return this.#threshold;
  }

  setMemoryPressureThreshold(value: number): void {
    if (!(value >= 0)) {
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
        name: 'memory pressure threshold',
        value: String(value),
        expected: 'a number of at least 0',
      });
    }
    this.#threshold = value;
  }
}

/** What the managers of ordinary memory get. */
class OrdinaryNatives extends DeviceNatives {
  get virtual(): VirtualMemory | undefined {
    return this.device.virtual;
  }

  get streams(): StreamOperations | undefined {
    return this.device.streams;
  }

  override nativeAlloc(bytes: number, alignment?: number): DevicePtr {
    return this.device.nativeAlloc(bytes, alignment);
  }

  override nativeFree(ptr: DevicePtr): void {
    this.device.nativeFree(ptr);
  }
}

/** What the managers of pinned memory get. */
class PinnedNatives extends DeviceNatives {
  override nativeAlloc(bytes: number, alignment?: number): DevicePtr {
    return this.device.pinnedAlloc(bytes, alignment);
  }

  override nativeFree(ptr: DevicePtr): void {
    this.device.pinnedFree(ptr);
  }
}
