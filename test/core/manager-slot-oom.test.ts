import { afterEach, describe, expect, test, vi } from 'vitest';
import { DefaultMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { OutOfMemoryEvent } from '../../src/core/events.js';
import { processState } from '../../src/core/process-state.js';
import { type DevicePtr, MiB, NULL_PTR } from '../../src/core/units.js';
import { installed, memoryError, PlainManager, simulatedRuntime, TextSink } from './fakes.js';

const keeping = () => new DefaultMemoryManager(1, new MemoryManagerDeviceInterface());

/** Answers null when its device is full, as a manager written in C would. */
class NullManager extends PlainManager {
  override allocBytes(bytes: number, userLock: boolean, alignment = 0): DevicePtr {
    try {
      return super.allocBytes(bytes, userLock, alignment);
    } catch {
      return NULL_PTR;
    }
  }
}

function limited(manager = keeping()) {
  const { device, runtime } = simulatedRuntime({ capacityBytes: 10 * MiB });
  installed(manager, runtime);
  const steps: string[] = [];
  device.failWhen(({ name, bytes }) => {
    steps.push(`${name} ${bytes / MiB}`);
    return false;
  });
  return { device, runtime, slot: runtime.slot, steps, manager };
}

describe('ManagerSlot', () => {
  describe('alloc when the device is full', () => {
    test('makes no native call for a block that the manager keeps', () => {
      const { slot, steps } = limited();
      slot.unlock(slot.alloc(8 * MiB, true), true);
      steps.length = 0;
      slot.alloc(8 * MiB, true);
      expect(steps).toEqual([]);
    });

    test('tries once more after the manager has given back what it kept', () => {
      const { slot, steps } = limited();
      slot.unlock(slot.alloc(8 * MiB, true), true);
      steps.length = 0;
      slot.alloc(4 * MiB, true);
      expect(steps).toEqual(['nativeAlloc 4', 'nativeFree 8', 'nativeAlloc 4']);
    });

    test('makes every other manager give back what it keeps, then tries once more', () => {
      const { slot, runtime, steps, manager } = limited();
      const held = slot.alloc(MiB, true);
      slot.alloc(MiB, true);
      slot.alloc(MiB, true);
      installed(keeping(), runtime);
      // The draining manager keeps memory again when its live blocks are no power of two.
      const kept = manager.allocBytes(7 * MiB, true);
      manager.unlock(kept, true);
      steps.length = 0;
      const ptr = slot.alloc(4 * MiB, true);
      expect(steps).toEqual(['nativeAlloc 4', 'nativeAlloc 4', 'nativeFree 7', 'nativeAlloc 4']);
      for (const live of [held, ptr]) slot.unlock(live, true);
    });

    test('asks listeners last, tries once more when one has freed, and then twice in a manager', () => {
      const { slot, runtime, steps, manager } = limited();
      const held = slot.alloc(8 * MiB, true);
      const events: OutOfMemoryEvent[] = [];
      runtime.events.on('oom', (event) => {
        events.push(event);
        steps.push('listener');
        slot.unlock(held, true);
      });
      steps.length = 0;
      slot.alloc(4 * MiB, true);
      expect(events).toEqual([{ slot: 'ordinary', manager, requestedBytes: 4 * MiB, device: 0 }]);
      const inManager = ['nativeAlloc 4', 'nativeAlloc 4'];
      expect(steps).toEqual([...inManager, 'listener', 'nativeAlloc 4', 'nativeFree 8', 'nativeAlloc 4']);
      expect(slot.liveBlocks).toBe(1);
    });

    describe('and the C library keeps memory free', () => {
      const { trimNativeHeap } = processState();
      afterEach(() => {
        processState().trimNativeHeap = trimNativeHeap;
      });

      test("has it give that back before listeners are asked, for this machine's memory alone", () => {
        const { device, runtime } = simulatedRuntime({ capacityBytes: 10 * MiB });
        installed(new PlainManager(), runtime);
        const steps: string[] = [];
        let isFull = true;
        processState().trimNativeHeap = () => {
          steps.push('trim');
          isFull = false;
          return 8 * MiB;
        };
        runtime.events.on('oom', () => void steps.push('listener'));
        device.failWhen(() => isFull);
        expect(() => runtime.slot.alloc(4 * MiB, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
        expect(steps).toEqual(['listener']);
        steps.length = 0;
        runtime.pinnedSlot.unlock(runtime.pinnedSlot.alloc(4 * MiB, true), true);
        expect(steps).toEqual(['trim']);
      });

      test('asks listeners when that was less than what is wanted, or failed', () => {
        const { device, runtime } = simulatedRuntime({ capacityBytes: 10 * MiB });
        const listener = vi.fn();
        const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
        runtime.events.on('oom', listener);
        device.failWhen(() => true);
        for (const trim of [
          () => MiB,
          () => {
            throw new Error('no malloc_trim');
          },
        ]) {
          processState().trimNativeHeap = trim;
          expect(() => runtime.pinnedSlot.alloc(4 * MiB, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
        }
        expect(listener).toHaveBeenCalledTimes(2);
        expect(warning).toHaveBeenCalledTimes(1);
        warning.mockRestore();
      });
    });

    test('serves from the manager that a listener installed', () => {
      const { slot, runtime, manager } = limited();
      const held = slot.alloc(8 * MiB, true);
      let next: PlainManager | undefined;
      runtime.events.on('oom', () => {
        slot.unlock(held, true);
        next = installed(new PlainManager(), runtime);
      });
      const ptr = slot.alloc(4 * MiB, true);
      expect(manager.lifecycle.state).toBe('stopped');
      expect(next?.allocated(ptr)).toBe(4 * MiB);
      slot.unlock(ptr, true);
      expect(runtime.device).toMatchObject({ liveBytes: 0 });
    });

    test('throws with the facts when nothing helped, and goes on', () => {
      const { slot, runtime, steps, manager } = limited();
      const listener = vi.fn();
      runtime.events.on('oom', listener);
      const held = slot.alloc(8 * MiB - 100, true);
      steps.length = 0;
      const before = manager.stats(0);
      const facts = {
        requestedBytes: 4 * MiB,
        allocatedBytes: 8 * MiB,
        reservedBytes: 8 * MiB,
        capacityBytes: 10 * MiB,
        device: 0,
      };
      expect(() => slot.alloc(4 * MiB, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', facts));
      expect(listener).toHaveBeenCalledTimes(1);
      expect(steps).toEqual(Array(4).fill('nativeAlloc 4'));
      const { ooms, retries, ...after } = manager.stats(0);
      expect({ ...after, ooms: 0, retries: 0 }).toEqual(before);
      expect([ooms, retries]).toEqual([2, 2]);
      expect(slot.liveBlocks).toBe(1);
      manager.checkInvariants();
      slot.unlock(held, true);
      slot.alloc(4 * MiB, true);
    });

    test('does not try again without listeners and with nothing to give back', () => {
      const { slot, steps } = limited();
      expect(() => slot.alloc(11 * MiB, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      expect(steps).toEqual(['nativeAlloc 11', 'nativeAlloc 11']);
    });

    test('passes on what a listener throws, logged as a failed allocation', () => {
      const { slot, runtime, manager } = limited();
      const sink = new TextSink();
      manager.setLogStream(sink);
      manager.setLoggingEnabled(true);
      runtime.events.on('oom', () => {
        throw new Error('a bad listener');
      });
      expect(() => slot.alloc(11 * MiB, true)).toThrow('a bad listener');
      slot.flushLogs();
      expect(sink.lines).toEqual([`alloc ${11 * MiB} 1 0 `]);
      expect(slot.liveBlocks).toBe(0);
    });

    test('throws out of memory for a manager that answers null', () => {
      const { runtime } = simulatedRuntime({ capacityBytes: 1000 });
      const manager = installed(new NullManager(), runtime);
      const { slot } = runtime;
      slot.alloc(600, true);
      const facts = { requestedBytes: 500, reservedBytes: 600, capacityBytes: 1000, device: 0 };
      expect(() => slot.alloc(500, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', facts));
      expect(slot.liveBlocks).toBe(1);
      expect(manager.liveBlocks).toBe(1);
      runtime.events.on('oom', () => installed(new NullManager(), runtime));
      expect(slot.alloc(0, true)).toBe(NULL_PTR);
      expect(slot.alloc(400, true)).not.toBe(NULL_PTR);
      expect(slot.liveBlocks).toBe(2);
    });

    test('does not climb the ladder for another error', () => {
      const { device, slot, runtime, steps } = limited();
      const listener = vi.fn();
      runtime.events.on('oom', listener);
      expect(() => slot.alloc(-1, true)).toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes: -1 }));
      expect(() => slot.alloc(1, true, 3)).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: 3 }));
      expect(steps).toEqual([]);
      expect(listener).not.toHaveBeenCalled();
      expect([slot.liveBlocks, device.liveBytes]).toEqual([0, 0]);
    });

    test('throws that the slot is closed when a listener closes it', () => {
      const { device, slot, runtime } = limited();
      slot.alloc(8 * MiB, true);
      runtime.events.on('oom', () => runtime.close());
      expect(() => slot.alloc(4 * MiB, true)).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'MemoryRuntime' }));
      expect(device.liveBytes).toBe(0);
    });
  });
});
