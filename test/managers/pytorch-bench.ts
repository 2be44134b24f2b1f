import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { PyTorchMemoryManager, type PyTorchMemoryManagerOptions } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, GiB, MiB } from '../../src/core/units.js';

/** A manager over a simulated device that notes each call for memory: `+20` MiB got, `-20` given back. */
export function bench(options: PyTorchMemoryManagerOptions = {}, capacityBytes = GiB) {
  const device = new SimulatedDevice({ capacityBytes, streams: true, virtual: { granularityBytes: 2 * MiB } });
  const table = new MemoryManagerDeviceInterface();
  const calls: string[] = [];
  const sizes = new Map<DevicePtr, number>();
  const note = (sign: string, bytes: number) => calls.push(`${sign}${bytes / MiB}`);
  table.deviceCount = 1;
  table.getActiveDeviceId = () => 0;
  table.getMaxMemorySize = (id) => device.getMaxMemorySize(id);
  table.nativeAlloc = (bytes, alignment) => {
    const ptr = device.nativeAlloc(bytes, alignment);
    sizes.set(ptr, bytes);
    if (ptr !== 0) note('+', bytes);
    return ptr;
  };
  table.nativeFree = (ptr) => {
    device.nativeFree(ptr);
    note('-', sizes.get(ptr)!);
  };
  const virtual = device.virtual!;
  table.virtual = {
    granularityBytes: virtual.granularityBytes,
    reserve: (bytes) => virtual.reserve(bytes),
    release: (ptr, bytes) => virtual.release(ptr, bytes),
    commit: (ptr, bytes) => {
      const isDone = virtual.commit(ptr, bytes);
      if (isDone) note('+', bytes);
      return isDone;
    },
    decommit: (ptr, bytes) => {
      virtual.decommit(ptr, bytes);
      note('-', bytes);
    },
  };
  table.streams = device.streams;
  const manager = new PyTorchMemoryManager(1, table, options);
  manager.initialize();
  const alloc = (mebibytes: number, stream = 0) => manager.allocBytes(mebibytes * MiB, true, 0, stream);
  const free = (...ptrs: DevicePtr[]) => {
    for (const ptr of ptrs) manager.unlock(ptr, true);
  };
  return { device, table, streams: device.streams!, manager, alloc, free, calls: () => calls.splice(0).join(' ') };
}
