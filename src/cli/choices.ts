import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CudaDevice } from '../../adapters/devices/cuda.js';
import { HipDevice } from '../../adapters/devices/hip.js';
import { OpenClDevice } from '../../adapters/devices/opencl/index.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  ArenaMemoryManager,
  BuddyMemoryManager,
  CachingMemoryManager,
  DefaultMemoryManager,
  LimitingMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  SlabMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import { MANAGER_KINDS, type ManagerClasses } from '../conf/manager-kinds.js';
import type { Device } from '../core/device.js';
import type { ManagerFactory } from '../core/memory-host.js';

/** A device that the command knows. */
export interface DeviceChoice {
  /** Whether there are bytes behind its addresses. */
  readonly hasBytes: boolean;
  /** Whether its capacity can be chosen. */
  readonly hasCapacity: boolean;
  create(capacityBytes: number | undefined): Device;
}

/** The devices that the command knows, by name. */
export const DEVICES: ReadonlyMap<string, DeviceChoice> = new Map<string, DeviceChoice>([
  ['cpu', { hasBytes: true, hasCapacity: false, create: () => new CpuDevice() }],
  ['cuda', { hasBytes: true, hasCapacity: true, create: (capacityBytes) => new CudaDevice(limitedTo(capacityBytes)) }],
  ['hip', { hasBytes: true, hasCapacity: true, create: (capacityBytes) => new HipDevice(limitedTo(capacityBytes)) }],
  ['simulated', { hasBytes: false, hasCapacity: true, create: simulatedDevice }],
  [
    'opencl',
    {
      hasBytes: true,
      hasCapacity: true,
      create: (capacityBytes) => new OpenClDevice(capacityBytes === undefined ? {} : { capacityBytes }),
    },
  ],
]);

/** What people call devices, and the names that they have here. */
export const DEVICE_WORDS: ReadonlyMap<string, string> = new Map([
  ['gpu', 'cuda, hip or opencl'],
  ['nvidia', 'cuda or opencl'],
  ['amd', 'hip or opencl'],
  ['rocm', 'hip'],
  ['intel', 'opencl or cpu'],
]);

function limitedTo(capacityBytes: number | undefined): { readonly limit?: number } {
  return capacityBytes === undefined ? {} : { limit: capacityBytes };
}

/** Makes a simulated device. @param capacityBytes - undefined for the device's own */
export function simulatedDevice(capacityBytes: number | undefined): Device {
  return new SimulatedDevice({ virtual: true, ...(capacityBytes === undefined ? {} : { capacityBytes }) });
}

const CLASSES: ManagerClasses = {
  ArenaMemoryManager,
  BuddyMemoryManager,
  CachingMemoryManager,
  DefaultMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  SlabMemoryManager,
  TlsfMemoryManager,
};

/** The managers that the command knows, by name. */
export const MANAGERS: ReadonlyMap<string, ManagerFactory> = new Map(
  Array.from(MANAGER_KINDS.values(), ({ name, type }): [string, ManagerFactory] => [
    name,
    (deviceCount, table) => new CLASSES[type](deviceCount, table),
  ]),
);

/** Puts a quota around the managers that a factory makes. @param limitBytes - of live blocks; undefined for none */
export function limited(create: ManagerFactory, limitBytes: number | undefined): ManagerFactory {
  if (limitBytes === undefined) return create;
  return (deviceCount, table) => new LimitingMemoryManager(create(deviceCount, table), { limitBytes });
}
