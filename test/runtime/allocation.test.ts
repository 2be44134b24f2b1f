import { describe, expect, test } from 'vitest';
import { type Allocation, type BlockHandle, MemoryManagerInstaller } from '../../src/index.js';
import { memoryError, PlainManager } from '../core/fakes.js';
import { openRuntimes } from './open-runtimes.js';

const { simulated } = openRuntimes();

describe('Allocation', () => {
  describe('dispose', () => {
    test('gives the block back once', () => {
      const { runtime } = simulated();
      const block = runtime.allocate(100);
      const other = runtime.allocate(100);
      block.dispose();
      block.dispose();
      block[Symbol.dispose]();
      expect(runtime.slot.liveBlocks).toBe(1);
      expect(other.disposed).toBe(false);
    });

    test('leaves the handle whole when the block cannot be given back', () => {
      const { device, runtime } = simulated();
      new MemoryManagerInstaller(new PlainManager(), runtime).setAsMemoryManager();
      const block = runtime.allocate(100);
      device.failWhen(() => new Error('the driver is gone'));
      expect(() => block.dispose()).toThrow('the driver is gone');
      expect(block.disposed).toBe(false);
      device.failWhen(undefined);
      block.dispose();
      expect(device.liveBytes).toBe(0);
    });

    test.each([
      ['a unique handle', (block: Allocation) => block],
      ['a shared one', (block: Allocation) => block.share()],
    ])('empties %s before onFreed, also where that throws', (_, kind) => {
      const { runtime } = simulated();
      let seen: unknown;
      const handle: BlockHandle = kind(
        runtime.allocate(100, {
          onFreed: () => {
            seen = [handle.disposed, runtime.slot.liveBlocks];
            handle.dispose();
            throw new Error("the program's fault");
          },
        }),
      );
      expect(() => handle.dispose()).toThrow("the program's fault");
      expect(seen).toEqual([true, 0]);
      const next = runtime.allocate(100);
      expect(() => handle.ptr).toThrow(memoryError('ERR_MEM_DISPOSED'));
      handle.dispose();
      expect([next.disposed, runtime.slot.liveBlocks]).toEqual([false, 1]);
    });

    test('frees once when a native free calls back', () => {
      const { device, runtime } = simulated();
      new MemoryManagerInstaller(new PlainManager(), runtime).setAsMemoryManager();
      const block = runtime.allocate(100);
      device.failWhen(() => {
        block.dispose();
        return false;
      });
      block.dispose();
      expect([device.liveBytes, block.disposed]).toEqual([0, true]);
    });

    test.each(['ptr', 'bytes'] as const)('makes %s throw', (property) => {
      const block = simulated().runtime.allocate(100);
      block.dispose();
      expect(() => block[property]).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'allocation' }));
    });

    test('makes every method throw', () => {
      const { runtime } = simulated();
      const [block, other] = [runtime.allocate(100), runtime.allocate(100)];
      block.dispose();
      const calls = [
        () => block.view(Uint8Array),
        () => block.fill(0),
        () => block.copyFrom(other),
        () => other.copyFrom(block),
        () => block.copyTo(new Uint8Array(1)),
        () => other.copyTo(block),
        () => block.toBuffer(),
        () => block.move(),
        () => block.share(),
      ];
      for (const call of calls) expect(call, call.toString()).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'allocation' }));
      expect(other.disposed).toBe(false);
    });

    test('reaches a manager that was replaced', () => {
      const { runtime } = simulated();
      const block = runtime.allocate(100);
      const manager = runtime.slot.active;
      MemoryManagerInstaller.installDefaultMemoryManager(runtime);
      block.dispose();
      expect(manager?.lifecycle.state).toBe('stopped');
    });
  });

  describe('move', () => {
    test('passes the block on and leaves the handle empty', () => {
      const { runtime } = simulated();
      const block = runtime.allocate(100);
      const { ptr } = block;
      const moved = block.move();
      expect([moved.ptr, moved.bytes, block.disposed]).toEqual([ptr, 100, true]);
      block.dispose();
      expect(runtime.slot.liveBlocks).toBe(1);
      expect(() => block.move()).toThrow(memoryError('ERR_MEM_DISPOSED', { moved: true }));
      expect(() => block.ptr).toThrow('this allocation was moved: another handle has its block');
      moved.dispose();
      expect(() => moved.ptr).toThrow('this allocation was disposed');
      expect(runtime.slot.liveBlocks).toBe(0);
    });
  });
});
