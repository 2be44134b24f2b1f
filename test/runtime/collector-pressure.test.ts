import { setImmediate as nextTurn } from 'node:timers/promises';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import '../../src/defaults.js';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Device } from '../../src/core/device.js';
import type { Reclaimable } from '../../src/core/process-state.js';
import { type DevicePtr, MiB } from '../../src/core/units.js';
import type { Allocation } from '../../src/runtime/allocation.js';
import { CollectorPressure } from '../../src/runtime/collector-pressure.js';
import { HandleWatch } from '../../src/runtime/handle-watch.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { PlainManager, simulatedRuntime } from '../core/fakes.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

beforeAll(() => void compiled(), 120_000);

/** Finalises all that was registered when it is told to. */
class FakeRegistry extends FinalizationRegistry<Reclaimable> {
  #registered: Reclaimable[] = [];

  constructor() {
    super(() => {});
  }

  override register(_: WeakKey, memory: Reclaimable): void {
    this.#registered.push(memory);
  }

  finalise(): void {
    for (const memory of this.#registered.splice(0)) memory.reclaim();
  }
}

describe('CollectorPressure', () => {
  let clock = 1000;

  beforeEach(() => {
    vi.spyOn(performance, 'now').mockImplementation(() => clock);
  });

  afterEach(() => {
    vi.restoreAllMocks();
  });

  const turns = async () => {
    for (let i = 0; i < 6; i++) await nextTurn();
  };

  /** @param find - what a collection finds, in bytes */
  function pressureThat(find: () => number, youngBytes = 0) {
    const registry = new FakeRegistry();
    const pressure = new CollectorPressure({ letGo: () => {}, youngBytes, registry }, () => () => {
      const found = find();
      registry.finalise();
      handles.remove(found);
      pressure.noteDropped(found);
      clock += 10;
    });
    const handles = pressure.handlesOf('host', true);
    /** Adds handles, and lets what they ask for happen. */
    const grow = async (bytes: number) => {
      handles.add(bytes);
      await turns();
    };
    return { pressure, handles, grow };
  }

  test('collects at 32 MiB, and then when there is as much more, or 30 percent', async () => {
    const { pressure, grow } = pressureThat(() => 20 * MiB);
    await grow(32 * MiB - 1);
    expect(pressure.stats).toEqual({ collections: 0, freedBytes: 0, undisposedBytes: 32 * MiB - 1 });
    await grow(1);
    expect(pressure.stats).toEqual({ collections: 1, freedBytes: 20 * MiB, undisposedBytes: 12 * MiB });
    await grow(31 * MiB);
    expect(pressure.stats.collections).toBe(1);
    await grow(1 * MiB);
    expect(pressure.stats.collections).toBe(2);
    await grow(376 * MiB);
    // It found little in proportion, so that a pause follows.
    clock += 490;
    expect(pressure.stats).toMatchObject({ collections: 3, undisposedBytes: 380 * MiB });
    await grow(113 * MiB);
    expect(pressure.stats.collections).toBe(3);
    await grow(2 * MiB);
    expect(pressure.stats.collections).toBe(4);
  });

  test('counts new handles, too, when it asks for one, and when it was refused', async () => {
    const { pressure, grow } = pressureThat(() => 0, 10 * MiB);
    await grow(22 * MiB - 1);
    expect(pressure.stats.collections).toBe(0);
    await grow(1);
    expect(pressure.stats.collections).toBe(1);
    const press = vi.spyOn(pressure, 'press');
    for (const bytes of [22 * MiB, 7 * MiB, 1 * MiB]) await grow(bytes);
    expect(press.mock.results.map(({ value }) => value)).toEqual([false, false]);
    expect(pressure.stats).toEqual({ collections: 1, freedBytes: 0, undisposedBytes: 52 * MiB });
  });

  test('asks for one at a time', async () => {
    const { pressure, handles } = pressureThat(() => 0);
    for (let i = 0; i < 100; i++) handles.add(100 * MiB);
    await turns();
    expect(pressure.stats.collections).toBe(1);
  });

  test('takes what was disposed for no growth', async () => {
    const { pressure, handles, grow } = pressureThat(() => 0);
    await grow(100 * MiB);
    clock += 1000;
    handles.remove(95 * MiB);
    await grow(31 * MiB);
    expect(pressure.stats.collections).toBe(1);
    await grow(1 * MiB);
    expect(pressure.stats.collections).toBe(2);
  });

  test('waits 49 times as long as a collection took that found little', async () => {
    const { pressure, grow } = pressureThat(() => 0);
    await grow(32 * MiB);
    clock += 489;
    await grow(500 * MiB);
    expect(pressure.stats.collections).toBe(1);
    clock += 2;
    await grow(54 * MiB);
    expect(pressure.stats.collections).toBe(2);
  });

  test('makes 600 collections at once, and 600 a minute', async () => {
    const { pressure, handles, grow } = pressureThat(() => 32 * MiB);
    for (let i = 0; i < 700; i++) await grow(32 * MiB);
    // Each took 10 ms, in which the budget gains a tenth of one.
    const { collections } = pressure.stats;
    expect(collections).toBeGreaterThanOrEqual(600);
    expect(collections).toBeLessThan(680);
    clock += 1000;
    handles.remove(100 * 32 * MiB);
    await grow(32 * MiB);
    expect(pressure.stats.collections).toBe(collections + 1);
  });

  test('counts each kind of memory by itself, and none that is off', async () => {
    const { pressure, handles } = pressureThat(() => 0);
    const card = pressure.handlesOf('cuda', true);
    const off = pressure.handlesOf('host', false);
    const others = pressure.handlesOf('host', true);
    handles.add(15 * MiB);
    others.add(15 * MiB);
    card.add(31 * MiB);
    off.add(1000 * MiB);
    await turns();
    expect(pressure.stats).toEqual({ collections: 0, freedBytes: 0, undisposedBytes: 61 * MiB });
    card.add(1 * MiB);
    await turns();
    expect(pressure.stats.collections).toBe(1);
  });

  test('counts each device by itself', async () => {
    const { pressure, handles } = pressureThat(() => 0);
    const cards = pressure.handlesOf('cuda', true);
    const others = pressure.handlesOf('cuda', true);
    handles.add(1 * MiB);
    cards.add(31 * MiB, 0);
    cards.add(20 * MiB, 1);
    others.add(11 * MiB, 1);
    cards.remove(10 * MiB, 0);
    await turns();
    expect(pressure.stats).toEqual({ collections: 0, freedBytes: 0, undisposedBytes: 53 * MiB });
    others.add(1 * MiB, 1);
    await turns();
    expect(pressure.stats.collections).toBe(1);
    cards.close();
    expect(pressure.stats.undisposedBytes).toBe(13 * MiB);
  });

  test('forgets the handles of what was closed', () => {
    const { pressure, handles } = pressureThat(() => 0);
    handles.add(10 * MiB);
    handles.close();
    handles.remove(10 * MiB);
    handles.add(5 * MiB);
    expect(pressure.stats.undisposedBytes).toBe(0);
  });
});

describe('MemoryRuntime', () => {
  describe('collectorStats', () => {
    test('counts old handles until they are disposed, and a block with several owners once', () => {
      const watch = HandleWatch.shared();
      watch.letGo();
      const { runtime } = simulatedRuntime();
      const before = runtime.collectorStats().undisposedBytes;
      const undisposed = () => {
        watch.letGo();
        return runtime.collectorStats().undisposedBytes - before;
      };
      const [block, other] = [runtime.allocate(1000), runtime.allocate(500)];
      expect(undisposed()).toBe(1500);
      const shared = block.share();
      const second = shared.share();
      const third = second.move().share();
      expect(undisposed()).toBe(1500);
      shared.dispose();
      second.dispose();
      expect(undisposed()).toBe(1500);
      third.dispose();
      other.dispose();
      expect(undisposed()).toBe(1000);
      runtime.close();
      expect(undisposed()).toBe(0);
    });

    test('counts a handle of no bytes as of no card, whichever is active when its owners grow old', () => {
      const watch = HandleWatch.shared();
      const { runtime, device } = simulatedRuntime({ deviceCount: 64 });
      const first = runtime.allocate(0).share();
      watch.letGo();
      device.activate(61);
      const second = first.share();
      watch.letGo();
      first.dispose();
      second.dispose();
      expect([first.disposed, second.disposed]).toEqual([true, true]);
      runtime.close();
    });

    test('asks for a collection when the handles of one card have grown, whatever the others hold', async () => {
      let clock = performance.now();
      const now = vi.spyOn(performance, 'now').mockImplementation(() => clock);
      const watch = HandleWatch.shared();
      // Other files of this process may have left handles: on devices that nobody else has there are none.
      const [full, other] = [62, 63];
      watch.letGo();
      const { pressure } = watch;
      const collect = vi.spyOn(pressure, 'collect').mockImplementation(async () => void (clock += 1));
      const { runtime, device } = simulatedRuntime({ deviceCount: 64, capacityBytes: 2000 * MiB });
      const undisposedBefore = runtime.collectorStats().undisposedBytes;
      const held: Allocation[] = [];
      const grow = async (id: number, blocks: number) => {
        for (let i = 0; i < blocks; i++) held.push(runtime.withDevice(id, () => runtime.allocate(20 * MiB)));
        for (let turn = 0; turn < 6; turn++) await nextTurn();
        clock += 1000;
        return collect.mock.calls.length;
      };
      await grow(full, 50);
      const before = collect.mock.calls.length;
      expect([await grow(other, 1), await grow(other, 1)]).toEqual([before, before + 1]);
      // Counted where it lies, not where the program is by then.
      device.activate(other);
      held[0]!.dispose();
      runtime.close();
      expect(runtime.collectorStats().undisposedBytes).toBe(undisposedBefore);
      for (const spy of [now, collect]) spy.mockRestore();
    });

    test('counts what runtimes have of one memory together, once each', () => {
      const watch = HandleWatch.shared();
      watch.letGo();
      const [one, other] = [simulatedRuntime().runtime, simulatedRuntime().runtime];
      const before = one.collectorStats().undisposedBytes;
      const held = [
        one.allocate(1000),
        one.scoped(() => other.allocate(500).move()),
        other.withManager(new PlainManager(), () => one.allocate(250)),
      ];
      watch.letGo();
      for (const runtime of [one, other]) expect(runtime.collectorStats().undisposedBytes - before).toBe(1750);
      for (const block of held) block.dispose();
      for (const runtime of [one, other]) runtime.close();
      expect(one.collectorStats().undisposedBytes).toBe(before);
    });

    test.each<[string, (inner: MemoryRuntime) => Pick<Device, 'nativeAlloc' | 'nativeFree'>]>([
      [
        'from the slot',
        ({ slot }) => ({ nativeAlloc: (bytes) => slot.alloc(bytes, true), nativeFree: (ptr) => slot.unlock(ptr, true) }),
      ],
      ['as handles that are not to be collected', handlesOf],
    ])('counts a block of a runtime once whose device takes its memory from another runtime, %s', (_, natives) => {
      const watch = HandleWatch.shared();
      const inner = new MemoryRuntime(new CpuDevice(), { exitReport: false, collectDropped: false });
      const runtime = new MemoryRuntime(Object.assign(new CpuDevice(), natives(inner)), { exitReport: false });
      watch.letGo();
      const before = runtime.collectorStats().undisposedBytes;
      const block = runtime.allocate(20 * MiB);
      watch.letGo();
      expect(runtime.collectorStats().undisposedBytes - before).toBe(20 * MiB);
      expect(inner.slot.liveBlocks).toBe(1);
      block.dispose();
      expect(runtime.collectorStats().undisposedBytes).toBe(before);
      runtime.close();
      expect(inner.slot.liveBlocks).toBe(0);
      inner.close();
    });
  });
});

/** The native functions of a device that keeps handles of a runtime. */
function handlesOf(inner: MemoryRuntime): Pick<Device, 'nativeAlloc' | 'nativeFree'> {
  const held = new Map<DevicePtr, Allocation>();
  return {
    nativeAlloc: (bytes, alignment = 0) => {
      const block = inner.allocate(bytes, { alignment });
      held.set(block.ptr, block);
      return block.ptr;
    },
    nativeFree: (ptr) => {
      held.get(ptr)!.dispose();
      held.delete(ptr);
    },
  };
}

describe('a program that drops its handles', () => {
  const prelude = () => `
    import { readFileSync } from 'node:fs';
    import * as stowage from '${moduleUrl('src/index.js')}';
    import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
    const BYTES = Math.round(0.46 * 2 ** 20);
    const turn = () => new Promise((done) => setImmediate(done));
    const runtime = new stowage.MemoryRuntime(new CpuDevice(), { exitReport: false });
    async function drop(count, make) {
      for (let i = 0; i < count; i++) {
        make().fill(i & 255);
        await turn();
      }
    }
    const handle = () => runtime.allocate(BYTES).view(Uint8Array);
  `;
  const PEAK = `
    console.log(Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024);
  `;
  const run = (source: string, env = {}) => {
    const { status, stdout, stderr } = runChild(`${prelude()}${source}`, { nodeArguments: ['--no-warnings'], env });
    expect([status, stderr]).toEqual([0, '']);
    return stdout.trim();
  };

  test.runIf(process.platform === 'linux')('peaks at most 1.2 times as high as one that drops Buffers', () => {
    const peak = (make: string) => Number(run(`await drop(4000, ${make}); ${PEAK}`));
    const buffers = peak('() => Buffer.allocUnsafeSlow(BYTES)');
    expect(peak('handle')).toBeLessThan(1.2 * buffers);
  });

  test('has at most 62 MiB of them at once when it drops 7 MiB a turn', () => {
    const source = `
      for (let i = 0; i < 250; i++) {
        for (let n = 0; n < 16; n++) handle();
        await turn();
      }
      console.log(runtime.stats().allocatedBytes.peak / 2 ** 20, runtime.stats().allocatedBytes.total / 2 ** 20);
    `;
    const [peak, total] = run(source).split(' ').map(Number);
    expect(total).toBeGreaterThan(1700);
    expect(peak).toBeLessThan(62);
  });

  test.each([
    ['the option', '{ exitReport: false, collectDropped: false }', {}],
    ['the environment', '{ exitReport: false }', { STOWAGE_COLLECT: '0' }],
  ])('asks for no collection when it is told so by %s', (_, options, env) => {
    const source = `
      const quiet = new stowage.MemoryRuntime(new CpuDevice(), ${options});
      await drop(200, () => quiet.allocate(BYTES).view(Uint8Array));
      console.log(quiet.collectorStats().collections);
    `;
    expect(run(source, env)).toBe('0');
  });

  test.each([['maybe', '2', 'off', ' 0']])(
    'is refused STOWAGE_COLLECT=%j, %j, %j and %j, before a runtime is made',
    (...values) => {
      const source = `
      import { processState } from '${moduleUrl('src/core/process-state.js')}';
      let hosts = 0;
      processState().hostListeners.add(() => hosts++);
      for (const value of ${JSON.stringify(values)}) {
        process.env.STOWAGE_COLLECT = value;
        try {
          new stowage.MemoryRuntime(new CpuDevice());
        } catch (error) {
          console.log(error.code, error.message, hosts);
        }
      }
      new stowage.MemoryRuntime(new CpuDevice(), { exitReport: false, collectDropped: false });
    `;
      const refusals = values.map((value) => `ERR_MEM_INVALID_ARGUMENT STOWAGE_COLLECT is "${value}", but must be 0 or 1 0`);
      expect(run(source).split('\n')).toEqual(refusals);
    },
  );

  test('leaves no gc to contexts and workers that are made later, and counts each worker by itself', () => {
    const source = `
      import { runInNewContext } from 'node:vm';
      import { isMainThread, parentPort, Worker } from 'node:worker_threads';
      await drop(200, handle);
      const { collections, freedBytes } = runtime.collectorStats();
      const code = \`
        import { parentPort } from 'node:worker_threads';
        import * as stowage from '${moduleUrl('src/index.js')}';
        parentPort.postMessage([typeof gc, stowage.defaultRuntime().collectorStats()]);
      \`;
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(code)));
      const [type, stats] = await new Promise((done) => worker.once('message', done));
      console.log(collections > 0, freedBytes > 0, typeof gc, runInNewContext('typeof gc'), type, JSON.stringify(stats));
    `;
    const none = JSON.stringify({ collections: 0, freedBytes: 0, undisposedBytes: 0 });
    expect(run(source)).toBe(`true true undefined undefined undefined ${none}`);
  });

  test('gets one warning that says how to find them', () => {
    const { stderr } = runChild(`${prelude()} await drop(200, handle);`);
    expect(stderr.match(/dropped without dispose/g)).toHaveLength(1);
    expect(stderr).toMatch(
      /\[STOWAGE_DROPPED_HANDLE\] Warning: A memory handle of 471\.04 KiB was dropped .* TrackingMemoryManager/,
    );
  });

  test('tries an allocation again that had no room, once dropped handles are found, however many other things are finalised', () => {
    const source = `
      const registries = () => Array.from({ length: 20 }, () => new FinalizationRegistry(() => {}));
      const before = registries();
      import { SimulatedDevice } from '${moduleUrl('adapters/devices/simulated.js')}';
      const small = new stowage.MemoryRuntime(new SimulatedDevice({ capacityBytes: 100 << 20 }), { exitReport: false });
      const others = [...before, ...registries()];
      (() => {
        for (const registry of others) registry.register({}, 0);
        for (let i = 0; i < 3; i++) small.allocate(10 << 20);
      })();
      const large = await small.allocateAsync(90 << 20);
      console.log(large.bytes, small.slot.liveBlocks);
    `;
    expect(run(source)).toBe(`${90 << 20} 1`);
  });
});
