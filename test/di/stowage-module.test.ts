import 'reflect-metadata';
import { Container, inject, injectable } from 'inversify';
import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import { CachingMemoryManager } from '../../managers/index.js';
import { type StowageModuleOptions, StowageTokens, stowageModule } from '../../src/di/index.js';
import { MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime, MiB } from '../../src/index.js';

class Plain extends CachingMemoryManager {}

@injectable()
class Decorated extends CachingMemoryManager {
  constructor(
    @inject(StowageTokens.deviceCount) deviceCount: number,
    @inject(StowageTokens.deviceInterface) deviceInterface: MemoryManagerDeviceInterface,
  ) {
    super(deviceCount, deviceInterface);
  }
}

function simulated(options: StowageModuleOptions = {}): StowageModuleOptions {
  return { device: new SimulatedDevice(), ...options };
}

function load(options: StowageModuleOptions, prepare: (container: Container) => void = () => {}): Container {
  const container = new Container();
  prepare(container);
  container.load(stowageModule(options));
  return container;
}

describe('stowageModule', () => {
  test('installs a CachingMemoryManager in a MemoryRuntime over CPU memory when nothing else is bound', () => {
    const container = load({});
    const host = container.get(StowageTokens.host);
    expect(host).toBeInstanceOf(MemoryRuntime);
    expect(host.slot.installed).toBeInstanceOf(CachingMemoryManager);
    expect(container.get(StowageTokens.device).name).toBe('cpu');
    container.unbindAll();
  });

  test('resolves one host and one manager', () => {
    const container = load(simulated());
    const host = container.get(StowageTokens.host);
    expect(container.get(StowageTokens.host)).toBe(host);
    expect(host.slot.installed).toBe(container.get(StowageTokens.manager));
    container.unbindAll();
  });

  test('installs nothing before the host is resolved', () => {
    const container = load(simulated());
    const manager = container.get(StowageTokens.manager);
    expect(manager.lifecycle.state).toBe('created');
    container.get(StowageTokens.host);
    expect(manager.lifecycle.state).toBe('active');
    container.unbindAll();
  });

  test('installs a class without decorators that a factory makes', () => {
    const container = load(simulated({ createManager: (count, table) => new Plain(count, table) }));
    expect(container.get(StowageTokens.host).slot.installed).toBeInstanceOf(Plain);
    container.unbindAll();
  });

  test('installs a decorated class that was bound before the module', () => {
    const container = load(simulated(), (empty) => empty.bind(StowageTokens.manager).to(Decorated).inSingletonScope());
    expect(container.get(StowageTokens.host).slot.installed).toBeInstanceOf(Decorated);
    container.unbindAll();
  });

  test('installs a decorated class that was rebound after the module', () => {
    const container = load(simulated());
    container.rebind(StowageTokens.manager).to(Decorated).inSingletonScope();
    expect(container.get(StowageTokens.host).slot.installed).toBeInstanceOf(Decorated);
    container.unbindAll();
  });

  test('uninstalls the manager when it is unbound, and the host goes on with its own default', () => {
    const container = load(simulated());
    const host = container.get(StowageTokens.host);
    const block = host.slot.alloc(MiB, true);
    const manager = container.get(StowageTokens.manager);
    container.unbind(StowageTokens.manager);
    expect(MemoryManagerInstaller.currentlyInstalledMemoryManager(host)).toBeNull();
    expect(manager.lifecycle.state).toBe('draining');
    host.slot.unlock(block, true);
    expect(manager.lifecycle.state).toBe('stopped');
    container.unbindAll();
  });

  test.each(['unbindAll', 'unload'])('closes the host that it made: %s', (how) => {
    const device = new SimulatedDevice();
    const container = new Container();
    const module = stowageModule({ device });
    container.load(module);
    const host = container.get(StowageTokens.host);
    host.slot.alloc(MiB, true);
    if (how === 'unbindAll') container.unbindAll();
    else container.unload(module);
    expect(host.slot.closed).toBe(true);
    expect(device.liveBytes).toBe(0);
  });

  test("leaves the app's own host open, and uninstalls from it", () => {
    using runtime = new MemoryRuntime(new SimulatedDevice());
    const container = load(simulated(), (empty) => empty.bind(StowageTokens.host).toConstantValue(runtime));
    expect(container.get(StowageTokens.host)).toBe(runtime);
    expect(runtime.slot.installed).toBeInstanceOf(CachingMemoryManager);
    container.unbindAll();
    expect(runtime.slot.closed).toBe(false);
    expect(runtime.slot.installed).toBeNull();
  });

  test('gives the runtime, which is the host', () => {
    const container = load(simulated());
    const runtime = container.get(StowageTokens.runtime);
    expect(runtime.slot.installed).toBeInstanceOf(CachingMemoryManager);
    using block = runtime.allocate(4096);
    expect(block.bytes).toBe(4096);
    expect(container.get(StowageTokens.host)).toBe(runtime);
    container.unbindAll();
  });

  test('takes a runtime of the app as the host', () => {
    using runtime = new MemoryRuntime(new SimulatedDevice());
    const container = load(simulated(), (empty) => empty.bind(StowageTokens.runtime).toConstantValue(runtime));
    expect(container.get(StowageTokens.host)).toBe(runtime);
    expect(container.get(StowageTokens.runtime)).toBe(runtime);
    expect(runtime.slot.installed).toBeInstanceOf(CachingMemoryManager);
    container.unbindAll();
    expect([runtime.slot.closed, runtime.slot.installed]).toEqual([false, null]);
  });

  test('gives no runtime when the host is another one', () => {
    using host = new CAllocatorHost();
    const container = load(simulated(), (empty) => empty.bind(StowageTokens.host).toConstantValue(host));
    expect(() => container.get(StowageTokens.runtime)).toThrow(
      expect.objectContaining({ code: 'ERR_MEM_INVALID_ARGUMENT', message: expect.stringContaining('CAllocatorHost') }),
    );
    container.unbindAll();
  });

  test.each([StowageTokens.host, StowageTokens.runtime])('installs a manager that is bound after another: %s', (token) => {
    const container = load(simulated());
    const runtime = container.get(StowageTokens.runtime);
    const block = runtime.allocate(MiB);
    for (let i = 0; i < 3; i++) {
      const before = container.get(StowageTokens.manager);
      container.unbind(StowageTokens.manager);
      container.bind(StowageTokens.manager).to(Decorated).inSingletonScope();
      expect(container.get(token)).toBe(runtime);
      // By identity: a comparison would look into a manager that has been shut down.
      expect(runtime.slot.installed === container.get(StowageTokens.manager)).toBe(true);
      expect(runtime.slot.installed === before).toBe(false);
      expect(runtime.slot.installed).toBeInstanceOf(Decorated);
    }
    container.rebind(StowageTokens.manager).toConstantValue(new Plain(1, new MemoryManagerDeviceInterface()));
    container.get(token);
    expect(runtime.slot.installed).toBeInstanceOf(Plain);
    block.dispose();
    container.unbindAll();
    expect(runtime.slot.closed).toBe(true);
  });

  test('installs once where the manager is bound in transient scope', () => {
    const container = load(simulated(), (empty) => empty.bind(StowageTokens.manager).to(Decorated).inTransientScope());
    const { installed } = container.get(StowageTokens.host).slot;
    expect(container.get(StowageTokens.host).slot.installed).toBe(installed);
    container.unbindAll();
  });

  test("gives a manager the device count of the app's own host", () => {
    using runtime = new MemoryRuntime(new SimulatedDevice({ deviceCount: 3 }));
    const counts: number[] = [];
    const createManager = (count: number, table: MemoryManagerDeviceInterface) => {
      counts.push(count);
      return new Plain(count, table);
    };
    const container = load({ createManager }, (empty) => empty.bind(StowageTokens.host).toConstantValue(runtime));
    container.get(StowageTokens.host);
    expect(counts).toEqual([3]);
    container.unbindAll();
  });

  test('opens one host, which ends with the container, when the manager cannot be made', () => {
    const device = new SimulatedDevice();
    const refuse = () => {
      throw new Error('no manager');
    };
    const container = load({ device, createManager: refuse });
    for (let i = 0; i < 5; i++) expect(() => container.get(StowageTokens.host)).toThrow('no manager');
    expect(device.events.listenerCount('pin-failed')).toBe(1);
    container.unbindAll();
    expect(device.events.listenerCount('pin-failed')).toBe(0);
  });

  test('turns logging on when a sink is bound, with the flush interval of the settings', () => {
    const chunks: string[] = [];
    const logSink = { write: (chunk: string | Uint8Array) => chunks.push(String(chunk)) };
    const container = load(simulated({ logSink, logFlushInterval: 2 }));
    container.get(StowageTokens.host).slot.alloc(512, true);
    expect(chunks).toEqual(['initialize \nnativeAlloc 2097152 4294967296 \n']);
    container.unbindAll();
    expect(chunks.join('')).toMatch(/alloc 512 1 4294967296 \nshutdown \nnativeFree 4294967296 \n$/);
  });

  test('gives every manager a table of its own', () => {
    const container = load(simulated());
    expect(container.get(StowageTokens.deviceInterface)).not.toBe(container.get(StowageTokens.deviceInterface));
    expect(container.get(StowageTokens.deviceInterface)).toBeInstanceOf(MemoryManagerDeviceInterface);
  });
});
