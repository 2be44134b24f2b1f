import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import type { DevicePtr } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';

/** What Flashlight's addresses are counted from, and where a simulated device begins. */
const BASE = 2 ** 32;

/** Lines of a compressed file of test/traces; the last one is empty. */
function lines(name: string): string[] {
  return gunzipSync(readFileSync(new URL(`../traces/${name}.gz`, import.meta.url)))
    .toString('latin1')
    .split('\n');
}

describe('CachingMemoryManager', () => {
  test.each(['resnet', 'gpt_infer', 'dlrm', 'sqlite'])('gives the addresses of Flashlight on the %s trace', (name) => {
    const device = new SimulatedDevice();
    const runtime = new MemoryRuntime(device, { exitReport: false });
    const manager = new CachingMemoryManager(1, new MemoryManagerDeviceInterface());
    new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
    const golden = lines(`${name}.flashlight-addr`);
    const ptrs: DevicePtr[] = [];
    let allocations = 0;
    for (const line of lines(`${name}.trace`)) {
      const [kind, id = '', bytes] = line.split(' ');
      if (kind === 'a') {
        const ptr = runtime.slot.alloc(Number(bytes), true);
        const wanted = Number(golden[allocations]);
        if (ptr - BASE !== wanted) expect.fail(`allocation ${allocations} is at ${ptr - BASE}, in Flashlight at ${wanted}`);
        ptrs[Number(id)] = ptr;
        allocations++;
      } else if (kind === 'f') runtime.slot.unlock(ptrs[Number(id)] as DevicePtr, true);
    }
    expect(allocations).toBeGreaterThan(10_000);
    expect(allocations).toBe(golden.length - 1);
    manager.checkInvariants();
    runtime.close();
    expect(runtime.slot.nativeFrees).toBe(runtime.slot.nativeAllocs);
    expect(device.liveBytes).toBe(0);
  });
});
