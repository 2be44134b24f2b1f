import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

let folder: string;

beforeAll(() => {
  compiled();
  folder = mkdtempSync(join(tmpdir(), 'stowage-test-'));
}, 120_000);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** What every child imports. */
const prelude = () => `
  import * as stowage from '${moduleUrl('src/index.js')}';
  import { SimulatedDevice } from '${moduleUrl('adapters/devices/simulated.js')}';
  import { atExit } from '${moduleUrl('src/core/exit-hook.js')}';
  const { MemoryRuntime, MemoryManagerInstaller, defaultRuntime } = stowage;
`;

describe('MemoryRuntime in a process of its own', () => {
  describe('at exit', () => {
    test.each([
      ['the program ends', ''],
      ['process.exit is called', 'process.exit(3);'],
    ])('reports live blocks with bytes and manager, and frees them, when %s', (_, end) => {
      const { status, stdout, stderr } = runChild(`${prelude()}
        const device = new SimulatedDevice();
        const runtime = new MemoryRuntime(device);
        const kept = [runtime.allocate(1000), runtime.allocate(3 << 20)];
        MemoryManagerInstaller.unsetMemoryManager(runtime);
        kept.push(runtime.allocate(100), runtime.allocate(10, { pinned: true }));
        const told = () => console.log(device.liveBytes, device.pinnedLiveBytes, kept.every((each) => each.disposed));
        atExit({ endWithProcess: told }, 'watcher');
        ${end}
      `);
      expect(stderr.trimEnd().split('\n')).toEqual([
        'stowage: 1 block, 1024 bytes (1.00 KiB), of DefaultMemoryManager (ordinary) was live at exit and is freed now',
        'stowage: 2 blocks, 3146752 bytes (3.00 MiB), of CachingMemoryManager (ordinary) were live at exit and are freed now',
        'stowage: 1 block, 1024 bytes (1.00 KiB), of DefaultMemoryManager (pinned) was live at exit and is freed now',
      ]);
      expect({ status, stdout }).toEqual({ status: end === '' ? 0 : 3, stdout: '0 0 true\n' });
    });

    test.each([
      ['its exit code names', "process.on('SIGINT', () => process.exit(130));", '', 'SIGINT'],
      ['its listener is told of', '', "process.on('SIGTERM', () => process.exit(0));", 'SIGTERM'],
    ])('tells what a signal ended that %s from a leak', (_, before, after, signal) => {
      const { stderr } = runChild(`${prelude()}
        ${before}
        const kept = defaultRuntime().allocate(1000);
        ${after}
        setInterval(() => kept.bytes, 1000);
        setTimeout(() => process.kill(process.pid, '${signal}'), 50);
      `);
      expect(stderr).toBe(
        `stowage: 1 block, 1024 bytes (1.00 KiB), of CachingMemoryManager (ordinary) was live when ${signal} ended the process, is freed now, and need not be a leak\n`,
      );
    });

    test('reports nothing when all is free, when the runtime was closed, and when told not to', () => {
      const { status, stderr } = runChild(`${prelude()}
        defaultRuntime().allocate(100).dispose();
        new MemoryRuntime(new SimulatedDevice(), { exitReport: false }).allocate(100);
        const closed = new MemoryRuntime(new SimulatedDevice());
        closed.allocate(100);
        closed.close();
      `);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    });

    test.each(['', 'process.exit(3);', "throw new Error('uncaught');"])(
      'comes after the exit listeners, also late ones: %s',
      (end) => {
        const { stdout } = runChild(`${prelude()}
        process.on('exit', () => console.log('before', block.disposed));
        const runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: { write: () => console.log('report', block.disposed) } });
        const block = runtime.allocate(100);
        process.on('exit', () => {
          console.log('after', block.disposed, runtime.allocate(100).bytes);
          process.once('exit', () => console.log('never'));
        });
        ${end}
      `);
        expect(stdout.trim().split('\n')).toEqual(['before false', 'after false 100', 'report true']);
      },
    );

    test.each([
      ['a listener calls process.exit', "process.on('exit', () => process.exit(3));", 3],
      ['a listener throws', "process.on('exit', () => { process.exitCode = 3; throw new Error('mine'); });", 3],
      ['somebody puts an older process.emit back', 'process.emit = before; process.exitCode = 3;', 3],
    ])('comes also when %s', (_, end, code) => {
      const { status, stdout } = runChild(`
        const before = process.emit;
        process.emit = function (...event) { return Reflect.apply(before, this, event); };
        ${prelude()}
        new MemoryRuntime(new SimulatedDevice(), { exitReport: { write: (text) => console.log(text.includes('live at exit') ? 'report' : text) } }).allocate(100);
        ${end}
      `);
      expect({ status, stdout }).toEqual({ status: code, stdout: 'report\n' });
    });

    test('lets a runtime go about which no scope says anything any more', () => {
      const { stdout } = runChild(
        `${prelude()}
        const used = () => {
          const runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
          const outer = runtime.scope();
          runtime.scope().dispose();
          outer.dispose();
          runtime.close();
          return new WeakRef(runtime);
        };
        const gone = used();
        await new Promise((resolve) => setTimeout(resolve, 1));
        globalThis.gc();
        console.log(gone.deref() === undefined);
      `,
        { nodeArguments: ['--expose-gc'] },
      );
      expect(stdout).toBe('true\n');
    });

    test('leaves the process as it was once every host has ended', () => {
      const { stdout } = runChild(`${prelude()}
        const { emit, reallyExit } = process;
        const listeners = process.listenerCount('exit');
        const runtimes = [1, 2].map(() => new MemoryRuntime(new SimulatedDevice(), { exitReport: false }));
        for (const runtime of runtimes) runtime.close();
        console.log(process.emit === emit, process.reallyExit === reallyExit, process.listenerCount('exit') === listeners);
      `);
      expect(stdout).toBe('true true true\n');
    });

    test.each(['initialize', 'shutdown', 'swap', 'log', 'onFreed', 'native', 'observer', 'oom'])(
      'is quiet and keeps the code when process.exit is called inside %s',
      (where) => {
        const { status, stdout, stderr } = runChild(`${prelude()}
          import { CachingMemoryManager } from '${moduleUrl('managers/index.js')}';
          const table = () => new stowage.MemoryManagerDeviceInterface();
          const leave = (place) => () => { if (place === '${where}') process.exit(3); };
          const device = new SimulatedDevice({ capacityBytes: 1 << 26 });
          const runtime = new MemoryRuntime(device, { exitReport: { write() {} } });
          class Manager extends CachingMemoryManager {
            initialize() { leave('initialize')(); super.initialize(); }
            shutdown() { leave('shutdown')(); super.shutdown(); }
          }
          runtime.events.on('swap', leave('swap')).on('oom', leave('oom'));
          const manager = new Manager(1, table());
          runtime.slot.install(manager);
          manager.setLogStream({ write: leave('log') });
          manager.setLoggingEnabled(true);
          manager.setLogFlushInterval(2);
          const nothing = { free() {}, nativeAlloc() {}, nativeFree() {}, swap() {}, cleanup() {}, outOfMemory() {} };
          runtime.slot.observe({ ...nothing, alloc: leave('observer') });
          runtime.allocate(10, { onFreed: leave('onFreed') }).dispose();
          device.failWhen(() => { leave('native')(); return false; });
          runtime.allocate(50 << 20);
          // It is refused: what is told of that is what leaves here.
          try { runtime.allocate(60 << 20); } catch {}
          runtime.slot.unset();
          runtime.close();
          console.log('came back');
        `);
        expect({ status, stdout, stderr }).toEqual({ status: 3, stdout: '', stderr: '' });
      },
    );

    test('closes every runtime though a report cannot be written', () => {
      const { stdout, stderr } = runChild(`${prelude()}
        import { writeSync } from 'node:fs';
        const write = () => { throw new Error('broken pipe'); };
        for (const name of 'abc') {
          const device = new SimulatedDevice();
          device.failWhen((call) => { if (call.name === 'nativeFree') writeSync(1, name); return false; });
          new MemoryRuntime(device, { exitReport: { write } }).allocate(100);
        }
      `);
      expect(stdout).toBe('abc');
      expect(stderr).toContain('broken pipe');
    });
  });

  test('keeps nothing of a stopped manager while the event loop does not turn', () => {
    const { stdout } = runChild(
      `${prelude()}
        import { CachingMemoryManager } from '${moduleUrl('managers/index.js')}';
        const runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
        class Large extends CachingMemoryManager { words = new Array(100_000).fill(1.5); }
        const used = () => { gc(); return process.memoryUsage().heapUsed; };
        const before = used();
        for (let i = 0; i < 100; i++) {
          runtime.slot.install(new Large(1, new stowage.MemoryManagerDeviceInterface()));
          runtime.slot.unlock(runtime.slot.alloc(100, true), true);
        }
        const managers = (used() - before) / 800_000;
        console.log(managers < 5 ? 'few' : managers);
      `,
      { nodeArguments: ['--expose-gc'] },
    );
    expect(stdout).toBe('few\n');
  });

  test('frees a handle that was dropped, with a leak event', () => {
    const { status, stdout, stderr } = runChild(
      `${prelude()}
        const runtime = new MemoryRuntime(new SimulatedDevice());
        const ptrs = [];
        (() => { for (let i = 1; i <= 3; i++) ptrs.push(runtime.allocate(1000 * i).ptr); })();
        const held = runtime.allocate(7);
        (() => { runtime.allocate(8).dispose(); runtime.allocate(9).move().dispose(); })();
        const leaks = [];
        runtime.events.on('leak', (event) => leaks.push(event));
        for (let i = 0; i < 50 && leaks.length < 3; i++) {
          gc();
          await new Promise((done) => setTimeout(done, 5));
        }
        leaks.sort((a, b) => a.bytes - b.bytes);
        console.log(leaks.map(({ slot, bytes }) => slot + bytes).join(), leaks.every(({ ptr }, i) => ptr === ptrs[i]));
        console.log(runtime.slot.liveBlocks);
        held.dispose();
      `,
      { nodeArguments: ['--expose-gc', '--no-warnings'] },
    );
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: 'ordinary1000,ordinary2000,ordinary3000 true\n1\n',
      stderr: '',
    });
  });

  test('survives a dropped handle whose block is damaged, with a warning', () => {
    const { status, stderr } = runChild(
      `${prelude()}
        import { CachingMemoryManager, GuardedMemoryManager } from '${moduleUrl('managers/index.js')}';
        import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
        const runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
        const caching = new CachingMemoryManager(1, new stowage.MemoryManagerDeviceInterface());
        runtime.slot.install(new GuardedMemoryManager(caching, { memory: runtime.device }));
        function careless() {
          const view = runtime.allocate(100).view(Uint8Array);
          new Uint8Array(view.buffer)[view.byteOffset + 100] = 1;
        }
        careless();
        let warned = false;
        process.on('warning', () => (warned = true));
        for (let i = 0; i < 50 && !warned; i++) {
          gc();
          await new Promise((done) => setTimeout(done, 5));
        }
      `,
      { nodeArguments: ['--expose-gc'] },
    );
    expect(status).toBe(0);
    expect(stderr).toContain('MemoryError: ');
  });

  test('tells where a dropped handle was allocated when sites are tracked', () => {
    const { stdout, stderr } = runChild(
      `${prelude()}
        import { CachingMemoryManager, TrackingMemoryManager } from '${moduleUrl('managers/index.js')}';
        const runtime = new MemoryRuntime(new SimulatedDevice());
        const caching = new CachingMemoryManager(1, new stowage.MemoryManagerDeviceInterface());
        runtime.slot.install(new TrackingMemoryManager(caching, { sites: true }));
        function forgetful() { runtime.allocate(1000); }
        forgetful();
        const leaks = [];
        runtime.events.on('leak', (event) => leaks.push(event));
        for (let i = 0; i < 50 && leaks.length < 1; i++) {
          gc();
          await new Promise((done) => setTimeout(done, 5));
        }
        console.log(leaks.map(({ bytes, site }) => bytes + ' ' + /at (forgetful)/.exec(site)?.[1]).join());
      `,
      { nodeArguments: ['--expose-gc', '--no-warnings'] },
    );
    expect([stdout, stderr]).toEqual(['1000 forgetful\n', '']);
  });

  test('loses no line of a call log that goes to a file when process.exit is called', () => {
    const path = join(folder, 'call.log');
    const { status, stderr } = runChild(`${prelude()}
      import { CachingMemoryManager } from '${moduleUrl('managers/index.js')}';
      const { FileLogSink, MemoryManagerDeviceInterface } = stowage;
      const runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
      const logStream = new FileLogSink(${JSON.stringify(path)});
      const manager = new CachingMemoryManager(1, new MemoryManagerDeviceInterface(), { logStream });
      new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
      const blocks = [];
      for (let i = 0; i < 75; i++) blocks.push(runtime.allocate(512));
      for (const block of blocks.slice(1)) block.dispose();
      process.exit(5);
    `);
    expect({ status, stderr }).toEqual({ status: 5, stderr: '' });
    const first = 2 ** 32;
    const addresses = Array.from({ length: 75 }, (_, i) => first + 512 * i);
    expect(readFileSync(path, 'utf8').split('\n')).toEqual([
      'initialize ',
      `nativeAlloc 2097152 ${first} `,
      ...addresses.map((address) => `alloc 512 1 ${address} `),
      ...addresses.slice(1).map((address) => `unlock ${address} 1 `),
      'shutdown ',
      `nativeFree ${first} `,
      '',
    ]);
  });

  test('loads no native code before the first native call', () => {
    const { stdout, stderr } = runChild(`
      import { createRequire } from 'node:module';
      const { cache } = createRequire('${moduleUrl('src/index.js')}');
      const loaded = () => Object.keys(cache).some((path) => path.includes('koffi'));
      const { defaultRuntime, MemoryManagerInstaller } = await import('${moduleUrl('src/index.js')}');
      const steps = [loaded()];
      const runtime = defaultRuntime();
      MemoryManagerInstaller.installDefaultMemoryManager();
      steps.push(loaded());
      runtime.allocate(1).dispose();
      steps.push(loaded());
      console.log(steps.join());
    `);
    expect({ stdout, stderr }).toEqual({ stdout: 'false,false,true\n', stderr: '' });
  });

  test('shares hosts, managers and defaults with another copy of the package', () => {
    const copy = mkdtempSync(join(dirname(compiled()), 'copy-'));
    cpSync(compiled(), copy, { recursive: true });
    const copyUrl = (path: string) => pathToFileURL(join(copy, relative(compiled(), fileURLToPath(moduleUrl(path))))).href;
    try {
      const { stdout, stderr } = runChild(`
        const first = await import('${moduleUrl('src/index.js')}');
        const second = await import('${copyUrl('src/index.js')}');
        const { SimulatedDevice } = await import('${moduleUrl('adapters/devices/simulated.js')}');
        const { CachingMemoryManager } = await import('${copyUrl('managers/index.js')}');
        const facts = [first.MemoryRuntime !== second.MemoryRuntime];
        facts.push(first.defaultRuntime() === second.defaultRuntime());
        const { processState } = await import('${moduleUrl('src/core/process-state.js')}');
        facts.push(processState() === globalThis[Symbol.for('stowage')]);
        const manager = new CachingMemoryManager(1, new second.MemoryManagerDeviceInterface());
        facts.push(first.MemoryManagerInstaller.getImpl(manager.getHandle()) === manager);
        new second.MemoryManagerInstaller(manager).setAsMemoryManager();
        facts.push(first.MemoryManagerInstaller.currentlyInstalledMemoryManager() === manager);
        const block = first.defaultRuntime().allocate(100);
        facts.push(manager.allocated(block.ptr) === 512);
        second.MemoryManagerInstaller.unsetMemoryManager();
        facts.push(manager.lifecycle.state);
        block.dispose();
        facts.push(manager.lifecycle.state);
        try { second.defaultRuntime().allocate(-1); } catch (error) {
          facts.push(error instanceof second.MemoryError, second.MemoryError.is(error, 'ERR_MEM_INVALID_SIZE'));
        }
        console.log(facts.join());
      `);
      expect({ stdout, stderr }).toEqual({
        stdout: 'true,true,true,true,true,true,draining,stopped,false,true\n',
        stderr: '',
      });
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
});
