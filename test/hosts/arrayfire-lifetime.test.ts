import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ArrayFireHost } from '../../adapters/hosts/arrayfire/index.js';
import { LimitingMemoryManager } from '../../managers/index.js';
import { KiB, MiB } from '../../src/core/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';
import { exampleAsJavaScript } from '../fixtures/compiled-examples.js';
import { AF_ERR_NO_MEM, AF_ERR_NOT_SUPPORTED, AF_ERR_UNKNOWN, arrayFirePath } from './arrayfire.js';
import { arrayFireBench, caching, openHost, SUM, statusBy } from './arrayfire-bench.js';
import { install } from './test-managers.js';

describe('ArrayFireHost', () => {
  const bench = arrayFireBench();

  describe('open', () => {
    test('sets every callback', () => {
      expect(bench.af.f.fixture_missing_callbacks()).toBe(0);
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
      bench.host.dispose();
      bench.af.f.fixture_set_backend(2);
      let failures = 0;
      for (let nth = 1; ; nth++) {
        bench.af.takeCalls();
        bench.af.f.fixture_fail_at(nth);
        const status = statusBy(() => {
          bench.host = openHost(true);
        });
        bench.af.f.fixture_fail_at(0);
        if (status === 0) break;
        expect(status).toBe(AF_ERR_UNKNOWN);
        failures++;
        const set = bench.af.takeCalls();
        expect(set.filter((call) => call === 'shutdown').length).toBe(set.filter((call) => call === 'initialize').length);
        expect(bench.af.work()).toEqual(SUM);
        expect(bench.af.takeCalls()).toEqual(['']);
      }
      // Version, devices and backend; and for each of two handles: to make it, 14 callbacks, to set it.
      expect(failures).toBe(3 + 2 * (1 + 14 + 1));
    });

    test('tells when the backend has no pinned memory, and takes nothing over then', () => {
      bench.host.dispose();
      expect(statusBy(() => openHost(true))).toBe(AF_ERR_NOT_SUPPORTED);
      bench.af.takeCalls();
      expect(bench.af.work()).toEqual(SUM);
      expect(bench.af.takeCalls()).toEqual(['']);
    });

    test('refuses calls that are not synchronous on the CPU backend alone', () => {
      bench.host.dispose();
      const options = { library: arrayFirePath(), synchronousCalls: false };
      expect(codeOf(() => ArrayFireHost.open(options))).toBe('ERR_MEM_INVALID_ARGUMENT');
      bench.af.f.fixture_set_backend(2);
      bench.host = ArrayFireHost.open(options);
      expect(bench.host.version).toBe('3.10.0');
    });

    test('refuses a version that is too old, and a library that is not there', () => {
      bench.host.dispose();
      bench.af.f.fixture_set_minor(7);
      expect(() => openHost()).toThrow(/is version 3\.7\.0, and 3\.8 is needed/);
      expect(codeOf(() => ArrayFireHost.open({ library: 'libno-such.so' }))).toBe('ERR_MEM_DEVICE_ABSENT');
    });
  });

  describe('replaced', () => {
    test('gives cached memory back in time, can be closed, and leaves living arrays their memory', () => {
      const kept = bench.af.constant(1, 1000);
      bench.af.release(bench.af.constant(1, 2 * MiB));
      const reserved = bench.host.slot.reservedBytes;
      bench.af.do('af_unset_memory_manager');
      expect(bench.host.replaced).toBe(true);
      expect(bench.host.slot.reservedBytes).toBeLessThan(reserved);
      expect(codeOf(() => bench.host.slot.alloc(8 * MiB, false))).toBe('ERR_MEM_OUT_OF_MEMORY');
      expect(bench.host.slot.liveBlocks).toBe(1);
      const next = openHost();
      bench.host.dispose();
      bench.host = next;
      expect(bench.af.read(kept, 1000)[0]).toBe(1);
      bench.af.release(kept);
      bench.lostSegments++;
      expect(bench.af.f.fixture_native_live()).toBe(bench.lostSegments);
    });
  });

  describe('dispose', () => {
    test('is refused while arrays live, and changes nothing then', () => {
      const array = bench.af.constant(1, 10);
      expect(codeOf(() => bench.host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      expect(bench.af.read(array, 10)[0]).toBe(1);
      bench.af.release(array);
    });

    test('is refused inside a native call', () => {
      install(bench.host, new LimitingMemoryManager(caching(), { limitBytes: KiB }));
      let code = '';
      bench.host.events.once('oom', () => {
        code = codeOf(() => bench.host.dispose());
      });
      expect(statusBy(() => bench.af.constant(1, 2000))).toBe(AF_ERR_NO_MEM);
      expect(code).toBe('ERR_MEM_REENTRANT');
    });

    test('gives native memory back before it unsets, and leaves ArrayFire its own manager', () => {
      bench.af.work();
      expect(bench.af.f.fixture_native_live()).toBeGreaterThan(bench.lostSegments);
      bench.af.takeCalls();
      bench.host.dispose();
      expect(bench.af.takeCalls()).toEqual(['shutdown']);
      expect(bench.af.f.fixture_native_live()).toBe(bench.lostSegments);
      expect(bench.af.work()).toEqual(SUM);
      expect(codeOf(() => bench.host.managerOf(bench.host.handle))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(bench.host.callbacks.disposed).toBe(true);
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
