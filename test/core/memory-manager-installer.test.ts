import { afterEach, describe, expect, test } from 'vitest';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { processState } from '../../src/core/process-state.js';
import { memoryError, PlainManager, simulatedRuntime } from './fakes.js';

const { defaultHost, createDefaultHost } = processState();

afterEach(() => {
  Object.assign(processState(), { defaultHost, createDefaultHost });
});

describe('MemoryManagerInstaller', () => {
  test('fills the table with the native functions of the host', () => {
    const { device, runtime } = simulatedRuntime({ capacityBytes: 5000 });
    const manager = new PlainManager();
    const installer = new MemoryManagerInstaller(manager, runtime);
    expect(installer.getMemoryManager()).toBe(manager);
    expect(runtime.slot.active).toBeNull();
    const table = manager.deviceInterface;
    expect([table.getActiveDeviceId(), table.getMaxMemorySize(0), table.getMemoryPressureThreshold()]).toEqual([0, 5000, 1]);
    table.setMemoryPressureThreshold(0.5);
    expect(table.getMemoryPressureThreshold()).toBe(0.5);
    expect(() => table.setMemoryPressureThreshold(Number.NaN)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    table.nativeFree(table.nativeAlloc(100));
    expect(device.counts).toMatchObject({ nativeAlloc: 1, nativeFree: 1 });
  });

  test('refuses a table that serves another manager', () => {
    const { runtime } = simulatedRuntime();
    const first = new PlainManager();
    new MemoryManagerInstaller(first, runtime).setAsMemoryManager();
    const second = new PlainManager(first.deviceInterface);
    for (const host of [runtime, simulatedRuntime().runtime]) {
      expect(() => new MemoryManagerInstaller(second, host)).toThrow(memoryError('ERR_MEM_TABLE_IN_USE'));
    }
  });

  test('installs in the default host when it is given none', () => {
    const { runtime } = simulatedRuntime();
    Object.assign(processState(), { defaultHost: undefined, createDefaultHost: () => runtime });
    const manager = new PlainManager();
    new MemoryManagerInstaller(manager).setAsMemoryManager();
    expect(runtime.slot.installed).toBe(manager);
    expect(MemoryManagerInstaller.currentlyInstalledMemoryManager()).toBe(manager);
    MemoryManagerInstaller.installDefaultMemoryManager();
    expect(MemoryManagerInstaller.currentlyInstalledMemoryManager()).not.toBe(manager);
    MemoryManagerInstaller.unsetMemoryManager();
    expect(MemoryManagerInstaller.currentlyInstalledMemoryManager()).toBeNull();
    MemoryManagerInstaller.unsetMemoryManager();
    expect(runtime.slot.installed).toBeNull();
    runtime.close();
    expect(processState().defaultHost).toBeUndefined();
  });

  test('throws when no default host can be made', () => {
    Object.assign(processState(), { defaultHost: undefined, createDefaultHost: undefined });
    expect(() => MemoryManagerInstaller.currentlyInstalledMemoryManager()).toThrow(
      memoryError('ERR_MEM_NOT_INSTALLED', { functionName: 'createDefaultHost' }),
    );
  });

  describe('getImpl', () => {
    test('finds a manager by its handle', () => {
      const managers = [new PlainManager(), new PlainManager()];
      expect(managers.map((manager) => MemoryManagerInstaller.getImpl(manager.getHandle()))).toEqual(managers);
      expect(managers[0]?.getHandle()).not.toBe(managers[1]?.getHandle());
    });

    test.each([0, -1, 1e9, Number.NaN])('throws for %d', (handle) => {
      const error = memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'handle', value: String(handle) });
      expect(() => MemoryManagerInstaller.getImpl(handle)).toThrow(error);
    });
  });
});
