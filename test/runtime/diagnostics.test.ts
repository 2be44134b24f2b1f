import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, describe, expect, test } from 'vitest';
import { publishDiagnostics } from '../../src/runtime/diagnostics.js';
import { installed, memoryError, PlainManager, simulatedRuntime } from '../core/fakes.js';

const NAMES = ['stowage:alloc', 'stowage:free', 'stowage:oom', 'stowage:swap'];
const heard: [string, unknown][] = [];
const listener = (message: unknown, name: string | symbol): void => void heard.push([String(name), message]);

afterEach(() => {
  for (const name of NAMES) unsubscribe(name, listener);
  heard.length = 0;
});

describe('publishDiagnostics', () => {
  test('publishes allocations, frees, refusals and swaps of both slots until it is disposed', () => {
    const { runtime } = simulatedRuntime({ capacityBytes: 4096 });
    for (const name of NAMES) subscribe(name, listener);
    const published = publishDiagnostics(runtime);
    installed(new PlainManager(), runtime);
    const block = runtime.allocate(1000, { tag: 'weights' });
    const { ptr } = block;
    block.dispose();
    expect(() => runtime.allocate(5000)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
    const where = { slot: 'ordinary', manager: 'PlainManager' };
    expect(heard).toEqual([
      ['stowage:swap', { slot: 'ordinary', current: 'PlainManager', previous: undefined }],
      ['stowage:alloc', { ...where, ptr, bytes: 1000, device: 0, stream: 0, tag: 'weights' }],
      ['stowage:free', { ...where, ptr }],
      ['stowage:oom', { ...where, requestedBytes: 5000, device: 0 }],
    ]);
    heard.length = 0;
    runtime.allocate(8, { pinned: true }).dispose();
    expect(heard.map(([name, message]) => [name, (message as { slot: string }).slot])).toEqual([
      ['stowage:swap', 'pinned'],
      ['stowage:alloc', 'pinned'],
      ['stowage:free', 'pinned'],
    ]);
    heard.length = 0;
    published[Symbol.dispose]();
    runtime.allocate(8).dispose();
    expect(heard).toEqual([]);
    runtime.close();
  });

  test('publishes only to channels that somebody listens to', () => {
    const { runtime } = simulatedRuntime({ capacityBytes: 4096 });
    installed(new PlainManager(), runtime);
    subscribe('stowage:free', listener);
    publishDiagnostics(runtime);
    runtime.allocate(8).dispose();
    expect(heard.map(([name]) => name)).toEqual(['stowage:free']);
    expect(channel('stowage:alloc').hasSubscribers).toBe(false);
    runtime.close();
  });
});
