import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CudaDevice } from '../../adapters/devices/cuda.js';
import { HipDevice } from '../../adapters/devices/hip.js';
import { OpenClDevice } from '../../adapters/devices/opencl/index.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import type { Device } from '../core/device.js';

/** A device that the command knows. */
export interface DeviceChoice {
  /** Whether the host can write and read the memory's bytes. */
  readonly hasBytes: boolean;
  /** Whether its capacity can be chosen. */
  readonly hasCapacity: boolean;
  create(capacityBytes: number | undefined): Device;
}

/** The devices that the command knows, by name. */
export const DEVICES: ReadonlyMap<string, DeviceChoice> = new Map<string, DeviceChoice>([
  ['cpu', { hasBytes: true, hasCapacity: false, create: () => new CpuDevice() }],
  ['cuda', { hasBytes: false, hasCapacity: false, create: () => new CudaDevice() }],
  ['hip', { hasBytes: false, hasCapacity: false, create: () => new HipDevice() }],
  [
    'simulated',
    {
      hasBytes: false,
      hasCapacity: true,
      create: (capacityBytes) =>
        new SimulatedDevice({ virtual: true, ...(capacityBytes === undefined ? {} : { capacityBytes }) }),
    },
  ],
  [
    'opencl',
    {
      hasBytes: false,
      hasCapacity: true,
      create: (capacityBytes) => new OpenClDevice(capacityBytes === undefined ? {} : { capacityBytes }),
    },
  ],
]);
