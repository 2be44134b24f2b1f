import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { CachingMemoryManager, PoolMemoryManager } from '../../../managers/index.js';
import { MemoryBudget } from '../../../src/budget/index.js';
import type { Device } from '../../../src/core/device.js';
import { MemoryManagerDeviceInterface } from '../../../src/core/device-interface.js';
import type { MemoryManagerAdapter } from '../../../src/core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../../../src/core/memory-manager-installer.js';
import { alignUp, type DevicePtr, GiB, MiB } from '../../../src/core/units.js';
import { MemoryRuntime } from '../../../src/runtime/memory-runtime.js';
import type { TraceEvents } from '../../../src/trace/trace-events.js';
import { loadTrace } from '../../../src/trace/trace-reader.js';
import { codeOf } from '../../fixtures/code-of.js';
import { GpuFixture, takeAgain } from '../../fixtures/gpu-fixture.js';

const NAMES = ['resnet', 'gpt_infer', 'sqlite', 'dlrm'] as const;
const PAGE = 2 * MiB;
/** As an H200 has. */
const CARD = 139 * GiB;
/** Each of these calls changes what is mapped, or how much there is. */
const NATIVE = ['MemCreate', 'MemMap', 'MemSetAccess', 'MemUnmap', 'MemRelease', 'Malloc', 'Free'] as const;

const fixture = new GpuFixture('cuda');
const traces = {} as Record<(typeof NAMES)[number], TraceEvents>;

beforeAll(async () => {
  for (const name of NAMES) traces[name] = await loadTrace(`test/traces/${name}.trace.gz`);
});

const nativeCalls = () => Object.fromEntries(NATIVE.map((name) => [name, fixture.callsOf(name)]));

/** A manager on a card, and the runtime that it serves. */
function onCard<M extends MemoryManagerAdapter>(make: (table: MemoryManagerDeviceInterface) => M, capacityBytes = CARD) {
  const device = fixture.fresh({ deviceCount: 1, capacityBytes, pageBytes: PAGE });
  return installed(device, make(new MemoryManagerDeviceInterface()));
}

function installed<M extends MemoryManagerAdapter>(device: Device, manager: M) {
  const runtime = new MemoryRuntime(device, { exitReport: false });
  new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
  return { device, manager, slot: runtime.slot };
}

const pool = (table: MemoryManagerDeviceInterface) => new PoolMemoryManager(1, table);

/** Replays a trace, and frees what it left live. */
function replay(slot: MemoryRuntime['slot'], { slots, bytes, slotCount }: TraceEvents): void {
  const pointers = new Float64Array(slotCount);
  for (let i = 0; i < slots.length; i++) {
    const code = slots[i]!;
    if (code >= 0) pointers[code] = slot.alloc(bytes[i]!, true);
    else slot.unlock(pointers[~code] as DevicePtr, true);
    if (code < 0) pointers[~code] = 0;
  }
  for (const ptr of pointers) if (ptr !== 0) slot.unlock(ptr as DevicePtr, true);
}

describe('PoolMemoryManager on a card', () => {
  test('fills it with blocks of 1 GiB in some hundreds of mappings, and gives all of it back', () => {
    const { device, manager, slot } = onCard(pool);
    const blocks: DevicePtr[] = [];
    for (let i = 0; i < 139; i++) blocks.push(slot.alloc(GiB, true));
    expect(codeOf(() => slot.alloc(GiB, true))).toBe('ERR_MEM_OUT_OF_MEMORY');
    const { MemCreate: made, MemMap: mapped, MemSetAccess: commits } = nativeCalls();
    expect(mapped).toBeLessThanOrEqual(4 * 139);
    // The refusal asked twice.
    expect(made).toBe(mapped! + 2);
    expect(commits).toBeLessThanOrEqual(139);
    expect(fixture.calls).toBeLessThan(2000);
    // Every second one goes; blocks of twice the size come from what is mapped elsewhere, as far as that goes.
    for (let i = 0; i < blocks.length; i += 2) slot.unlock(blocks[i]!, true);
    const twice: DevicePtr[] = [];
    while (codeOf(() => twice.push(slot.alloc(2 * GiB, true))) === 'none');
    expect(twice).toHaveLength(35);
    const remade = fixture.callsOf('MemCreate') - made!;
    expect(remade).toBeLessThan(0.1 * (fixture.callsOf('MemMap') - mapped!));
    manager.checkInvariants();
    for (let i = 1; i < blocks.length; i += 2) slot.unlock(blocks[i]!, true);
    for (const ptr of twice) slot.unlock(ptr, true);
    slot.signalMemoryCleanup();
    expect([device.liveBytes, fixture.used(0), fixture.liveMemories, fixture.liveRanges]).toEqual([0, 0, 0, 0]);
  });

  test.each([
    ['resnet', 50],
    ['gpt_infer', 28],
    ['sqlite', 9],
    ['dlrm', 7],
  ] as const)('maps one piece a commit in the first replay of %s: %d at most, and nothing later', (name, mostPieces) => {
    const { manager, slot } = onCard(pool);
    replay(slot, traces[name]);
    const first = nativeCalls();
    expect(first).toMatchObject({ MemUnmap: 0, MemRelease: 0, Malloc: 0 });
    expect(first.MemCreate).toBeLessThanOrEqual(mostPieces);
    expect([first.MemMap, first.MemSetAccess]).toEqual([first.MemCreate, first.MemCreate]);
    const { calls } = fixture;
    for (let i = 0; i < 2; i++) replay(slot, traces[name]);
    // Of any kind: nothing waits either.
    expect(fixture.calls).toBe(calls);
    manager.checkInvariants();
    const { allocatedBytes, reservedBytes } = manager.stats(0);
    expect(reservedBytes.peak).toBeLessThanOrEqual(alignUp(1.1 * allocatedBytes.peak, PAGE));
    slot.signalMemoryCleanup();
    expect([fixture.used(0), fixture.liveMemories]).toEqual([0, 0]);
  });

  test.each(NAMES)('holds 1.03 times the peak of live bytes of %s, rounded up to a page, when it is asked to', (name) => {
    const { manager, slot } = onCard((table) => new PoolMemoryManager(1, table, { slack: 0.03 }));
    for (let i = 0; i < 3; i++) replay(slot, traces[name]);
    manager.checkInvariants();
    const { allocatedBytes, reservedBytes } = manager.stats(0);
    expect(reservedBytes.peak).toBeLessThanOrEqual(alignUp(1.03 * allocatedBytes.peak, PAGE));
    slot.signalMemoryCleanup();
    expect([fixture.used(0), fixture.liveMemories]).toEqual([0, 0]);
  });

  test('maps fewer pieces than caching makes segments on a trace of large blocks', () => {
    const caching = onCard((table) => new CachingMemoryManager(1, table));
    replay(caching.slot, traces.resnet);
    const segments = fixture.callsOf('Malloc');
    const pages = onCard(pool);
    replay(pages.slot, traces.resnet);
    expect(fixture.callsOf('MemCreate')).toBeLessThan(segments);
  });

  test.each(['before', 'after'])(
    'gets memory within a budget of 2 GiB that it joins %s it has any, while little is live',
    (when) => {
      const { manager, slot, device } = onCard(pool);
      using budget = new MemoryBudget({ limit: 2 * GiB, memory: device, exitReport: false });
      if (when === 'before') budget.add(slot);
      slot.unlock(slot.alloc(300 * MiB, true), true);
      if (when === 'after') budget.add(slot);
      slot.signalMemoryCleanup();
      const blocks = Array.from({ length: 1024 }, () => slot.alloc(MiB, true));
      const kept = blocks.filter((_, i) => i % 32 === 0);
      for (const ptr of blocks) if (!kept.includes(ptr)) slot.unlock(ptr, true);
      kept.push(slot.alloc(1.5 * GiB, true));
      expect([budget.usedBytes, device.liveBytes]).toEqual([fixture.used(0), fixture.used(0)]);
      expect(budget.usedBytes).toBeLessThanOrEqual(2 * GiB);
      manager.checkInvariants();
      for (const ptr of kept) slot.unlock(ptr, true);
      slot.signalMemoryCleanup();
      expect([budget.usedBytes, fixture.used(0), fixture.liveMemories]).toEqual([0, 0, 0]);
    },
  );

  test('gets no piece that ends within its pages from a pool with smaller ones, when a budget has that one give memory back', () => {
    const device = fixture.fresh({ deviceCount: 1, capacityBytes: CARD, pageBytes: PAGE });
    const ofPages = (granularityBytes: number) =>
      installed(device, new PoolMemoryManager(1, new MemoryManagerDeviceInterface(), { granularityBytes, slack: 0 }));
    const [wide, narrow] = [ofPages(3 * PAGE), ofPages(2 * PAGE)];
    using budget = new MemoryBudget({ limit: 20 * PAGE, memory: device, exitReport: false });
    for (const { slot } of [wide, narrow]) budget.add(slot);
    const cached = Array.from({ length: 10 }, () => narrow.slot.alloc(2 * PAGE, true));
    for (const ptr of cached) narrow.slot.unlock(ptr, true);
    wide.slot.unlock(wide.slot.alloc(9 * PAGE, true), true);
    expect(device.liveBytes).toBeLessThanOrEqual(20 * PAGE);
    const live = Array.from({ length: 3 }, () => wide.slot.alloc(3 * PAGE, true));
    wide.slot.unlock(live[1]!, true);
    wide.slot.signalMemoryCleanup();
    wide.manager.checkInvariants();
    live[1] = wide.slot.alloc(3 * PAGE, true);
    for (const ptr of live) device.fill(ptr, 1, 3 * PAGE);
    wide.manager.checkInvariants();
    for (const ptr of live) wide.slot.unlock(ptr, true);
    for (const { slot } of [wide, narrow]) slot.signalMemoryCleanup();
    expect([device.liveBytes, fixture.used(0), fixture.liveMemories]).toEqual([0, 0, 0]);
  });

  test('loses nothing to any n-th native call that fails while it grows, gives back and moves', () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    onTestFinished(() => void vi.restoreAllMocks());
    const SIZES = [40, 3, 90, 7, 130, 20, 200, 1].map((mebibytes) => mebibytes * MiB);
    let n = 1;
    for (; ; n++) {
      const { manager, slot, device } = onCard((table) => new PoolMemoryManager(1, table), 64 * GiB);
      const calls = fixture.calls;
      fixture.failNth(n, 999);
      let live: DevicePtr[] = [];
      for (const bytes of SIZES) live.push(takeAgain(() => slot.alloc(bytes, true)));
      for (const ptr of live.filter((_, i) => i % 2 === 0)) takeAgain(() => slot.unlock(ptr, true));
      live = live.filter((_, i) => i % 2 === 1);
      live.push(takeAgain(() => slot.alloc(400 * MiB, true)));
      manager.checkInvariants();
      expect(manager.stats(0).reservedBytes.current).toBe(device.liveBytes);
      for (const ptr of live) takeAgain(() => slot.unlock(ptr, true));
      takeAgain(() => slot.releaseCached(0, 30 * MiB, 300 * MiB));
      expect(manager.stats(0).reservedBytes.current).toBe(device.liveBytes);
      takeAgain(() => slot.signalMemoryCleanup());
      // What was refused then is given back now.
      takeAgain(() => slot.signalMemoryCleanup());
      const last = takeAgain(() => device.nativeAlloc(64));
      takeAgain(() => device.nativeFree(last));
      manager.checkInvariants();
      expect([n, device.liveBytes, fixture.used(0), fixture.liveMemories]).toEqual([n, 0, 0, 0]);
      if (fixture.calls - calls < n) break;
    }
    expect(n).toBeGreaterThan(60);
  });
});
