import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import type { Device } from '../core/device.js';

/** A device that the command knows. */
export interface DeviceChoice {
  /** Whether the memory's bytes can be written and read. */
  readonly hasBytes: boolean;
  /** Whether its capacity can be chosen. */
  readonly hasCapacity: boolean;
  create(capacityBytes: number | undefined): Device;
}

/** The devices that the command knows, by name. */
export const DEVICES: ReadonlyMap<string, DeviceChoice> = new Map<string, DeviceChoice>([
  ['cpu', { hasBytes: true, hasCapacity: false, create: () => new CpuDevice() }],
  [
    'simulated',
    {
      hasBytes: false,
      hasCapacity: true,
      create: (capacityBytes) =>
        new SimulatedDevice({ virtual: true, ...(capacityBytes === undefined ? {} : { capacityBytes }) }),
    },
  ],
]);
