import { describe, expect, test, vi } from 'vitest';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { installed, memoryError, PlainManager, simulatedRuntime, TextSink } from './fakes.js';

const FIRST = 2 ** 32;

/** Gets and gives back native memory in each unlock, before it looks at the pointer. */
class ChattyManager extends PlainManager {
  override unlock(ptr: DevicePtr, userUnlock: boolean): void {
    this.deviceInterface.nativeFree(this.deviceInterface.nativeAlloc(64));
    super.unlock(ptr, userUnlock);
  }
}

/** A short program through installer and slot that makes every call. */
function program(flushInterval: number): { sink: TextSink; end: () => void } {
  const { runtime } = simulatedRuntime({ capacityBytes: 4096 });
  const sink = new TextSink();
  const manager = new PlainManager(undefined, sink);
  manager.setLogFlushInterval(flushInterval);
  installed(manager, runtime);
  const { slot } = runtime;
  const first = slot.alloc(1000, true);
  const second = slot.alloc(24, false, 64);
  slot.alloc(0, true);
  expect(() => slot.alloc(5000, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
  slot.allocated(first);
  slot.userLock(second);
  slot.isUserLocked(second);
  slot.unlock(second, false);
  slot.userUnlock(second);
  slot.unlock(NULL_PTR, true);
  expect(() => slot.unlock(7 as DevicePtr, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
  slot.signalMemoryCleanup();
  // The refused unlock above and these are not logged.
  slot.printInfo('report', 0, new TextSink());
  slot.getMemoryPressure();
  slot.jitTreeExceedsMemoryPressure(1);
  slot.addMemoryManagement(1);
  slot.removeMemoryManagement(1);
  slot.getMemStepSize();
  manager.log('checkpoint', 3);
  slot.unlock(first, true);
  return { sink, end: () => runtime.close() };
}

const LINES = [
  'initialize ',
  `nativeAlloc 1000 ${FIRST} `,
  `alloc 1000 1 ${FIRST} `,
  `nativeAlloc 24 ${FIRST + 1024} `,
  `alloc 24 0 ${FIRST + 1024} `,
  'alloc 0 1 0 ',
  'alloc 5000 1 0 ',
  `allocated ${FIRST} `,
  `userLock ${FIRST + 1024} `,
  `isUserLocked ${FIRST + 1024} `,
  `unlock ${FIRST + 1024} 0 `,
  `userUnlock ${FIRST + 1024} `,
  `nativeFree ${FIRST + 1024} `,
  'unlock 0 1 ',
  'signalMemoryCleanup ',
  'checkpoint 3 ',
  `unlock ${FIRST} 1 `,
  `nativeFree ${FIRST} `,
  'shutdown ',
];

describe('ManagerSlot', () => {
  describe('logging', () => {
    test.each([2, 50])('writes each call, to the byte, with a flush interval of %i', (flushInterval) => {
      const { sink, end } = program(flushInterval);
      expect(sink.chunks).toHaveLength(flushInterval === 2 ? 9 : 0);
      end();
      expect(sink.text).toBe(LINES.map((line) => `${line}\n`).join(''));
    });

    test('writes nothing when it is off', () => {
      const { runtime } = simulatedRuntime();
      const sink = new TextSink();
      const manager = new PlainManager();
      manager.setLogStream(sink);
      installed(manager, runtime);
      runtime.slot.unlock(runtime.slot.alloc(1, true), true);
      runtime.close();
      expect(sink.text).toBe('');
    });

    test.each([2, 3, 50])(
      'leaves no line of a refused unlock that logs lines of its own, with a flush interval of %i',
      (flushInterval) => {
        const { runtime } = simulatedRuntime();
        const sink = new TextSink();
        const manager = new ChattyManager(undefined, sink);
        manager.setLogFlushInterval(flushInterval);
        installed(manager, runtime);
        const { slot } = runtime;
        const ptr = slot.alloc(10, true);
        expect(() => slot.unlock(7 as DevicePtr, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        expect(() => slot.userUnlock(7 as DevicePtr)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        slot.unlock(ptr, true);
        expect(() => slot.unlock(ptr, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        runtime.close();
        expect(sink.lines).toEqual([
          'initialize ',
          `nativeAlloc 10 ${FIRST} `,
          `alloc 10 1 ${FIRST} `,
          'nativeAlloc 64 4294967306 ',
          'nativeFree 4294967306 ',
          'nativeAlloc 64 4294967370 ',
          'nativeFree 4294967370 ',
          `unlock ${FIRST} 1 `,
          'nativeAlloc 64 4294967434 ',
          'nativeFree 4294967434 ',
          `nativeFree ${FIRST} `,
          'nativeAlloc 64 4294967498 ',
          'nativeFree 4294967498 ',
          'shutdown ',
        ]);
      },
    );

    test('keeps the line of an unlock that the device fails', () => {
      const { device, runtime } = simulatedRuntime();
      const sink = new TextSink();
      installed(new PlainManager(undefined, sink), runtime);
      const ptr = runtime.slot.alloc(10, true);
      const failure = new Error('the device is gone');
      device.failWhen(({ name }) => (name === 'nativeFree' ? failure : false));
      expect(() => runtime.slot.unlock(ptr, true)).toThrow(failure);
      device.failWhen(undefined);
      runtime.close();
      expect(sink.lines.filter((line) => line.startsWith('unlock'))).toEqual([`unlock ${FIRST} 1 `]);
    });

    test('can be turned on and off while the manager serves', () => {
      const { runtime } = simulatedRuntime();
      const sink = new TextSink();
      const manager = installed(new PlainManager(), runtime);
      const ptr = runtime.slot.alloc(1, true);
      manager.setLogStream(sink);
      manager.setLoggingEnabled(true);
      runtime.slot.allocated(ptr);
      manager.setLoggingEnabled(false);
      runtime.slot.unlock(ptr, true);
      expect(sink.lines).toEqual([`allocated ${FIRST} `]);
    });

    test('keeps the order of managers that share a sink across a swap', () => {
      const { runtime } = simulatedRuntime();
      const sink = new TextSink();
      installed(new PlainManager(undefined, sink), runtime);
      const ptr = runtime.slot.alloc(10, true);
      installed(new PlainManager(undefined, sink), runtime);
      const other = runtime.slot.alloc(20, false);
      runtime.slot.unlock(ptr, true);
      runtime.slot.unlock(other, false);
      runtime.close();
      expect(sink.lines).toEqual([
        'initialize ',
        `nativeAlloc 10 ${FIRST} `,
        `alloc 10 1 ${FIRST} `,
        'initialize ',
        `nativeAlloc 20 ${FIRST + 10} `,
        `alloc 20 0 ${FIRST + 10} `,
        `unlock ${FIRST} 1 `,
        `nativeFree ${FIRST} `,
        'shutdown ',
        `unlock ${FIRST + 10} 0 `,
        `nativeFree ${FIRST + 10} `,
        'shutdown ',
      ]);
    });

    test('allocates though the sink throws, and warns once', () => {
      const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const { runtime } = simulatedRuntime();
      const manager = new PlainManager(undefined, {
        write: () => {
          throw new Error('no space left on device');
        },
      });
      manager.setLogFlushInterval(2);
      installed(manager, runtime);
      const ptrs = [1, 2, 3].map((bytes) => runtime.slot.alloc(bytes, true));
      for (const ptr of ptrs) runtime.slot.unlock(ptr, true);
      expect(warnings).toHaveBeenCalledTimes(1);
      expect(manager.callLog.enabled).toBe(false);
      expect(runtime.slot.nativeFrees).toBe(3);
      warnings.mockRestore();
    });
  });
});
