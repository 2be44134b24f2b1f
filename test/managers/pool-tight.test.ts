import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { PoolMemoryManager } from '../../managers/pool/pool-memory-manager.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { ManagerSlot } from '../../src/core/manager-slot.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { alignUp, type DevicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { NO_SLOT, type TraceEvents } from '../../src/trace/trace-events.js';
import { loadTrace } from '../../src/trace/trace-reader.js';
import { codeOf } from '../fixtures/code-of.js';

const PAGE = 2 * MiB;
const SLACK = 0.03;
const TRACES = ['resnet', 'gpt_infer', 'sqlite', 'dlrm'];
/** Native calls of each replay after the first one. */
const MOST_CALLS: Readonly<Record<string, number>> = { resnet: 30, gpt_infer: 0, sqlite: 0, dlrm: 0 };
/** Real programs: those of this project, and those that lie beside it where the recordings are, each once. */
const RECORDINGS = new Map(
  [
    ...['../shared/traces', '../shared/snapshots', '../shared/snapshots/pools'],
    ...['test/traces', 'test/trace/snapshots', 'test/whatif/snapshots'],
  ]
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => `${folder}/${name}`))
    .filter((path) => /\.(trace|pickle)\.gz$/.test(path))
    .map((path) => [`${basename(path)} ${statSync(path).size}`, path]),
);

/** A pool that was asked for a slack, on a device with pages that stops for a decommit, and traces that are replayed in it. */
class TightReplay {
  readonly manager: PoolMemoryManager;
  readonly device: SimulatedDevice;
  readonly slot: ManagerSlot;

  constructor(
    pieces: boolean,
    readonly pageBytes = PAGE,
    capacityBytes = 139 * GiB,
  ) {
    const granularityBytes = Math.min(pageBytes, 4 * KiB);
    const virtual = { granularityBytes: pieces ? pageBytes : granularityBytes, decommitStops: true, pieces };
    this.device = new SimulatedDevice({ capacityBytes, virtual });
    const runtime = new MemoryRuntime(this.device, { exitReport: false });
    this.manager = new PoolMemoryManager(1, new MemoryManagerDeviceInterface(), {
      slack: SLACK,
      granularityBytes: pageBytes,
    });
    new MemoryManagerInstaller(this.manager, runtime).setAsMemoryManager();
    this.slot = runtime.slot;
  }

  /** Bytes that may be reserved, by what the option says. */
  get boundBytes(): number {
    return alignUp((1 + SLACK) * this.manager.stats(0).allocatedBytes.peak, this.pageBytes);
  }

  /** Replays a trace, and frees what it left live. @returns how many native calls that took */
  run({ slots, bytes, slotCount }: TraceEvents): number {
    const { slot } = this;
    const { callCount } = this.device;
    const pointers = new Float64Array(slotCount);
    for (let i = 0; i < slots.length; i++) {
      const code = slots[i]!;
      if (code === NO_SLOT) continue;
      if (code >= 0) pointers[code] = slot.alloc(bytes[i]!, true);
      else slot.unlock(pointers[~code] as DevicePtr, true);
      if (code < 0) pointers[~code] = 0;
    }
    for (const ptr of pointers) if (ptr !== 0) slot.unlock(ptr as DevicePtr, true);
    return this.device.callCount - callCount;
  }
}

describe.each(TRACES)('PoolMemoryManager with a slack of 0.03 in small pages, on %s', (name) => {
  let events: TraceEvents;
  beforeAll(async () => {
    events = await loadTrace(`test/traces/${name}.trace.gz`);
  });

  test.each([4, 16, 64])(
    'holds 1.03 times the peak of live bytes, rounded up to a page of %i KiB, in each replay',
    (kibibytes) => {
      const replay = new TightReplay(false, kibibytes * KiB);
      for (let i = 0; i < 4; i++) replay.run(events);
      replay.manager.checkInvariants();
      expect(replay.device.peakBytes).toBeLessThanOrEqual(replay.boundBytes);
    },
  );
});

describe.each([...RECORDINGS.values()])('PoolMemoryManager with a slack of 0.03 in pages of 2 MiB, on %s', (path) => {
  const mostCalls = MOST_CALLS[basename(path, '.trace.gz')];
  let inPages: TightReplay;
  let inPieces: TightReplay;
  /** Native calls of each replay in pieces. */
  const calls: number[] = [];
  beforeAll(async () => {
    const events = await loadTrace(path);
    inPages = new TightReplay(false);
    inPieces = new TightReplay(true);
    for (let i = 0; i < 3; i++) {
      inPages.run(events);
      calls.push(inPieces.run(events));
    }
    if (mostCalls !== undefined) calls.push(inPieces.run(events));
  });

  test('holds 1.03 times the peak of live bytes, rounded up to a page, in each replay, and no more in pieces than in pages', () => {
    for (const { manager, device, boundBytes } of [inPages, inPieces]) {
      manager.checkInvariants();
      expect(device.peakBytes).toBe(manager.stats(0).reservedBytes.peak);
      expect(device.peakBytes).toBeLessThanOrEqual(boundBytes);
    }
    expect(inPieces.device.peakBytes).toBeLessThanOrEqual(inPages.device.peakBytes);
  });

  if (mostCalls !== undefined)
    test(`makes as many native calls in each replay after the second one: at most ${mostCalls}`, () => {
      const [, second, ...others] = calls;
      expect(others).toEqual([second, second]);
      expect(second).toBeLessThanOrEqual(mostCalls);
    });

  test('gives everything back when it is cleaned up', () => {
    for (const { manager, device } of [inPages, inPieces]) {
      manager.signalMemoryCleanup();
      expect(device.liveBytes).toBe(0);
    }
  });
});

describe('PoolMemoryManager with a slack of 0.03 in pages of 2 MiB', () => {
  test('places a block where it touches a page less, though there is room before', () => {
    const { slot, manager } = new TightReplay(true);
    const [first, last] = [slot.alloc(9.5 * PAGE, true), slot.alloc(PAGE / 4, true)];
    expect(last).toBe(first + 9.5 * PAGE);
    slot.unlock(first, true);
    expect(slot.alloc(0.375 * PAGE, true)).toBe(first + 9 * PAGE);
    manager.checkInvariants();
  });

  test('joins what lies before an aligned block with what is free before that', () => {
    const { slot, manager } = new TightReplay(true);
    const [first] = [slot.alloc(9.5 * PAGE, true), slot.alloc(PAGE / 4, true)];
    slot.unlock(first, true);
    // Room for the block and its alignment begins at the fifth page.
    const aligned = slot.alloc(0.375 * PAGE, true, 4 * PAGE);
    expect([aligned % (4 * PAGE), aligned - first]).toEqual([0, 8 * PAGE]);
    manager.checkInvariants();
    expect(slot.alloc(8 * PAGE, true)).toBe(first);
  });

  test('serves from what it has, wherever that is, when the device has no more', () => {
    const { slot, manager, device } = new TightReplay(true, PAGE, 8 * PAGE);
    const blocks = Array.from({ length: 8 }, () => slot.alloc(PAGE, true));
    slot.unlock(blocks[3]!, true);
    slot.unlock(blocks[4]!, true);
    // It would lie at the last page from which it fits; that has memory, as all others.
    expect(slot.alloc(1.5 * PAGE, true)).toBe(blocks[3]);
    expect(codeOf(() => slot.alloc(PAGE, true))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(device.liveBytes).toBe(8 * PAGE);
    manager.checkInvariants();
  });

  test('fills up a piece that is live in part, when the device has fewer pages than the best place takes', () => {
    const { slot, manager, device } = new TightReplay(true, PAGE, 8 * GiB);
    const large = slot.alloc(2 * GiB, true);
    // In the first of the two pages of a piece.
    const last = slot.alloc(PAGE, true);
    slot.unlock(large, true);
    slot.signalMemoryCleanup();
    expect(device.liveBytes).toBe(2 * PAGE);
    device.nativeAlloc(8 * GiB - 4 * PAGE);
    expect(codeOf(() => slot.alloc(4 * PAGE, true))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(slot.alloc(3 * PAGE, true)).toBe(last + PAGE);
    manager.checkInvariants();
  });
});
