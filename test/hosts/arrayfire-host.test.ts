import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CachingMemoryManager, FailingMemoryManager, LimitingMemoryManager, PoolMemoryManager } from '../../managers/index.js';
import { type DevicePtr, KiB, MemoryManagerDeviceInterface, MemoryManagerInstaller, MiB } from '../../src/core/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { AF_ERR_NO_MEM, AF_ERR_NOT_SUPPORTED, ArrayFire } from './arrayfire.js';
import { arrayFireBench, caching, openHost, SUM, statusBy } from './arrayfire-bench.js';
import { describeHost } from './host-suite.js';
import { install } from './test-managers.js';

const PHILOX = 100;
const MERSENNE = 300;

describeHost('ArrayFireHost', {
  open: () => {
    const af = new ArrayFire();
    const host = openHost();
    af.through = (native) => host.call(native);
    return {
      // The suite replays what it recorded on any memory.
      host: Object.assign(host, { device: new CpuDevice() }),
      work: (during) => af.work(during),
      whenRefused: 'fails',
      close: () => host.dispose(),
    };
  },
  expected: () => SUM,
});

describe('ArrayFireHost', () => {
  const bench = arrayFireBench();

  describe('call', () => {
    test('serves the calls in the order that ArrayFire makes them', () => {
      const ptr = bench.af.out('af_alloc_device_v2', 100);
      expect(bench.host.slot.isUserLocked(ptr as DevicePtr)).toBe(true);
      bench.af.do('af_free_device_v2', ptr);
      const array = bench.af.constant(3, 8);
      bench.af.release(array);
      bench.af.do('af_device_gc');
      expect(bench.af.takeCalls()).toEqual([
        'alloc 1 100',
        'unlock 1',
        'alloc 0 32',
        'get_memory_pressure',
        'unlock 0',
        'signal_memory_cleanup',
      ]);
      expect(bench.host.slot.liveBlocks).toBe(0);
      expect(bench.host.slot.reservedBytes).toBe(0);
    });

    test('gives null for no elements, which ArrayFire may unlock or not', () => {
      expect(bench.af.out('af_alloc_device_v2', 0)).toBe(0);
      expect(bench.af.f.af_free_device_v2(0)).toBe(0);
      bench.af.release(bench.af.constant(1, 0));
      expect(bench.af.takeCalls()).toEqual(['alloc 1 0', 'unlock 1', 'alloc 0 0', 'get_memory_pressure']);
      expect(bench.host.slot.liveBlocks).toBe(0);
    });

    test('is asked for the memory of a lazy array when it is evaluated or read, once for a whole expression', () => {
      const [one, two] = [bench.af.lazy(1, 1000), bench.af.lazy(2, 1000)];
      const sum = bench.af.add(bench.af.add(one, two), two);
      expect(bench.af.takeCalls()).toEqual(['']);
      expect(bench.af.read(sum, 1000)[999]).toBe(5);
      expect(bench.af.takeCalls()).toEqual(['alloc 0 4000', 'get_memory_pressure']);
      for (const array of [one, two]) bench.af.release(array);
      expect(bench.host.slot.liveBlocks).toBe(1);
      bench.af.release(sum);
      expect(bench.host.slot.liveBlocks).toBe(0);
    });

    test('serves inputs of a lazy expression that are live until it is evaluated, whoever releases them', () => {
      const inputs = [bench.af.constant(1, 1000), bench.af.constant(2, 1000)] as const;
      const sum = bench.af.add(...inputs);
      for (const array of inputs) bench.af.release(array);
      expect(bench.host.slot.liveBlocks).toBe(2);
      bench.af.do('af_eval', sum);
      expect(bench.host.slot.liveBlocks).toBe(1);
      expect(bench.af.read(sum, 1000)[0]).toBe(3);
      bench.af.release(sum);
    });

    test('serves a Mersenne engine, whose six blocks keep the host open', () => {
      bench.af.do('af_set_default_random_engine_type', MERSENNE);
      expect(bench.host.slot.liveBlocks).toBe(6);
      expect(codeOf(() => bench.host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      bench.af.do('af_set_default_random_engine_type', PHILOX);
      expect(bench.host.slot.liveBlocks).toBe(0);
    });

    test('serves pinned memory of the CPU backend from the ordinary slot', () => {
      const ptr = bench.af.out('af_alloc_pinned', 3000);
      expect([bench.host.slot.liveBlocks, bench.host.pinnedSlot.liveBlocks]).toEqual([1, 0]);
      bench.af.do('af_free_pinned', ptr);
      expect(bench.host.slot.liveBlocks).toBe(0);
    });

    test('answers 301 where ArrayFire serves its own manager alone', () => {
      const out = () => new BigUint64Array(1);
      expect(statusBy(() => bench.af.do('af_device_mem_info', out(), out(), out(), out()))).toBe(AF_ERR_NOT_SUPPORTED);
      expect(statusBy(() => bench.af.do('af_set_mem_step_size', 1024))).toBe(AF_ERR_NOT_SUPPORTED);
    });

    test('multiplies all extents and the size of an element', () => {
      const ptr = bench.af.out('fixture_alloc', 0, 4, new BigInt64Array([3n, 5n, 7n, 2n]), 8);
      expect(bench.host.stats()?.requestedBytes.current).toBe(3 * 5 * 7 * 2 * 8);
      const out = new BigUint64Array(1);
      bench.af.do('fixture_allocated', ptr, out);
      expect(Number(out[0])).toBe(bench.host.slot.allocated(ptr as DevicePtr));
      bench.host.slot.unlock(ptr as DevicePtr, false);
      bench.af.do('fixture_allocated', ptr, out);
      expect(out[0]).toBe(0n);
    });

    test.each([
      { name: 'negative', dims: [-1n], status: AF_ERR_NO_MEM },
      { name: 'above every size', dims: [2n ** 62n, 2n ** 62n], status: AF_ERR_NO_MEM },
    ])('answers $status for extents that are $name', ({ dims, status }) => {
      expect(statusBy(() => bench.af.out('fixture_alloc', 0, dims.length, new BigInt64Array(dims), 4))).toBe(status);
      expect(bench.host.lastError?.code).toBe('ERR_MEM_INVALID_SIZE');
    });

    test('throws for more dimensions than arrays have', () => {
      expect(codeOf(() => bench.af.out('fixture_alloc', 0, 5, new BigInt64Array(5), 4))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test('answers 101 without memory, tells why, and works on', () => {
      install(bench.host, new LimitingMemoryManager(caching(), { limitBytes: 256 * KiB }));
      expect(statusBy(() => bench.af.constant(1, 100_000))).toBe(AF_ERR_NO_MEM);
      expect(bench.host.lastError).toMatchObject({ code: 'ERR_MEM_OUT_OF_MEMORY', facts: { requestedBytes: 400_000 } });
      expect(bench.af.work()).toEqual(SUM);
      expect(bench.host.lastError).toBeUndefined();
    });

    test('answers 101 when ArrayFire itself has no memory', () => {
      bench.af.f.fixture_set_capacity(MiB);
      expect(statusBy(() => bench.af.constant(1, MiB))).toBe(AF_ERR_NO_MEM);
      expect(bench.host.lastError?.facts).toMatchObject({ capacityBytes: MiB });
    });

    test('comes to the same, or fails with 101, for every n that every n-th allocation fails at', () => {
      for (let nth = 1; ; nth++) {
        const failing = install(bench.host, new FailingMemoryManager(caching(), { every: nth }));
        let sum: unknown;
        const status = statusBy(() => {
          sum = bench.af.work();
        });
        if (failing.failures === 0) {
          expect(sum).toEqual(SUM);
          break;
        }
        expect([0, AF_ERR_NO_MEM]).toContain(status);
        if (status === 0) expect(sum).toEqual(SUM);
        else if (bench.host.slot.liveBlocks > 0) throw new Error('a block was left');
      }
    });

    test('throws what a listener threw after ArrayFire has returned', () => {
      install(bench.host, new LimitingMemoryManager(caching(), { limitBytes: KiB }));
      const thrown = new Error('from a listener');
      bench.host.events.once('oom', () => {
        throw thrown;
      });
      expect(() => bench.af.constant(1, 2000)).toThrow(thrown);
      expect(bench.host.slot.liveBlocks).toBe(0);
    });

    test('keeps the locks of arrays', () => {
      const array = bench.af.constant(1, 10);
      expect(bench.af.isLocked(array)).toBe(false);
      bench.af.do('af_lock_array', array);
      expect(bench.af.isLocked(array)).toBe(true);
      bench.af.do('af_unlock_array', array);
      expect(bench.af.isLocked(array)).toBe(false);
      const ptr = bench.af.out('af_get_device_ptr', array);
      bench.af.release(array);
      expect(bench.host.slot.liveBlocks).toBe(1);
      bench.af.do('af_free_device_v2', ptr);
      expect(bench.host.slot.liveBlocks).toBe(0);
    });

    test('locks parts of arrays, which keeps nothing alive', () => {
      const whole = bench.af.constant(1, 1000);
      const part = bench.af.part(whole, 100, 200);
      bench.af.do('af_lock_array', part);
      expect([bench.af.isLocked(part), bench.af.isLocked(whole)]).toEqual([true, false]);
      bench.af.do('af_unlock_array', part);
      expect(bench.af.isLocked(part)).toBe(false);
      expect(codeOf(() => bench.af.do('af_unlock_array', part))).toBe('ERR_MEM_UNKNOWN_POINTER');
      bench.af.do('af_lock_array', part);
      bench.af.release(whole);
      expect(bench.host.slot.liveBlocks).toBe(1);
      bench.af.release(part);
      expect([bench.host.slot.liveBlocks, bench.host.foreignFrees]).toEqual([0, 0]);
    });

    test('tells the lock of a part from that of a block which begins there later', () => {
      install(bench.host, caching());
      const whole = bench.af.constant(1, 1000);
      const begin = bench.af.out('af_get_device_ptr', whole);
      bench.af.do('af_unlock_array', whole);
      const parts = Array.from({ length: 999 }, (_, i) => bench.af.part(whole, i + 1, 1000));
      for (const part of parts) bench.af.do('af_lock_array', part);
      for (const array of [whole, ...parts]) bench.af.release(array);
      const blocks = Array.from({ length: 4 }, () => bench.af.constant(2, 16));
      const inside = blocks.filter((block) => {
        expect(bench.af.isLocked(block)).toBe(false);
        const ptr = bench.af.out('af_get_device_ptr', block);
        expect(bench.af.f.af_free_device_v2(ptr)).toBe(0);
        return ptr > begin && ptr < begin + 4000;
      });
      expect(inside.length).toBeGreaterThan(0);
      for (const block of blocks) bench.af.release(block);
      expect(bench.host.slot.liveBlocks).toBe(0);
    });

    test('copies a part whose address is asked for: that heads a block', () => {
      const whole = bench.af.constant(7, 1000);
      const part = bench.af.part(whole, 100, 200);
      const ptr = bench.af.out('af_get_device_ptr', part);
      expect(bench.host.slot.allocated(ptr as DevicePtr)).toBeGreaterThanOrEqual(400);
      expect(bench.af.read(part, 100)[0]).toBe(7);
      for (const array of [whole, part]) bench.af.release(array);
      bench.af.do('af_free_device_v2', ptr);
      expect(bench.host.slot.liveBlocks).toBe(0);
    });

    test('gives memory pressure and the judgement of expression trees', () => {
      install(bench.host, new PressingManager(2, new MemoryManagerDeviceInterface()));
      const [pressure, exceeds] = [new Float32Array(1), new Int32Array(1)];
      bench.af.do('fixture_pressure', pressure);
      expect(pressure[0]).toBe(0.75);
      for (const [bytes, expected] of [
        [KiB, 0],
        [MiB, 1],
      ]) {
        bench.af.do('fixture_jit', bytes, exceeds);
        expect(exceeds[0]).toBe(expected);
      }
    });

    test("prints the manager's report with the message that ArrayFire was given", () => {
      const manager = install(bench.host, new PressingManager(2, new MemoryManagerDeviceInterface()));
      bench.af.do('af_print_mem_info', 'größer als ASCII', 1);
      expect(manager.printed).toEqual(['größer als ASCII', 1]);
    });

    test('serves the device that is active in ArrayFire', () => {
      const manager = install(bench.host, caching());
      bench.af.do('af_set_device', 1);
      const ptr = bench.af.out('af_alloc_device_v2', 1000);
      bench.af.do('af_set_device', 0);
      expect([0, 1].map((device) => manager.stats(device)?.blocks.current ?? 0)).toEqual([0, 1]);
      bench.af.do('af_free_device_v2', ptr);
    });

    test('begins and ends the management of a device', () => {
      const manager = install(bench.host, new PressingManager(2, new MemoryManagerDeviceInterface()));
      bench.af.through(() => bench.af.f.fixture_manage(1, 2));
      bench.af.through(() => bench.af.f.fixture_manage(0, 2));
      expect(manager.managed).toEqual(['add 2', 'remove 2']);
    });

    test('tells that a device with live arrays is managed on', () => {
      install(bench.host, caching());
      const array = bench.af.constant(1, 10);
      expect(codeOf(() => bench.af.through(() => bench.af.f.fixture_manage(0, 0)))).toBe('ERR_MEM_DEVICE_BUSY');
      bench.af.release(array);
    });

    test('aligns native memory as managers ask for', () => {
      install(bench.host, new PoolMemoryManager(2, new MemoryManagerDeviceInterface()));
      const ptr = bench.host.slot.alloc(100, false, 4096);
      expect(ptr % 4096).toBe(0);
      bench.host.slot.unlock(ptr, false);
    });

    test('passes the threshold of memory pressure to ArrayFire', () => {
      const { deviceInterface } = install(bench.host, caching());
      deviceInterface.setMemoryPressureThreshold(0.5);
      expect(deviceInterface.getMemoryPressureThreshold()).toBe(0.5);
    });
  });

  describe('foreign pointers', () => {
    test('arrays of the manager before are freed natively', () => {
      bench.host.dispose();
      const before = bench.af.constant(4, 100);
      bench.host = openHost();
      const sum = bench.af.add(before, before);
      expect(bench.af.read(sum, 100)[0]).toBe(8);
      bench.af.release(before);
      bench.af.release(sum);
      expect(bench.host.foreignFrees).toBe(1);
    });

    test('one that the user locked is freed when both the array and the lock are gone', () => {
      bench.host.dispose();
      const [first, second] = [bench.af.constant(1, 1), bench.af.constant(2, 1)];
      bench.host = openHost();
      for (const array of [first, second]) {
        bench.af.do('af_lock_array', array);
        expect(bench.af.isLocked(array)).toBe(true);
      }
      bench.af.do('af_unlock_array', first);
      expect([bench.af.isLocked(first), bench.host.foreignFrees]).toEqual([false, 0]);
      bench.af.release(first);
      expect(bench.host.foreignFrees).toBe(1);
      const ptr = bench.af.out('af_get_device_ptr', second);
      bench.af.release(second);
      expect(bench.host.foreignFrees).toBe(1);
      bench.af.do('af_free_device_v2', ptr);
      expect(bench.host.foreignFrees).toBe(2);
    });

    test('one into the memory of a manager is refused: freeing it natively would end the process', () => {
      const array = bench.af.constant(1, 1000);
      const inside = bench.af.out('af_get_device_ptr', array) + 512;
      expect(codeOf(() => bench.af.do('af_free_device_v2', inside))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(bench.host.foreignFrees).toBe(0);
      bench.af.do('af_unlock_array', array);
      bench.af.release(array);
    });

    test('a second free is reported, and ArrayFire goes on', () => {
      const ptr = bench.af.out('af_alloc_device_v2', 1000);
      bench.af.do('af_free_device_v2', ptr);
      expect(codeOf(() => bench.af.do('af_free_device_v2', ptr))).toBe('ERR_MEM_DOUBLE_FREE');
      expect(bench.af.work()).toEqual(SUM);
    });
  });

  describe('threads', () => {
    test('an array that another thread releases is freed when the event loop turns', async () => {
      const array = bench.af.constant(1, 1000);
      expect(bench.af.f.fixture_release_on_thread(array)).toBe(0);
      const before = bench.host.callbacks.foreignCalls;
      await expect.poll(() => bench.host.slot.liveBlocks, { interval: 2 }).toBe(0);
      expect(bench.host.callbacks.foreignCalls).toBe(before + 1);
    });
  });

  describe('managerOf', () => {
    test("gives the active manager by the handle's payload", () => {
      expect(bench.host.managerOf(bench.host.handle)).toBeNull();
      const first = install(bench.host, caching());
      expect(bench.host.managerOf(bench.host.handle)).toBe(first);
      const array = bench.af.constant(1, 10);
      const second = install(bench.host, caching());
      expect(bench.host.managerOf(bench.host.handle)).toBe(second);
      expect(bench.af.takeCalls()).toEqual(['alloc 0 40', 'get_memory_pressure']);
      bench.af.release(array);
      MemoryManagerInstaller.unsetMemoryManager(bench.host);
      expect(bench.host.managerOf(bench.host.handle)).toBe(bench.host.slot.active);
      expect(codeOf(() => bench.host.managerOf(12345))).toBe('ERR_MEM_UNKNOWN_POINTER');
    });
  });

  describe('pinned', () => {
    test('has a slot of its own', () => {
      bench.host.dispose();
      bench.af.f.fixture_set_backend(2);
      bench.host = openHost(true);
      new MemoryManagerInstaller(caching(), bench.host).setAsMemoryManagerPinned();
      const ptr = bench.af.out('af_alloc_pinned', 3000);
      expect([bench.host.slot.liveBlocks, bench.host.pinnedSlot.liveBlocks]).toEqual([0, 1]);
      expect(bench.host.managerOf(bench.host.pinnedHandle)).toBe(bench.host.pinnedSlot.active);
      bench.af.do('af_free_pinned', ptr);
      expect(bench.host.pinnedSlot.liveBlocks).toBe(0);
      bench.host.dispose();
    });

    test('is refused without the option', () => {
      expect(codeOf(() => bench.host.pinnedSlot.alloc(10, false))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
    });
  });
});

/** Says what it is told to. */
class PressingManager extends CachingMemoryManager {
  printed: unknown[] = [];
  readonly managed: string[] = [];
  override addMemoryManagement(device: number): void {
    this.managed.push(`add ${device}`);
  }
  override removeMemoryManagement(device: number): void {
    this.managed.push(`remove ${device}`);
  }
  override getMemoryPressure(): number {
    return 0.75;
  }
  override jitTreeExceedsMemoryPressure(bytes: number): boolean {
    return bytes >= MiB;
  }
  override printInfo(message: string, device: number): void {
    this.printed = [message, device];
  }
}
