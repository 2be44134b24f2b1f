import 'reflect-metadata';
import { setImmediate } from 'node:timers/promises';
import { Container, inject, injectable } from 'inversify';
import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  type RequestMemory,
  type RequestMemoryOptions,
  requestModule,
  StowageTokens,
  stowageModule,
} from '../../src/di/index.js';
import { KiB, MemoryBudget, MiB } from '../../src/index.js';

@injectable()
class Handler {
  constructor(@inject(StowageTokens.request) readonly memory: RequestMemory) {}
}

function app() {
  const device = new SimulatedDevice();
  const container = new Container();
  container.load(stowageModule({ device }));
  const runtime = container.get(StowageTokens.runtime);
  const request = (options: RequestMemoryOptions = {}) => {
    const child = new Container({ parent: container });
    child.load(requestModule(options));
    return child;
  };
  return { container, device, runtime, request };
}

const KINDS: readonly RequestMemoryOptions[] = [{}, { arena: true }, { arena: { regionBytes: 64 * KiB } }];

describe('requestModule', () => {
  test.each(KINDS)('frees what a request allocated when its container ends: %j', (options) => {
    const { container, runtime, request } = app();
    const child = request(options);
    child.bind(Handler).toSelf();
    const { memory } = child.get(Handler);
    expect(child.get(StowageTokens.request)).toBe(memory);
    const block = memory.allocate(4 * KiB);
    expect([memory.liveBlocks, runtime.slot.liveBlocks]).toEqual([1, 1]);
    child.unbindAll();
    expect([block.disposed, memory.disposed, memory.liveBlocks, runtime.slot.liveBlocks]).toEqual([true, true, 0, 0]);
    expect(() => memory.allocate(1)).toThrow(expect.objectContaining({ code: 'ERR_MEM_DISPOSED' }));
    container.unbindAll();
  });

  test('gives the memory of an arena back to the device', () => {
    const { container, device, request } = app();
    const child = request({ arena: { regionBytes: MiB } });
    const memory = child.get(StowageTokens.request);
    memory.allocate(512);
    memory.allocate(512);
    expect(device.liveBytes).toBe(MiB);
    child.unbindAll();
    expect(device.liveBytes).toBe(0);
    container.unbindAll();
  });

  test.each(KINDS)('keeps requests apart that run at the same time: %j', async (options) => {
    const { container, runtime, request } = app();
    const serve = async () => {
      const child = request(options);
      const memory = child.get(StowageTokens.request);
      await memory.run(async () => {
        runtime.allocate(KiB);
        await setImmediate();
        runtime.allocate(KiB);
      });
      const { liveBlocks } = memory;
      child.unbindAll();
      return liveBlocks;
    };
    expect(await Promise.all([serve(), serve(), serve()])).toEqual([2, 2, 2]);
    expect(runtime.slot.liveBlocks).toBe(0);
    container.unbindAll();
  });

  test('leaves what is allocated beside a request alone', () => {
    const { container, runtime, request } = app();
    const child = request();
    child.get(StowageTokens.request).allocate(KiB);
    using block = runtime.allocate(KiB);
    child.unbindAll();
    expect(block.disposed).toBe(false);
    block.dispose();
    container.unbindAll();
  });

  test('leaves a block whose handle was moved with who has it, and its arena until then', () => {
    const { container, device, runtime, request } = app();
    const child = request({ arena: { regionBytes: MiB } });
    const kept = child.get(StowageTokens.request).allocate(KiB).move();
    child.unbindAll();
    expect([kept.disposed, runtime.slot.liveBlocks, device.liveBytes]).toEqual([false, 1, MiB]);
    kept.dispose();
    expect(device.liveBytes).toBe(0);
    container.unbindAll();
  });

  test('opens nothing for a request that allocates nothing', () => {
    const { container, device, request } = app();
    const child = request({ arena: true });
    child.get(StowageTokens.request);
    child.unbindAll();
    request().unbindAll();
    expect(device.liveBytes).toBe(0);
    container.unbindAll();
  });

  test('charges what a request allocates to the tenant of its tag', () => {
    const { container, runtime, request } = app();
    using budget = new MemoryBudget({ limit: 64 * MiB, memory: runtime.device, exitReport: false });
    budget.add(runtime);
    using tenant = budget.tenant('alice');
    const child = request({ tag: 'alice' });
    child.get(StowageTokens.request).allocate(KiB);
    expect(tenant.reading().liveBytes).toBe(KiB);
    child.unbindAll();
    expect(tenant.reading().liveBytes).toBe(0);
    container.unbindAll();
  });

  test('ends a request once, and refuses options that cannot be', () => {
    const { container, request } = app();
    const child = request();
    const memory = child.get(StowageTokens.request);
    memory.dispose();
    child.unbindAll();
    expect(() => requestModule({ tag: 1 as unknown as string })).toThrow(
      expect.objectContaining({ code: 'ERR_MEM_INVALID_ARGUMENT' }),
    );
    container.unbindAll();
  });
});
