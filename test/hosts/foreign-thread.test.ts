import { expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { callback } from '../../adapters/ffi/callback.js';
import { CallbackTable } from '../../adapters/ffi/callback-table.js';
import { libc } from '../../adapters/os/libc.js';
import { CachingMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/index.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { install } from './test-managers.js';

type Create = (thread: BigUint64Array, attributes: number, main: number, value: number) => number;

// In a file of its own: the fault hung on the first registration of the process.
test("a callback on a foreign thread sees the runtime's active device and manager, wherever it was registered and awaited", async () => {
  const device = new SimulatedDevice({ deviceCount: 2 });
  using runtime = new MemoryRuntime(device, { exitReport: false });
  using table = new CallbackTable('test');
  const manager = () => new CachingMemoryManager(2, new MemoryManagerDeviceInterface());
  const [first, second] = [manager(), manager()];
  install(runtime, first);
  const liveBlocks = () => [first, second].map((one) => [0, 1].map((id) => one.stats(id)?.blocks.current ?? 0));
  const seen: unknown[] = [];
  let ran = () => {};
  const body = (): number => {
    const block = runtime.allocate(64);
    seen.push(liveBlocks());
    block.dispose();
    ran();
    return 0;
  };
  const inScopes = <T>(fn: () => T): T => runtime.withDevice(1, () => runtime.scoped(fn));

  const { main } = inScopes(() =>
    table.register('thread', () => ({
      main: callback({ result: 'uintptr_t', parameters: ['uintptr_t'], onError: 0, body }),
    })),
  );
  const create = libc().func<Create>('pthread_create', 'int', ['uint64_t *', 'uintptr_t', 'uintptr_t', 'uintptr_t']);
  const join = libc().func<(thread: bigint, result: number) => number>('pthread_join', 'int', ['uint64_t', 'uintptr_t']);
  const runThread = async () => {
    const thread = new BigUint64Array(1);
    const done = new Promise<void>((resolve) => {
      ran = resolve;
    });
    table.call(() => create(thread, 0, main, 0));
    await done;
    expect(join(thread[0]!, 0)).toBe(0);
  };

  await runThread();
  await inScopes(runThread);
  install(runtime, second);
  await inScopes(runThread);
  device.activate(1);
  await runThread();
  // Live blocks of each manager on each device.
  expect(seen).toEqual([
    [
      [1, 0],
      [0, 0],
    ],
    [
      [1, 0],
      [0, 0],
    ],
    [
      [0, 0],
      [1, 0],
    ],
    [
      [0, 0],
      [0, 1],
    ],
  ]);
  expect(table.foreignCalls).toBe(4);
});
