import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { ArenaMemoryManager } from '../../managers/index.js';
import { processState } from '../../src/core/process-state.js';
import { type Allocation, type Device, MemoryManagerDeviceInterface, MemoryRuntime, MiB } from '../../src/index.js';
import { memoryError, PlainManager } from '../core/fakes.js';
import { HiddenDevice } from './hidden-device.js';

const open: MemoryRuntime[] = [];

function runtimeOver(device: Device): MemoryRuntime {
  const runtime = new MemoryRuntime(device, { exitReport: false });
  open.push(runtime);
  return runtime;
}
const cpu = () => runtimeOver(new CpuDevice());
const simulated = () => runtimeOver(new SimulatedDevice({ streams: true }));

afterEach(() => {
  for (const runtime of open.splice(0)) runtime.close();
});

const contentOf = (block: Allocation) => [...new Uint8Array(block.toBuffer())];

describe('Allocation', () => {
  describe('slice', () => {
    test('is a handle of the part: address, bytes, views, copies and fills are its own', () => {
      const block = cpu().allocate(100, { zero: true });
      const part = block.slice(10, 20);
      expect([part.ptr - block.ptr, part.bytes, part.device, part.disposed]).toEqual([10, 20, block.device, false]);
      part.fill(7);
      part.view(Uint8Array, 19)[0] = 8;
      part.copyFrom(Uint8Array.of(1, 2), { offsetBytes: 1 });
      expect(contentOf(block).slice(8, 32)).toEqual([0, 0, 7, 1, 2, ...new Array(16).fill(7), 8, 0, 0]);
      expect(part.view()).toHaveLength(20);
      expect(part.view()).toBe(part.view());
      expect(contentOf(part.slice(1, 3).slice(1))).toEqual([2, 7]);
      expect([block.slice().bytes, block.slice(90).bytes, part.slice(20).bytes]).toEqual([100, 10, 0]);
    });

    test('copies to itself from where it overlaps the block, also where the host cannot see it', () => {
      const block = runtimeOver(new HiddenDevice()).allocate(8);
      block.copyFrom(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7));
      block.slice(2, 4).copyFrom(block);
      expect(contentOf(block)).toEqual([0, 1, 0, 1, 2, 3, 6, 7]);
    });

    test.each([
      [101, undefined],
      [-1, undefined],
      [90, 11],
      [0.5, 1],
      [0, Number.NaN],
    ])('refuses an offset of %d with %d bytes, and the block has no further owner', (offsetBytes, bytes) => {
      const runtime = simulated();
      const block = runtime.allocate(100);
      expect(() => block.slice(offsetBytes, bytes)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE', { blockBytes: 100 }));
      block.dispose();
      expect(runtime.slot.liveBlocks).toBe(0);
    });

    test.each([
      ['the block first', [0, 1, 2]],
      ['the block last', [1, 2, 0]],
      ['the block between', [2, 0, 1]],
    ])('keeps the block until the last of all handles is disposed of: %s', (_, order) => {
      const runtime = simulated();
      const onFreed = vi.fn();
      const block = runtime.allocate(100, { onFreed });
      const handles = [block, block.slice(0, 10), block.slice(50)];
      for (const i of order) {
        expect([runtime.slot.liveBlocks, onFreed.mock.calls.length]).toEqual([1, 0]);
        handles[i]!.dispose();
        handles[i]!.dispose();
        expect(() => handles[i]!.slice()).toThrow(memoryError('ERR_MEM_DISPOSED'));
        expect(() => handles[i]!.ptr).toThrow(memoryError('ERR_MEM_DISPOSED'));
      }
      expect([runtime.slot.liveBlocks, onFreed.mock.calls.length]).toEqual([0, 1]);
    });

    test('outlives a block that is moved or shared, and is moved and shared itself', () => {
      const runtime = simulated();
      const block = runtime.allocate(100);
      const part = block.slice(10, 20);
      const shared = block.move().share();
      expect(shared.owners).toBe(2);
      const moved = part.move();
      expect([moved.ptr - shared.ptr, moved.bytes, part.disposed]).toEqual([10, 20, true]);
      const several = moved.share();
      const other = several.share();
      expect([several.owners, other.ptr]).toEqual([3, several.ptr]);
      for (const handle of [shared, several, other]) handle.dispose();
      expect(runtime.slot.liveBlocks).toBe(0);
    });

    test("is the scope's that is open, whoever allocated the block, and leaves it by move", () => {
      const runtime = simulated();
      const outside = runtime.allocate(100);
      const [inside, left, escaped] = runtime.scoped(() => {
        const block = runtime.allocate(100);
        return [block.slice(1), outside.slice(1), block.slice(2).move()] as const;
      });
      expect([inside.disposed, left.disposed, escaped.disposed, runtime.slot.liveBlocks]).toEqual([true, true, false, 2]);
      escaped.dispose();
      outside.dispose();
      expect(runtime.slot.liveBlocks).toBe(0);
    });

    test('leaves both handles whole when the block cannot be given back', () => {
      const device = new SimulatedDevice();
      const runtime = runtimeOver(device);
      runtime.slot.install(new PlainManager());
      const block = runtime.allocate(100);
      const part = block.slice(50);
      block.dispose();
      device.failWhen(() => new Error('the driver is gone'));
      expect(() => part.dispose()).toThrow('the driver is gone');
      expect(part.disposed).toBe(false);
      device.failWhen(undefined);
      part.dispose();
      expect(device.liveBytes).toBe(0);
    });

    test('ends with the block: at close, and when an arena is reset', () => {
      const runtime = simulated();
      const arena = new ArenaMemoryManager(1, new MemoryManagerDeviceInterface());
      runtime.slot.install(arena);
      const [block, other] = [runtime.allocate(100), runtime.allocate(100)];
      const parts = [block.slice(50), other.slice(50)];
      arena.reset();
      const next = runtime.allocate(100);
      expect(parts.map((part) => part.disposed)).toEqual([true, true]);
      for (const handle of [...parts, block, other]) handle.dispose();
      const part = next.slice(1);
      expect(next.disposed).toBe(false);
      runtime.close();
      expect([next.disposed, part.disposed]).toEqual([true, true]);
    });

    test('marks a stream for the whole block', () => {
      const runtime = simulated();
      const device = runtime.device as SimulatedDevice;
      const stream = device.createStream();
      const block = runtime.allocate(1 * MiB);
      const { ptr } = block;
      using none = block.slice(512, 0);
      none.recordStream(stream);
      device.streams!.submit(stream.id, () => {});
      none.dispose();
      block.dispose();
      expect(runtime.allocate(1 * MiB).ptr).not.toBe(ptr);
    });

    test.each(['young', 'old'])('is noticed when it is dropped, and the block is one leak: the block is %s', (age) => {
      const letGo = () => processState().handleWatch?.letGo();
      letGo();
      const register = vi.spyOn(processState().droppedHandles, 'register');
      const runtime = simulated();
      const leaks: unknown[] = [];
      runtime.events.on('leak', (event) => leaks.push(event));
      const before = runtime.collectorStats().undisposedBytes;
      const undisposed = () => runtime.collectorStats().undisposedBytes - before;
      const block = runtime.allocate(1000);
      if (age === 'old') letGo();
      const { ptr } = block;
      const parts = [block.slice(100, 10), block.slice(500)];
      letGo();
      expect(undisposed()).toBe(1000);
      const dropped = new Map(register.mock.calls.map(([handle, owned]) => [handle, owned]));
      register.mockRestore();
      for (const handle of [block, ...parts]) {
        expect([leaks.length, runtime.slot.liveBlocks]).toEqual([0, 1]);
        dropped.get(handle)!.reclaim();
      }
      expect(leaks).toEqual([{ slot: 'ordinary', ptr, bytes: 1000, site: undefined }]);
      expect([undisposed(), runtime.slot.liveBlocks]).toEqual([0, 0]);
    });

    test('is freed by the collector, with a block that was disposed of before', async () => {
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      const runtime = simulated();
      (() => {
        const block = runtime.allocate(1000);
        block.slice(10);
        block.dispose();
      })();
      await vi.waitFor(
        () => {
          processState().handleWatch?.letGo();
          collect();
          expect(runtime.slot.liveBlocks).toBe(0);
        },
        { timeout: 20_000 },
      );
    });
  });
});
