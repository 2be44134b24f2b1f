import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { ArrayFireHost } from '../../adapters/hosts/arrayfire/index.js';
import { CachingMemoryManager, FailingMemoryManager, LimitingMemoryManager, PoolMemoryManager } from '../../managers/index.js';
import {
  type DevicePtr,
  KiB,
  MemoryError,
  MemoryManagerDeviceInterface,
  MemoryManagerInstaller,
  MiB,
} from '../../src/core/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';
import { exampleAsJavaScript } from '../fixtures/compiled-examples.js';
import { AF_ERR_NO_MEM, AF_ERR_NOT_SUPPORTED, AF_ERR_UNKNOWN, ArrayFire, arrayFirePath } from './arrayfire.js';
import { describeHost } from './host-suite.js';
import { exactManager, install } from './test-managers.js';

const PHILOX = 100;
const MERSENNE = 300;
const SUM = Array<number>(1000).fill(45);
const caching = () => new CachingMemoryManager(2, new MemoryManagerDeviceInterface());
const openHost = (pinned = false) =>
  ArrayFireHost.open({
    library: arrayFirePath(),
    pinned,
    createDefaultManager: () => caching(),
    createFallbackManager: exactManager,
  });
const statusOf = (error: unknown) => (MemoryError.is(error, 'ERR_MEM_NATIVE') ? error.facts.status : error);
const statusBy = (action: () => unknown) => {
  try {
    action();
    return 0;
  } catch (error) {
    return statusOf(error);
  }
};

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
  let af: ArrayFire;
  let host: ArrayFireHost;
  let lostSegments = 0;

  beforeAll(() => {
    af = new ArrayFire();
  });

  beforeEach(() => {
    host = openHost();
    af.through = (native) => (host.slot.closed ? native() : host.call(native));
    af.takeCalls();
  });

  afterEach(() => {
    host.dispose();
    af.f.fixture_set_backend(1);
    af.f.fixture_set_minor(10);
    af.f.fixture_set_capacity(2 ** 34);
    expect(af.f.fixture_native_live()).toBe(lostSegments);
    expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
  });

  describe('open', () => {
    test('sets every callback', () => {
      expect(af.f.fixture_missing_callbacks()).toBe(0);
    });

    describe('when ArrayFire is loaded already', () => {
      /** Loads ArrayFire, uses it, and opens a host; says how that went, and whether its queue is synchronous. */
      const openLate = (use: string, environment: string | undefined) =>
        runChild(
          `
          import ${JSON.stringify(moduleUrl('src/index.js'))};
          const { openLibrary } = await import(${JSON.stringify(moduleUrl('adapters/ffi/library.js'))});
          const { ArrayFireHost } = await import(${JSON.stringify(moduleUrl('adapters/hosts/arrayfire/index.js'))});
          const path = ${JSON.stringify(arrayFirePath())};
          const synchronous = () => openLibrary([path]).func('fixture_synchronous', 'int', [])();
          ${use}
          let outcome = 'open';
          try {
            const host = ArrayFireHost.open({ library: path });
            openLibrary([path]).func('af_init', 'int', [])();
            host.dispose();
          } catch (error) {
            outcome = error.code;
          }
          console.log(outcome, synchronous());`,
          { env: { AF_SYNCHRONOUS_CALLS: environment } },
        );
      const USE = {
        none: '',
        'getters alone': "openLibrary([path]).func('af_get_device_count', 'int', ['int32_t *'])(new Int32Array(1));",
        af_init: "openLibrary([path]).func('af_init', 'int', [])();",
      };

      test.each([
        // Nothing is loaded: the host sets the environment.
        ['none', undefined, 'open 1'],
        ['none', '0', 'open 1'],
        ['getters alone', undefined, 'ERR_MEM_ENGINE_IN_USE -1'],
        ['af_init', undefined, 'ERR_MEM_ENGINE_IN_USE 0'],
        ['af_init', '0', 'ERR_MEM_ENGINE_IN_USE 0'],
        ['af_init', '1', 'open 1'],
      ] as const)('after a use of %s with AF_SYNCHRONOUS_CALLS %s: %s', (use, environment, outcome) => {
        expect(openLate(USE[use], environment)).toMatchObject({ status: 0, signal: null, stdout: `${outcome}\n`, stderr: '' });
      });
    });

    test('refuses a second host', () => {
      expect(codeOf(() => openHost())).toBe('ERR_MEM_ENGINE_IN_USE');
    });

    test('leaves ArrayFire as it was for every call that fails in turn', () => {
      host.dispose();
      af.f.fixture_set_backend(2);
      let failures = 0;
      for (let nth = 1; ; nth++) {
        af.takeCalls();
        af.f.fixture_fail_at(nth);
        const status = statusBy(() => {
          host = openHost(true);
        });
        af.f.fixture_fail_at(0);
        if (status === 0) break;
        expect(status).toBe(AF_ERR_UNKNOWN);
        failures++;
        const set = af.takeCalls();
        expect(set.filter((call) => call === 'shutdown').length).toBe(set.filter((call) => call === 'initialize').length);
        expect(af.work()).toEqual(SUM);
        expect(af.takeCalls()).toEqual(['']);
      }
      // Version, devices and backend; and for each of two handles: to make it, 14 callbacks, to set it.
      expect(failures).toBe(3 + 2 * (1 + 14 + 1));
    });

    test('tells when the backend has no pinned memory, and takes nothing over then', () => {
      host.dispose();
      expect(statusBy(() => openHost(true))).toBe(AF_ERR_NOT_SUPPORTED);
      af.takeCalls();
      expect(af.work()).toEqual(SUM);
      expect(af.takeCalls()).toEqual(['']);
    });

    test('refuses calls that are not synchronous on the CPU backend alone', () => {
      host.dispose();
      const options = { library: arrayFirePath(), synchronousCalls: false };
      expect(codeOf(() => ArrayFireHost.open(options))).toBe('ERR_MEM_INVALID_ARGUMENT');
      af.f.fixture_set_backend(2);
      host = ArrayFireHost.open(options);
      expect(host.version).toBe('3.10.0');
    });

    test('refuses a version that is too old, and a library that is not there', () => {
      host.dispose();
      af.f.fixture_set_minor(7);
      expect(() => openHost()).toThrow(/is version 3\.7\.0, and 3\.8 is needed/);
      expect(codeOf(() => ArrayFireHost.open({ library: 'libno-such.so' }))).toBe('ERR_MEM_DEVICE_ABSENT');
    });
  });

  describe('call', () => {
    test('serves the calls in the order that ArrayFire makes them', () => {
      const ptr = af.out('af_alloc_device_v2', 100);
      expect(host.slot.isUserLocked(ptr as DevicePtr)).toBe(true);
      af.do('af_free_device_v2', ptr);
      const array = af.constant(3, 8);
      af.release(array);
      af.do('af_device_gc');
      expect(af.takeCalls()).toEqual([
        'alloc 1 100',
        'unlock 1',
        'alloc 0 32',
        'get_memory_pressure',
        'unlock 0',
        'signal_memory_cleanup',
      ]);
      expect(host.slot.liveBlocks).toBe(0);
      expect(host.slot.reservedBytes).toBe(0);
    });

    test('gives null for no elements, which ArrayFire may unlock or not', () => {
      expect(af.out('af_alloc_device_v2', 0)).toBe(0);
      expect(af.f.af_free_device_v2(0)).toBe(0);
      af.release(af.constant(1, 0));
      expect(af.takeCalls()).toEqual(['alloc 1 0', 'unlock 1', 'alloc 0 0', 'get_memory_pressure']);
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('is asked for the memory of a lazy array when it is evaluated or read, once for a whole expression', () => {
      const [one, two] = [af.lazy(1, 1000), af.lazy(2, 1000)];
      const sum = af.add(af.add(one, two), two);
      expect(af.takeCalls()).toEqual(['']);
      expect(af.read(sum, 1000)[999]).toBe(5);
      expect(af.takeCalls()).toEqual(['alloc 0 4000', 'get_memory_pressure']);
      for (const array of [one, two]) af.release(array);
      expect(host.slot.liveBlocks).toBe(1);
      af.release(sum);
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('serves inputs of a lazy expression that are live until it is evaluated, whoever releases them', () => {
      const inputs = [af.constant(1, 1000), af.constant(2, 1000)] as const;
      const sum = af.add(...inputs);
      for (const array of inputs) af.release(array);
      expect(host.slot.liveBlocks).toBe(2);
      af.do('af_eval', sum);
      expect(host.slot.liveBlocks).toBe(1);
      expect(af.read(sum, 1000)[0]).toBe(3);
      af.release(sum);
    });

    test('serves a Mersenne engine, whose six blocks keep the host open', () => {
      af.do('af_set_default_random_engine_type', MERSENNE);
      expect(host.slot.liveBlocks).toBe(6);
      expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      af.do('af_set_default_random_engine_type', PHILOX);
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('serves pinned memory of the CPU backend from the ordinary slot', () => {
      const ptr = af.out('af_alloc_pinned', 3000);
      expect([host.slot.liveBlocks, host.pinnedSlot.liveBlocks]).toEqual([1, 0]);
      af.do('af_free_pinned', ptr);
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('answers 301 where ArrayFire serves its own manager alone', () => {
      const out = () => new BigUint64Array(1);
      expect(statusBy(() => af.do('af_device_mem_info', out(), out(), out(), out()))).toBe(AF_ERR_NOT_SUPPORTED);
      expect(statusBy(() => af.do('af_set_mem_step_size', 1024))).toBe(AF_ERR_NOT_SUPPORTED);
    });

    test('multiplies all extents and the size of an element', () => {
      const ptr = af.out('fixture_alloc', 0, 4, new BigInt64Array([3n, 5n, 7n, 2n]), 8);
      expect(host.stats()?.requestedBytes.current).toBe(3 * 5 * 7 * 2 * 8);
      const out = new BigUint64Array(1);
      af.do('fixture_allocated', ptr, out);
      expect(Number(out[0])).toBe(host.slot.allocated(ptr as DevicePtr));
      host.slot.unlock(ptr as DevicePtr, false);
      af.do('fixture_allocated', ptr, out);
      expect(out[0]).toBe(0n);
    });

    test.each([
      { name: 'negative', dims: [-1n], status: AF_ERR_NO_MEM },
      { name: 'above every size', dims: [2n ** 62n, 2n ** 62n], status: AF_ERR_NO_MEM },
    ])('answers $status for extents that are $name', ({ dims, status }) => {
      expect(statusBy(() => af.out('fixture_alloc', 0, dims.length, new BigInt64Array(dims), 4))).toBe(status);
      expect(host.lastError?.code).toBe('ERR_MEM_INVALID_SIZE');
    });

    test('throws for more dimensions than arrays have', () => {
      expect(codeOf(() => af.out('fixture_alloc', 0, 5, new BigInt64Array(5), 4))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test('answers 101 without memory, tells why, and works on', () => {
      install(host, new LimitingMemoryManager(caching(), { limitBytes: 256 * KiB }));
      expect(statusBy(() => af.constant(1, 100_000))).toBe(AF_ERR_NO_MEM);
      expect(host.lastError).toMatchObject({ code: 'ERR_MEM_OUT_OF_MEMORY', facts: { requestedBytes: 400_000 } });
      expect(af.work()).toEqual(SUM);
      expect(host.lastError).toBeUndefined();
    });

    test('answers 101 when ArrayFire itself has no memory', () => {
      af.f.fixture_set_capacity(MiB);
      expect(statusBy(() => af.constant(1, MiB))).toBe(AF_ERR_NO_MEM);
      expect(host.lastError?.facts).toMatchObject({ capacityBytes: MiB });
    });

    test('comes to the same, or fails with 101, for every n that every n-th allocation fails at', () => {
      for (let nth = 1; ; nth++) {
        const failing = install(host, new FailingMemoryManager(caching(), { every: nth }));
        let sum: unknown;
        const status = statusBy(() => {
          sum = af.work();
        });
        if (failing.failures === 0) {
          expect(sum).toEqual(SUM);
          break;
        }
        expect([0, AF_ERR_NO_MEM]).toContain(status);
        if (status === 0) expect(sum).toEqual(SUM);
        else if (host.slot.liveBlocks > 0) throw new Error('a block was left');
      }
    });

    test('throws what a listener threw after ArrayFire has returned', () => {
      install(host, new LimitingMemoryManager(caching(), { limitBytes: KiB }));
      const thrown = new Error('from a listener');
      host.events.once('oom', () => {
        throw thrown;
      });
      expect(() => af.constant(1, 2000)).toThrow(thrown);
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('keeps the locks of arrays', () => {
      const array = af.constant(1, 10);
      expect(af.isLocked(array)).toBe(false);
      af.do('af_lock_array', array);
      expect(af.isLocked(array)).toBe(true);
      af.do('af_unlock_array', array);
      expect(af.isLocked(array)).toBe(false);
      const ptr = af.out('af_get_device_ptr', array);
      af.release(array);
      expect(host.slot.liveBlocks).toBe(1);
      af.do('af_free_device_v2', ptr);
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('locks parts of arrays, which keeps nothing alive', () => {
      const whole = af.constant(1, 1000);
      const part = af.part(whole, 100, 200);
      af.do('af_lock_array', part);
      expect([af.isLocked(part), af.isLocked(whole)]).toEqual([true, false]);
      af.do('af_unlock_array', part);
      expect(af.isLocked(part)).toBe(false);
      expect(codeOf(() => af.do('af_unlock_array', part))).toBe('ERR_MEM_UNKNOWN_POINTER');
      af.do('af_lock_array', part);
      af.release(whole);
      expect(host.slot.liveBlocks).toBe(1);
      af.release(part);
      expect([host.slot.liveBlocks, host.foreignFrees]).toEqual([0, 0]);
    });

    test('tells the lock of a part from that of a block which begins there later', () => {
      install(host, caching());
      const whole = af.constant(1, 1000);
      const begin = af.out('af_get_device_ptr', whole);
      af.do('af_unlock_array', whole);
      const parts = Array.from({ length: 999 }, (_, i) => af.part(whole, i + 1, 1000));
      for (const part of parts) af.do('af_lock_array', part);
      for (const array of [whole, ...parts]) af.release(array);
      const blocks = Array.from({ length: 4 }, () => af.constant(2, 16));
      const inside = blocks.filter((block) => {
        expect(af.isLocked(block)).toBe(false);
        const ptr = af.out('af_get_device_ptr', block);
        expect(af.f.af_free_device_v2(ptr)).toBe(0);
        return ptr > begin && ptr < begin + 4000;
      });
      expect(inside.length).toBeGreaterThan(0);
      for (const block of blocks) af.release(block);
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('copies a part whose address is asked for: that heads a block', () => {
      const whole = af.constant(7, 1000);
      const part = af.part(whole, 100, 200);
      const ptr = af.out('af_get_device_ptr', part);
      expect(host.slot.allocated(ptr as DevicePtr)).toBeGreaterThanOrEqual(400);
      expect(af.read(part, 100)[0]).toBe(7);
      for (const array of [whole, part]) af.release(array);
      af.do('af_free_device_v2', ptr);
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('gives memory pressure and the judgement of expression trees', () => {
      install(host, new PressingManager(2, new MemoryManagerDeviceInterface()));
      const [pressure, exceeds] = [new Float32Array(1), new Int32Array(1)];
      af.do('fixture_pressure', pressure);
      expect(pressure[0]).toBe(0.75);
      for (const [bytes, expected] of [
        [KiB, 0],
        [MiB, 1],
      ]) {
        af.do('fixture_jit', bytes, exceeds);
        expect(exceeds[0]).toBe(expected);
      }
    });

    test("prints the manager's report with the message that ArrayFire was given", () => {
      const manager = install(host, new PressingManager(2, new MemoryManagerDeviceInterface()));
      af.do('af_print_mem_info', 'größer als ASCII', 1);
      expect(manager.printed).toEqual(['größer als ASCII', 1]);
    });

    test('serves the device that is active in ArrayFire', () => {
      const manager = install(host, caching());
      af.do('af_set_device', 1);
      const ptr = af.out('af_alloc_device_v2', 1000);
      af.do('af_set_device', 0);
      expect([0, 1].map((device) => manager.stats(device)?.blocks.current ?? 0)).toEqual([0, 1]);
      af.do('af_free_device_v2', ptr);
    });

    test('begins and ends the management of a device', () => {
      const manager = install(host, new PressingManager(2, new MemoryManagerDeviceInterface()));
      af.through(() => af.f.fixture_manage(1, 2));
      af.through(() => af.f.fixture_manage(0, 2));
      expect(manager.managed).toEqual(['add 2', 'remove 2']);
    });

    test('tells that a device with live arrays is managed on', () => {
      install(host, caching());
      const array = af.constant(1, 10);
      expect(codeOf(() => af.through(() => af.f.fixture_manage(0, 0)))).toBe('ERR_MEM_DEVICE_BUSY');
      af.release(array);
    });

    test('aligns native memory as managers ask for', () => {
      install(host, new PoolMemoryManager(2, new MemoryManagerDeviceInterface()));
      const ptr = host.slot.alloc(100, false, 4096);
      expect(ptr % 4096).toBe(0);
      host.slot.unlock(ptr, false);
    });

    test('passes the threshold of memory pressure to ArrayFire', () => {
      const { deviceInterface } = install(host, caching());
      deviceInterface.setMemoryPressureThreshold(0.5);
      expect(deviceInterface.getMemoryPressureThreshold()).toBe(0.5);
    });
  });

  describe('foreign pointers', () => {
    test('arrays of the manager before are freed natively', () => {
      host.dispose();
      const before = af.constant(4, 100);
      host = openHost();
      const sum = af.add(before, before);
      expect(af.read(sum, 100)[0]).toBe(8);
      af.release(before);
      af.release(sum);
      expect(host.foreignFrees).toBe(1);
    });

    test('one that the user locked is freed when both the array and the lock are gone', () => {
      host.dispose();
      const [first, second] = [af.constant(1, 1), af.constant(2, 1)];
      host = openHost();
      for (const array of [first, second]) {
        af.do('af_lock_array', array);
        expect(af.isLocked(array)).toBe(true);
      }
      af.do('af_unlock_array', first);
      expect([af.isLocked(first), host.foreignFrees]).toEqual([false, 0]);
      af.release(first);
      expect(host.foreignFrees).toBe(1);
      const ptr = af.out('af_get_device_ptr', second);
      af.release(second);
      expect(host.foreignFrees).toBe(1);
      af.do('af_free_device_v2', ptr);
      expect(host.foreignFrees).toBe(2);
    });

    test('one into the memory of a manager is refused: freeing it natively would end the process', () => {
      const array = af.constant(1, 1000);
      const inside = af.out('af_get_device_ptr', array) + 512;
      expect(codeOf(() => af.do('af_free_device_v2', inside))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(host.foreignFrees).toBe(0);
      af.do('af_unlock_array', array);
      af.release(array);
    });

    test('a second free is reported, and ArrayFire goes on', () => {
      const ptr = af.out('af_alloc_device_v2', 1000);
      af.do('af_free_device_v2', ptr);
      expect(codeOf(() => af.do('af_free_device_v2', ptr))).toBe('ERR_MEM_DOUBLE_FREE');
      expect(af.work()).toEqual(SUM);
    });
  });

  describe('threads', () => {
    test('an array that another thread releases is freed when the event loop turns', async () => {
      const array = af.constant(1, 1000);
      expect(af.f.fixture_release_on_thread(array)).toBe(0);
      const before = host.callbacks.foreignCalls;
      await expect.poll(() => host.slot.liveBlocks, { interval: 2 }).toBe(0);
      expect(host.callbacks.foreignCalls).toBe(before + 1);
    });
  });

  describe('managerOf', () => {
    test("gives the active manager by the handle's payload", () => {
      expect(host.managerOf(host.handle)).toBeNull();
      const first = install(host, caching());
      expect(host.managerOf(host.handle)).toBe(first);
      const array = af.constant(1, 10);
      const second = install(host, caching());
      expect(host.managerOf(host.handle)).toBe(second);
      expect(af.takeCalls()).toEqual(['alloc 0 40', 'get_memory_pressure']);
      af.release(array);
      MemoryManagerInstaller.unsetMemoryManager(host);
      expect(host.managerOf(host.handle)).toBe(host.slot.active);
      expect(codeOf(() => host.managerOf(12345))).toBe('ERR_MEM_UNKNOWN_POINTER');
    });
  });

  describe('pinned', () => {
    test('has a slot of its own', () => {
      host.dispose();
      af.f.fixture_set_backend(2);
      host = openHost(true);
      new MemoryManagerInstaller(caching(), host).setAsMemoryManagerPinned();
      const ptr = af.out('af_alloc_pinned', 3000);
      expect([host.slot.liveBlocks, host.pinnedSlot.liveBlocks]).toEqual([0, 1]);
      expect(host.managerOf(host.pinnedHandle)).toBe(host.pinnedSlot.active);
      af.do('af_free_pinned', ptr);
      expect(host.pinnedSlot.liveBlocks).toBe(0);
      host.dispose();
    });

    test('is refused without the option', () => {
      expect(codeOf(() => host.pinnedSlot.alloc(10, false))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
    });
  });

  describe('replaced', () => {
    test('gives cached memory back in time, can be closed, and leaves living arrays their memory', () => {
      const kept = af.constant(1, 1000);
      af.release(af.constant(1, 2 * MiB));
      const reserved = host.slot.reservedBytes;
      af.do('af_unset_memory_manager');
      expect(host.replaced).toBe(true);
      expect(host.slot.reservedBytes).toBeLessThan(reserved);
      expect(codeOf(() => host.slot.alloc(8 * MiB, false))).toBe('ERR_MEM_OUT_OF_MEMORY');
      expect(host.slot.liveBlocks).toBe(1);
      const next = openHost();
      host.dispose();
      host = next;
      expect(af.read(kept, 1000)[0]).toBe(1);
      af.release(kept);
      lostSegments = 1;
      expect(af.f.fixture_native_live()).toBe(lostSegments);
    });
  });

  describe('dispose', () => {
    test('is refused while arrays live, and changes nothing then', () => {
      const array = af.constant(1, 10);
      expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      expect(af.read(array, 10)[0]).toBe(1);
      af.release(array);
    });

    test('is refused inside a native call', () => {
      install(host, new LimitingMemoryManager(caching(), { limitBytes: KiB }));
      let code = '';
      host.events.once('oom', () => {
        code = codeOf(() => host.dispose());
      });
      expect(statusBy(() => af.constant(1, 2000))).toBe(AF_ERR_NO_MEM);
      expect(code).toBe('ERR_MEM_REENTRANT');
    });

    test('gives native memory back before it unsets, and leaves ArrayFire its own manager', () => {
      af.work();
      expect(af.f.fixture_native_live()).toBeGreaterThan(lostSegments);
      af.takeCalls();
      host.dispose();
      expect(af.takeCalls()).toEqual(['shutdown']);
      expect(af.f.fixture_native_live()).toBe(lostSegments);
      expect(af.work()).toEqual(SUM);
      expect(codeOf(() => host.managerOf(host.handle))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(host.callbacks.disposed).toBe(true);
    });
  });

  test('the example runs', () => {
    const copy = join(compiled(), 'arrayfire-example.mjs');
    writeFileSync(copy, exampleAsJavaScript('arrayfire.mts'));
    const { status, stdout, stderr } = spawnSync(process.execPath, [copy, arrayFirePath()], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toBe(
      '1000000 floats: status 0, no error, 1 live\n8000000 floats: status 101, ERR_MEM_OUT_OF_MEMORY, 0 live\n',
    );
  });

  test('a refusal inside a function of ArrayFire that may not throw ends the process: no host can prevent it', () => {
    const source = `
      import ${JSON.stringify(moduleUrl('src/index.js'))};
      const { ArrayFireHost } = await import(${JSON.stringify(moduleUrl('adapters/hosts/arrayfire/index.js'))});
      const { CachingMemoryManager, LimitingMemoryManager } = await import(${JSON.stringify(moduleUrl('managers/index.js'))});
      const { MemoryManagerDeviceInterface, MemoryManagerInstaller } = await import(${JSON.stringify(moduleUrl('src/index.js'))});
      const host = ArrayFireHost.open({ library: ${JSON.stringify(arrayFirePath())} });
      const manager = new CachingMemoryManager(2, new MemoryManagerDeviceInterface());
      new MemoryManagerInstaller(new LimitingMemoryManager(manager, { limitBytes: 1000 }), host).setAsMemoryManager();
      const [array, out] = [new BigUint64Array(1), new BigUint64Array(1)];
      const f = (name, ...types) => host.library.func(name, 'int', types);
      f('af_constant', 'uint64_t *', 'double', 'uint32_t', 'int64_t *', 'int')(array, 1, 1, new BigInt64Array([1000n]), 0);
      console.log('refused', host.call(() => f('af_eval', 'uintptr_t')(array[0])));
      host.call(() => f('af_fft', 'uint64_t *', 'uintptr_t', 'double', 'int64_t')(out, array[0], 1, 0));
      console.log('not reached');`;
    expect(runChild(source)).toMatchObject({ signal: 'SIGABRT', stdout: 'refused 101\n' });
  });

  describe('the end of the process', () => {
    const program = (rest: string) => `
      import ${JSON.stringify(moduleUrl('src/index.js'))};
      const { ArrayFireHost } = await import(${JSON.stringify(moduleUrl('adapters/hosts/arrayfire/index.js'))});
      const host = ArrayFireHost.open({ library: ${JSON.stringify(arrayFirePath())} });
      const alloc = host.library.func('af_alloc_device_v2', 'int', ['uint64_t *', 'int64_t']);
      if (alloc(new BigUint64Array(1), 1000) !== 0) throw new Error('no memory');
      ${rest}`;

    test.each([
      ['at its end', ''],
      ['by process.exit', 'process.exit(0);'],
    ])('takes the callbacks out of ArrayFire %s', (_how, rest) => {
      expect(runChild(program(rest))).toMatchObject({ status: 0, signal: null, stderr: '' });
    });

    test('crashes without that: the test above can fail', () => {
      const result = runChild(program('host.endWithProcess = () => {};'));
      expect(result).toMatchObject({ signal: 'SIGABRT', stderr: expect.stringContaining('a manager is still set') });
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
