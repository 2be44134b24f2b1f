import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { DefaultMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { SeededRandom } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { ALL_KINDS, KINDS, StreamBench, StreamProgram, type StreamStep } from './stream-program.js';

const BYTES = 40 * MiB;
const NO_STREAMS = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53];

/** A program that comes by every operation of streams many times, on a device that is soon full. */
function programOf(seed: number): StreamStep[] {
  const random = new SeededRandom(seed * 7919);
  return Array.from({ length: 90 }, (): StreamStep => {
    const [dice, stream, index] = [random.below(100), random.below(4), random.below(1000)];
    if (dice < 40) return { do: 'alloc', bytes: 1 + random.below(random.pick([4 * KiB, 9 * MiB])), stream, alignment: 0 };
    if (dice < 55) return { do: 'work', index, stream };
    if (dice < 68) return { do: 'record', index, stream };
    if (dice < 92) return { do: 'free', index };
    return dice < 97 ? { do: 'advance', stream, count: 1 + random.below(4) } : { do: 'cleanup' };
  });
}

describe.each(KINDS)('$name', (kind) => {
  test('refuses what is no stream, and changes nothing', () => {
    const { manager } = new StreamBench(kind);
    const ptr = manager.allocBytes(BYTES, true);
    const before = manager.stats();
    for (const stream of NO_STREAMS) {
      expect(codeOf(() => manager.allocBytes(1, true, 0, stream))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => manager.recordStream(ptr, stream))).toBe('ERR_MEM_INVALID_ARGUMENT');
    }
    for (const pointer of [0, 1, ptr + 512, 2 ** 50] as DevicePtr[]) {
      expect(codeOf(() => manager.recordStream(pointer, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
    }
    expect(manager.stats()).toEqual(before);
    manager.unlock(ptr, true);
    expect(codeOf(() => manager.recordStream(ptr, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
    manager.checkInvariants();
  });

  test('refuses every stream but 0 on a device without streams, which it serves', () => {
    const device = new SimulatedDevice({ virtual: kind.virtual });
    const runtime = new MemoryRuntime(device, { exitReport: false });
    const manager = kind.make(new MemoryManagerDeviceInterface());
    runtime.slot.install(manager);
    const ptr = runtime.slot.alloc(BYTES, true, 0, 0);
    for (const stream of [1, -1]) {
      expect(codeOf(() => runtime.slot.alloc(BYTES, true, 0, stream))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
      expect(codeOf(() => runtime.slot.recordStream(ptr, stream))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
    }
    runtime.slot.unlock(ptr, true);
    runtime.slot.signalMemoryCleanup();
    expect(device.liveBytes).toBe(0);
    manager.checkInvariants();
    runtime.close();
  });

  describe('a failing event', () => {
    test.each([0, 1])('leaves a block live that has recorded streams when event %i cannot be recorded', (failing) => {
      const it = new StreamBench(kind);
      const ptr = it.alloc(BYTES);
      for (const stream of [1, 2]) it.manager.recordStream(ptr, stream);
      it.work(ptr, 1);
      const before = it.manager.stats();
      it.failWhen = (name, index) => name === 'record' && index === failing;
      expect(() => it.free(ptr)).toThrow('record fails');
      it.failWhen = undefined;
      expect([it.manager.allocated(ptr) >= BYTES, it.streams.liveEvents]).toEqual([true, 0]);
      expect(it.manager.stats()).toEqual(before);
      it.manager.checkInvariants();
      it.free(ptr);
      expect(it.alloc(BYTES)).not.toBe(ptr);
      it.streams.advance(1);
      expect(it.alloc(BYTES)).toBe(ptr);
    });

    test.each(['record', 'query', 'synchronize'] as const)('loses no block when %s fails in an allocation', (failing) => {
      const it = new StreamBench(kind, 100 * MiB);
      const freed = [it.useOnce(BYTES, 1), it.useOnce(BYTES, 2)];
      const before = it.manager.stats();
      it.failWhen = (name) => name === failing;
      expect(() => it.alloc(BYTES, 3)).toThrow(`${failing} fails`);
      it.failWhen = undefined;
      const { requestedBytes, allocatedBytes, activeBytes, blocks } = before;
      expect(it.manager.stats()).toMatchObject({ requestedBytes, allocatedBytes, activeBytes, blocks });
      it.manager.checkInvariants();
      expect(freed).toContain(it.alloc(BYTES, 3));
      expect(freed).toContain(it.alloc(BYTES, 4));
    });

    test('leaves a block to stream 0 when the first allocation of another stream fails', () => {
      const it = new StreamBench(kind);
      const [first, second] = [it.alloc(MiB / 4), it.alloc(MiB / 4)];
      it.work(first, 0);
      it.free(first);
      it.failWhen = (name) => name === 'record';
      expect(() => it.alloc(BYTES, 1)).toThrow('record fails');
      it.failWhen = undefined;
      it.manager.signalMemoryCleanup();
      it.useOnce(MiB / 4, 0);
      for (let i = 0; i < 4; i++) it.alloc(MiB / 4, 1);
      it.manager.checkInvariants();
      it.free(second);
    });
  });

  describe('in a slot', () => {
    const seated = () => {
      const device = new SimulatedDevice({ streams: true, virtual: kind.virtual, capacityBytes: 100 * MiB });
      const runtime = new MemoryRuntime(device, { exitReport: false });
      const manager = kind.make(new MemoryManagerDeviceInterface());
      runtime.slot.install(manager);
      return { device, streams: device.streams!, runtime, manager, slot: runtime.slot };
    };

    test('serves streams of alloc, recordStream and runtime handles in order', () => {
      const { runtime, slot, streams } = seated();
      const first = slot.alloc(BYTES, true, 0, 1);
      slot.recordStream(first, 2);
      streams.submit(2);
      slot.unlock(first, true);
      const second = runtime.allocate(BYTES, { stream: 1 });
      expect(second.ptr).not.toBe(first);
      expect(slot.alloc(BYTES, true, 0, 1)).toBe(first);
      expect(streams.pending(2)).toBe(0);
      const { ptr } = second;
      second.dispose();
      expect(runtime.allocate(BYTES, { stream: 1 }).ptr).toBe(ptr);
      runtime.close();
    });

    test('gives everything back when a manager is replaced with work pending, at once or with its last block', () => {
      const { device, streams, slot, manager, runtime } = seated();
      const live = slot.alloc(BYTES, true, 0, 1);
      const freed = slot.alloc(BYTES, true, 0, 2);
      streams.submit(2);
      slot.unlock(freed, true);
      slot.install(new DefaultMemoryManager(1, new MemoryManagerDeviceInterface()));
      expect([streams.pending(2), manager.lifecycle.state, device.liveBytes]).toEqual([0, 'draining', BYTES]);
      slot.recordStream(live, 3);
      streams.submit(3);
      slot.unlock(live, true);
      expect([streams.pending(3), manager.lifecycle.state]).toEqual([0, 'stopped']);
      expect([device.liveBytes, streams.liveEvents]).toEqual([0, 0]);
      expect(codeOf(() => slot.alloc(BYTES, true, 0, 1))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
      runtime.close();
    });

    test('gives everything back when the runtime is closed with work pending', () => {
      const { device, streams, slot, runtime } = seated();
      for (const stream of [0, 1, 2]) {
        const block = slot.alloc(MiB, true, 0, stream);
        slot.recordStream(block, 3);
        streams.submit(3);
        if (stream > 0) slot.unlock(block, true);
      }
      runtime.close();
      expect([device.liveBytes, streams.liveEvents]).toEqual([0, 0]);
    });
  });
});

test.each(ALL_KINDS)('$name changes nothing for who holds blocks, whichever call fails', (kind) => {
  const failed = new Set<string>();
  for (let failing = 0; failing < 50; failing++) {
    const it = new StreamBench(kind, 40 * MiB);
    const program = new StreamProgram(it);
    it.failWhen = (name, index) => index === failing && name !== 'destroy';
    for (const step of programOf(3)) {
      try {
        program.perform(step);
      } catch (error) {
        const [, name] = /^(record|query|synchronize) fails$/.exec((error as Error).message) ?? [];
        if (name === undefined) throw error;
        failed.add(name);
      }
      program.check();
    }
    it.failWhen = undefined;
    program.finish();
  }
  expect([...failed].sort()).toEqual(['query', 'record', 'synchronize']);
});

test.each(ALL_KINDS)('$name keeps every block where calls of streams come back with others', (kind) => {
  for (let seed = 1; seed <= 15; seed++) {
    const it = new StreamBench(kind, 40 * MiB);
    const [program, inner] = [new StreamProgram(it), new StreamProgram(it)];
    const steps = programOf(100 + seed);
    let isInside = false;
    it.failWhen = () => {
      const step = isInside ? undefined : steps.pop();
      if (step === undefined) return false;
      isInside = true;
      inner.perform(step);
      isInside = false;
      return false;
    };
    // Only where no native call comes back is an out of memory checked.
    it.inside = () => {};
    for (const step of programOf(seed)) {
      program.perform(step);
      it.manager.checkInvariants();
    }
    it.failWhen = undefined;
    while (inner.held.length > 0) inner.perform({ do: 'free', index: 0 });
    program.finish();
  }
});
