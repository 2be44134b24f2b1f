import { beforeAll, describe, expect, test } from 'vitest';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

beforeAll(() => {
  compiled();
}, 120_000);

const TIMEOUT_MS = 60_000;

describe('CpuDevice in a process of its own', () => {
  test(
    'leaves views readable and writable after the memory is freed',
    () => {
      const { status, signal, stdout } = runChild(`
        import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
        const device = new CpuDevice();
        const views = [];
        // The C library maps the largest anew, whatever was freed before.
        for (const bytes of [1, 100, 4096, 65536, 3 << 20, 64 << 20]) {
          for (const [alloc, free] of [['nativeAlloc', 'nativeFree'], ['pinnedAlloc', 'pinnedFree']]) {
            const ptr = device[alloc](bytes);
            views.push(device.view(ptr, bytes).fill(1));
            device[free](ptr);
          }
        }
        if (device.virtual) {
          const ptr = device.virtual.reserve(1 << 20);
          device.virtual.commit(ptr, 65536);
          views.push(new Uint8Array(device.view(ptr, 65536).buffer));
          device.virtual.decommit(ptr, 65536);
          views.at(-1).fill(2);
          device.virtual.release(ptr, 1 << 20);
        }
        for (let i = 0; i < 1000; i++) device.nativeFree(device.nativeAlloc(1 + i * 977));
        let sum = 0;
        for (const view of views) { view[view.length - 1] = 3; sum += view[0] + view[view.length - 1]; view.fill(4); }
        for (let i = 0; i < 1000; i++) device.nativeFree(device.nativeAlloc(1 + i * 977));
        console.log('alive', device.retiredBytes > 128 << 20, process.memoryUsage.rss() < 2 ** 30);
      `);
      expect({ status, signal, stdout }).toEqual({ status: 0, signal: null, stdout: 'alive true true\n' });
    },
    TIMEOUT_MS,
  );

  test(
    'gives the addresses of viewed memory back when no array is left, and not before',
    () => {
      const { status, signal, stdout } = runChild(
        `
        import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
        const device = new CpuDevice();
        const settle = async () => { for (let i = 0; i < 10; i++) { gc(); await new Promise((r) => setTimeout(r, 5)); } };
        let kept = [];
        const use = (bytes) => {
          const ptr = device.nativeAlloc(bytes);
          const view = device.view(ptr, bytes).fill(1);
          device.nativeFree(ptr);
          return view;
        };
        const reserve = () => {
          const ptr = device.virtual.reserve(1 << 30);
          device.virtual.commit(ptr, 65536);
          const view = device.view(ptr, 65536).fill(1);
          device.virtual.release(ptr, 1 << 30);
          return view;
        };
        // A function: the registers of the module's own frame keep what passed through them.
        (() => {
          for (let i = 0; i < 20; i++) { use(100); use(1 << 20); reserve(); }
          kept.push(use(200), use(2 << 20), reserve());
        })();
        await settle();
        const held = [device.keptBytes, device.retiredBytes];
        (() => { for (const view of kept) view.fill(3); })();
        kept = undefined;
        await settle();
        console.log(JSON.stringify([held, device.keptBytes, device.retiredBytes]));
        `,
        { nodeArguments: ['--expose-gc'] },
      );
      const held = [256, 2 ** 21 + 2 ** 30];
      expect({ status, signal, stdout }).toEqual({ status: 0, signal: null, stdout: `${JSON.stringify([held, 0, 0])}\n` });
    },
    TIMEOUT_MS,
  );

  test(
    'uses addresses again that wait, in code that never lets the event loop turn',
    () => {
      const { status, signal, stdout } = runChild(`
        import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
        const device = new CpuDevice({ granularityBytes: 2 ** 30 });
        let most = 0;
        // 152 TiB in all; a process has 128. V8 collects for each.
        for (let i = 0; i < 38; i++) {
          const ptr = device.virtual.reserve(2 ** 42);
          device.virtual.commit(ptr, 2 ** 30);
          const view = device.view(ptr, 100);
          if (view[7] !== 0) throw new Error('old data');
          view[7] = 1;
          device.virtual.release(ptr, 2 ** 42);
          most = Math.max(most, device.retiredBytes);
        }
        console.log(most <= 2 ** 43);
      `);
      expect({ status, signal, stdout }).toEqual({ status: 0, signal: null, stdout: 'true\n' });
    },
    TIMEOUT_MS,
  );

  test.runIf(process.platform === 'linux')(
    'hands out unpinned memory and says so once when the system refuses to lock',
    () => {
      const { status, stdout, stderr } = runChild(
        `
        import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
        const device = new CpuDevice();
        // Loads everything now: after the change of user nothing may be readable.
        device.nativeFree(device.nativeAlloc(64));
        if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534); }
        const events = [];
        device.events.on('pin-failed', (event) => events.push(event));
        const ptrs = [device.pinnedAlloc(100), device.pinnedAlloc(100000)];
        device.view(ptrs[1], 100000).fill(1);
        const failures = device.pinFailures;
        for (const ptr of ptrs) device.pinnedFree(ptr);
        const careless = new CpuDevice();
        careless.events.on('pin-failed', () => { throw new Error('listener'); });
        let thrown = '';
        try { careless.pinnedAlloc(100); } catch (error) { thrown = error.message; }
        console.log(JSON.stringify({
          failures, events: events.length, first: events[0].ptr === ptrs[0], bytes: events[0].bytes,
          reason: events[0].reason, thrown, left: careless.liveBytes,
        }));
        `,
        { shell: 'ulimit -l 0' },
      );
      expect(stderr).toBe('');
      expect(status).toBe(0);
      expect(JSON.parse(stdout)).toEqual({
        failures: 2,
        events: 1,
        first: true,
        bytes: 100,
        reason: expect.stringMatching(/^mlock failed: E(NOMEM|PERM|AGAIN)/),
        thrown: 'listener',
        left: 0,
      });
    },
    TIMEOUT_MS,
  );

  test.runIf(process.platform === 'linux')(
    'answers null, and commits nothing, when the address space is limited',
    () => {
      const { stdout } = runChild(
        `
        import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
        const device = new CpuDevice();
        device.nativeFree(device.nativeAlloc(64));
        console.log(device.nativeAlloc(2 ** 36), device.pinnedAlloc(2 ** 36), device.virtual.reserve(2 ** 36), device.liveBytes);
        `,
        { shell: 'ulimit -v 33554432' },
      );
      expect(stdout).toBe('0 0 0 0\n');
    },
    TIMEOUT_MS,
  );
});

describe('koffi', () => {
  test(
    'is loaded by the first native call, not by an import or a constructor',
    () => {
      const modules = [
        'devices/cpu',
        'devices/simulated',
        'ffi/koffi',
        'ffi/library',
        'os/libc',
        'os/aligned-memory',
        'os/bytes',
        'os/mapping',
        'os/memory-limits',
      ];
      const { status, stdout } = runChild(`
        import { createRequire } from 'node:module';
        const cache = createRequire('${moduleUrl('package.json')}').cache;
        const loaded = () => Object.keys(cache).some((path) => path.includes('koffi'));
        for (const path of ${JSON.stringify(modules.map((name) => moduleUrl(`adapters/${name}.js`)))}) await import(path);
        const { CpuDevice } = await import('${moduleUrl('adapters/devices/cpu.js')}');
        const { isKoffiLoaded } = await import('${moduleUrl('adapters/ffi/koffi.js')}');
        const device = new CpuDevice();
        device.getMaxMemorySize(0);
        console.log(loaded(), isKoffiLoaded());
        device.nativeAlloc(64);
        console.log(loaded(), isKoffiLoaded());
      `);
      expect(stdout).toBe('false false\ntrue true\n');
      expect(status).toBe(0);
    },
    TIMEOUT_MS,
  );
});

const IS_GLIBC =
  process.platform === 'linux' && 'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header;

describe('what gives native memory back', () => {
  test.each(['the main thread', 'a worker'])('is declared when the memory is got, in %s', (place) => {
    const { status, signal, stdout, stderr } = runChild(
      `
      import { Worker } from 'node:worker_threads';
      const source = \`
        import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
        import { NativeLibrary } from '${moduleUrl('adapters/ffi/library.js')}';
        import { MallocBackend, PosixMmapBackend } from '${moduleUrl('src/shared/backends/nameless-backends.js')}';
        const declared = [];
        for (const method of ['func', 'optional']) {
          const declare = NativeLibrary.prototype[method];
          NativeLibrary.prototype[method] = function (name, ...types) {
            declared.push(name);
            return declare.call(this, name, ...types);
          };
        }
        const device = new CpuDevice();
        const use = () => {
          const segments = [100, 1 << 20].map((bytes) => [device.nativeAlloc(bytes), device.pinnedAlloc(bytes)]);
          const viewed = [100, 1 << 20].map((bytes) => [device.nativeAlloc(bytes), device.pinnedAlloc(bytes)]);
          for (const ptr of viewed.flat()) device.view(ptr, 100).fill(1);
          const ranges = [device.virtual?.reserve(1 << 20) ?? 0, device.virtual?.reserve(1 << 20) ?? 0];
          if (ranges[1] !== 0) device.virtual.commit(ranges[1], 1 << 20);
          if (ranges[1] !== 0) device.view(ranges[1], 100).fill(1);
          const regions = [MallocBackend.create(1, 1 << 16), ...(device.virtual ? [PosixMmapBackend.create(2, 1 << 16)] : [])];
          const before = declared.length;
          for (const [native, pinned] of [...segments, ...viewed]) { device.nativeFree(native); device.pinnedFree(pinned); }
          if (ranges[1] !== 0) device.virtual.decommit(ranges[1], 1 << 20);
          for (const ptr of ranges) if (ptr !== 0) device.virtual.release(ptr, 1 << 20);
          regions.pop().destroy();
          return before;
        };
        // A function: the registers of the module's own frame keep what passed through them.
        const before = (() => use())();
        for (let i = 0; i < 10; i++) { gc(); await new Promise((r) => setTimeout(r, 5)); }
        console.log(JSON.stringify([before > 0, declared.slice(before), device.liveBytes, device.retiredBytes, device.keptBytes]));\`;
      if ('${place}' === 'a worker') new Worker(source, { eval: true });
      else await import('data:text/javascript,' + encodeURIComponent(source));
      `,
      { nodeArguments: ['--expose-gc', '--no-warnings'] },
    );
    expect({ status, signal, stdout, stderr }).toEqual({ status: 0, signal: null, stdout: '[true,[],0,0,0]\n', stderr: '' });
  });
});

describe('native memory of a worker', () => {
  test.runIf(IS_GLIBC).each(['ends', 'calls process.exit', 'is terminated'])(
    'is given back when its thread %s',
    (mode) => {
      const { status, signal, stdout, stderr } = runChild(`
        import { Worker } from 'node:worker_threads';
        const source = \`
          import { parentPort } from 'node:worker_threads';
          import { totalmem } from 'node:os';
          import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
          import { MemoryManagerDeviceInterface } from '${moduleUrl('src/core/device-interface.js')}';
          import { PoolMemoryManager } from '${moduleUrl('managers/pool/pool-memory-manager.js')}';
          import { MemoryRuntime } from '${moduleUrl('src/runtime/memory-runtime.js')}';
          import { PosixMmapBackend } from '${moduleUrl('src/shared/backends/nameless-backends.js')}';
          const device = new CpuDevice();
          for (let i = 0; i < 10; i++) {
            device.fill(device.nativeAlloc(1 << 20), 1, 1 << 20);
            device.fill(device.pinnedAlloc(1 << 16), 1, 1 << 16);
            const freed = device.nativeAlloc(100 + i * 70000);
            device.view(freed, 100);
            device.nativeFree(freed);
          }
          // More than the machine has is refused, or given back too.
          for (const bytes of [2 ** 30, 2 ** 30 * Math.ceil(totalmem() / 2 ** 29)]) {
            const range = device.virtual.reserve(bytes);
            if (range === 0) continue;
            device.virtual.commit(range, 10 << 20);
            device.view(range, 10 << 20).fill(1);
          }
          const runtime = new MemoryRuntime(device, { exitReport: false });
          runtime.slot.install(new PoolMemoryManager(1, new MemoryManagerDeviceInterface()));
          device.fill(runtime.slot.alloc(10 << 20, true), 1, 10 << 20);
          PosixMmapBackend.create(1, 10 << 20).region.uint8.fill(1);
          parentPort.postMessage('up');
          if ('${mode}' === 'calls process.exit') process.exit(0);
          if ('${mode}' === 'is terminated') setInterval(() => {}, 1000);\`;
        const fields = async () => {
          const text = (await import('node:fs')).readFileSync('/proc/self/status', 'utf8');
          return ['VmRSS', 'VmLck'].map((name) => Number(new RegExp(name + ':\\\\s+(\\\\d+)').exec(text)[1]) / 1024);
        };
        const run = (count) => Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
          const worker = new Worker(source, { eval: true });
          worker.on('error', reject).on('exit', resolve);
          worker.once('message', () => { if ('${mode}' === 'is terminated') worker.terminate(); });
        })));
        await run(2);
        const before = await fields();
        for (let i = 0; i < 3; i++) await run(2);
        const after = await fields();
        // 6 workers held 41 MiB each, or more.
        console.log(after[0] - before[0] < 100, after[1] - before[1]);
      `);
      expect({ status, signal, stdout, stderr }).toEqual({ status: 0, signal: null, stdout: 'true 0\n', stderr: '' });
    },
    TIMEOUT_MS,
  );
});
