import { afterEach, expect } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { MemoryRuntime, MiB } from '../../src/index.js';

/** Gives what makes runtimes for a test file. After each test they are closed, and their books have to add up. */
export function openRuntimes() {
  const open: MemoryRuntime[] = [];

  function runtimeOver<D extends CpuDevice | SimulatedDevice>(device: D): { device: D; runtime: MemoryRuntime } {
    const runtime = new MemoryRuntime(device, { exitReport: false });
    open.push(runtime);
    return { device, runtime };
  }
  const simulated = (deviceCount = 1) => runtimeOver(new SimulatedDevice({ deviceCount, capacityBytes: 100 * MiB }));
  const cpu = () => runtimeOver(new CpuDevice()).runtime;

  afterEach(() => {
    for (const runtime of open.splice(0)) {
      runtime.close();
      expect(runtime.slot.nativeFrees).toBe(runtime.slot.nativeAllocs);
      expect(runtime.pinnedSlot.nativeFrees).toBe(runtime.pinnedSlot.nativeAllocs);
    }
  });
  return { runtimeOver, simulated, cpu };
}
