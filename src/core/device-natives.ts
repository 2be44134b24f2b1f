import type { Device } from './device.js';
import type { NativeFunctions } from './device-interface.js';
import { MemoryError } from './errors.js';
import type { MemoryHostOptions } from './memory-host.js';

/** What a host over a device is made of. */
export function deviceHost(
  device: Device,
  factories: Pick<MemoryHostOptions, 'createDefaultManager' | 'createFallbackManager'>,
): MemoryHostOptions {
  return {
    deviceCount: device.deviceCount,
    natives: ordinaryNatives(device),
    pinnedNatives: pinnedNatives(device),
    createDefaultManager: factories.createDefaultManager,
    createFallbackManager: factories.createFallbackManager,
  };
}

/** What the managers of ordinary memory get when a host hands a device's memory out. */
function ordinaryNatives(device: Device): NativeFunctions {
  return {
    ...deviceFacts(device),
    nativeAlloc: (bytes, alignment) => device.nativeAlloc(bytes, alignment),
    nativeFree: (ptr) => device.nativeFree(ptr),
    virtual: device.virtual,
    streams: device.streams,
  };
}

/** What the managers of pinned memory get when a host hands a device's memory out. */
function pinnedNatives(device: Device): NativeFunctions {
  return {
    ...deviceFacts(device),
    nativeAlloc: (bytes, alignment) => device.pinnedAlloc(bytes, alignment),
    nativeFree: (ptr) => device.pinnedFree(ptr),
  };
}

function deviceFacts(device: Device) {
  // As in ArrayFire, pressure counts as high from 1.0 on unless the program says otherwise.
  let threshold = 1;
  return {
    getActiveDeviceId: () => device.activeDeviceId,
    getMaxMemorySize: (id: number) => device.getMaxMemorySize(id),
    getMemoryPressureThreshold: () => threshold,
    setMemoryPressureThreshold: (value: number) => {
      if (!(value >= 0)) {
        throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
          name: 'memory pressure threshold',
          value: String(value),
          expected: 'a number of at least 0',
        });
      }
      threshold = value;
    },
  };
}
