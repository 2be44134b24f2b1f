import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, DefaultMemoryManager, PoolMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { LIMIT_MS } from '../config/limits.js';
import '../../src/defaults.js';
import { FileLogSink } from '../../src/runtime/file-log-sink.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { loadTrace, parseTrace, recordTrace, summariseTrace, TraceKind } from '../../src/trace/index.js';
import { searchRuns } from '../config/search.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-recording-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (): string => join(folder, `r${files++}.stowtrace`);
const runtimeOf = (deviceCount = 1): MemoryRuntime =>
  new MemoryRuntime(new SimulatedDevice({ deviceCount, virtual: true }), { exitReport: false });

describe('recordTrace', () => {
  test('records what random programs do, to the number', async () => {
    const step = fc.record({
      call: fc.constantFrom('alloc', 'alloc', 'alloc', 'free', 'free', 'swap', 'cleanup', 'refused'),
      bytes: fc.oneof(fc.constantFrom(0, 1), fc.nat(2 ** 22)),
      pick: fc.nat(100),
      device: fc.nat(1),
      pinned: fc.boolean(),
      tag: fc.constantFrom(undefined, 'weights', 'zwölf'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const file = newFile();
        const runtime = runtimeOf(2);
        const recorder = recordTrace(runtime, file);
        const live: ReturnType<MemoryRuntime['allocate']>[] = [];
        const done: (string | number | undefined)[][] = [];
        let makers = 0;
        for (const { call, bytes, pick, device, pinned, tag } of steps) {
          runtime.device.activate(device);
          const space = pinned ? 'pinned' : '';
          if (call === 'alloc') {
            const block = runtime.allocate(bytes, { pinned, ...(tag === undefined ? {} : { tag }) });
            live.push(block);
            done.push(['alloc', bytes, block.ptr, device, tag ?? '', space]);
          } else if (call === 'free' && live.length > 0) {
            const [block] = live.splice(pick % live.length, 1);
            done.push(['free', block!.bytes, block!.ptr]);
            block!.dispose();
          } else if (call === 'swap') {
            const next = managerNumber(makers++ % 2);
            new MemoryManagerInstaller(next, runtime).setAsMemoryManager();
            done.push(['swap', next.name]);
          } else if (call === 'refused') {
            expect(() => runtime.allocate(2 ** 52)).toThrow();
            done.push(['refused', 2 ** 52, device]);
          }
        }
        recorder.dispose();
        const events = await loadTrace(file);
        const blocks = live.filter(({ bytes }) => bytes > 0).length;
        expect([events.cutOff, events.unknownFrees, events.liveBlocks]).toEqual([undefined, 0, blocks]);
        const told = [...Array(events.length).keys()].flatMap((i): (string | number)[][] => {
          switch (events.kindOf(i)) {
            case TraceKind.alloc:
              return [['alloc', events.bytesOf(i), events.pointerOf(i), events.deviceOf(i), events.tagOf(i), events.spaceOf(i)]];
            case TraceKind.free:
              return [['free', events.bytesOf(i), events.pointerOf(i)]];
            case TraceKind.swap:
              return events.managerOf(i).startsWith('CachingMemoryManager') || events.spaceOf(i) !== ''
                ? []
                : [['swap', events.managerOf(i).replace(/ #\d+$/, '')]];
            case TraceKind.outOfMemory:
              return [['refused', events.bytesOf(i), events.deviceOf(i)]];
            default:
              return [];
          }
        });
        expect(told).toEqual(done);
        runtime.close();
      }),
      { numRuns: searchRuns(40) },
    );
  });

  test("records each slot's native memory as the slot counts it", async () => {
    const file = newFile();
    const runtime = runtimeOf();
    const recorder = recordTrace(runtime, file);
    new MemoryManagerInstaller(managerNumber(1), runtime).setAsMemoryManager();
    const blocks = [2 ** 20, 100, 2 ** 24].map((bytes) => runtime.allocate(bytes));
    for (const block of blocks) block.dispose();
    runtime.slot.signalMemoryCleanup();
    const { peakReservedBytes, nativeCommits, nativeDecommits } = runtime.slot;
    runtime.close();
    recorder.dispose();
    const events = await loadTrace(file);
    expect(events.peakReservedBytes).toBe(peakReservedBytes);
    expect(events.count(TraceKind.nativeAlloc)).toBe(nativeCommits);
    expect(events.count(TraceKind.nativeFree)).toBeGreaterThanOrEqual(nativeDecommits);
  });

  test('counts the frees of blocks from before it began', async () => {
    const file = newFile();
    const runtime = runtimeOf();
    const before = runtime.allocate(8);
    const recorder = recordTrace(runtime, file);
    before.dispose();
    runtime.allocate(16).dispose();
    recorder.dispose();
    const events = await loadTrace(file);
    expect([events.unknownFrees, events.calls, events.managerOf(0)]).toEqual([1, 2, 'CachingMemoryManager']);
    runtime.close();
  });

  test('names managers of the same class apart', async () => {
    const file = newFile();
    const runtime = runtimeOf();
    const recorder = recordTrace(runtime, file);
    for (const maker of [0, 0]) new MemoryManagerInstaller(managerNumber(maker), runtime).setAsMemoryManager();
    recorder.dispose();
    const events = await loadTrace(file);
    expect([events.managerOf(0), events.managerOf(1)]).toEqual(['DefaultMemoryManager', 'DefaultMemoryManager #2']);
    runtime.close();
  });

  test('records sites on request', async () => {
    const file = newFile();
    const runtime = runtimeOf();
    const recorder = recordTrace(runtime, file, { sites: 2 });
    function load() {
      return runtime.allocate(8);
    }
    load();
    recorder.dispose();
    const { live } = await summariseTrace(file);
    expect(live).toHaveLength(1);
    expect(live[0]!.site.split('\n')).toHaveLength(2);
    expect(live[0]!.site).toMatch(/^at load \(.*recording\.test\.ts:\d+:\d+\)\n/);
    runtime.close();
  });

  test('keeps its memory bounded when every allocation has a tag of its own', async () => {
    const file = newFile();
    const runtime = runtimeOf();
    const recorder = recordTrace(runtime, file);
    for (let i = 0; i < 70_000; i++) runtime.allocate(8, { tag: `request ${i}` }).dispose();
    recorder.dispose();
    const events = await loadTrace(file);
    const last = events.length - 2;
    expect([events.allocations, events.tagOf(last), events.tagOf(last - 2)]).toEqual([70_000, 'request 69999', 'request 69998']);
    runtime.close();
  });

  test('makes a file for its owner alone, and refuses one that cannot be written', () => {
    const file = newFile();
    const runtime = runtimeOf();
    recordTrace(runtime, file).dispose();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(() => recordTrace(runtime, join(folder, 'none', 'x'))).toThrow('its folder does not exist');
    expect(() => recordTrace(runtime, file, { sites: -1 })).toThrow(MemoryError);
    expect(() => recordTrace(runtime, file, { name: 5 as never })).toThrow('name is 5, but must be text');
    runtime.close();
  });

  test.skipIf(!existsSync('/dev/full'))('ends with a warning on a full disk, and allocations go on', () => {
    const runtime = runtimeOf();
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue(undefined);
    const recorder = recordTrace(runtime, '/dev/full');
    runtime.allocate(8).dispose();
    expect(warned).toHaveBeenCalledOnce();
    expect(warned.mock.calls[0]![0]).toMatchObject({ code: 'ERR_MEM_TRACE_WRITE', facts: { file: '/dev/full' } });
    recorder.dispose();
    warned.mockRestore();
    runtime.close();
  });

  test('ends with a warning when a later write fails, and what was written before is read', async () => {
    const file = newFile();
    const runtime = runtimeOf();
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue(undefined);
    const recorder = recordTrace(runtime, file);
    for (let i = 0; i < 10_000; i++) runtime.allocate(8).dispose();
    const writes = vi.spyOn(FileLogSink.prototype, 'write').mockImplementation(() => {
      throw new Error('no space left');
    });
    for (let i = 0; i < 20_000; i++) runtime.allocate(8).dispose();
    expect([writes.mock.calls.length, warned.mock.calls.length]).toEqual([1, 1]);
    writes.mockRestore();
    const events = await loadTrace(file);
    expect(events.calls).toBeGreaterThan(5000);
    expect(events.cutOff).toBeDefined();
    recorder.dispose();
    expect(() => recorder.add(runtime)).toThrow('this trace recorder was disposed');
    warned.mockRestore();
    runtime.close();
  });
});

describe('a recording', () => {
  const GOLDEN = join(import.meta.dirname, 'golden', 'app.stowtrace.hex');
  const bytesOf = (path: string): Buffer =>
    Buffer.from(readFileSync(path, 'utf8').replace(/#.*$/gm, '').replace(/\s+/g, ''), 'hex');

  test('is read as its format says', () => {
    const events = parseTrace(bytesOf(GOLDEN), 'x');
    const told = [...Array(events.length).keys()].map((i) =>
      [events.kindOf(i), events.bytesOf(i), events.pointerOf(i), events.timeOf(i), events.deviceOf(i), events.streamOf(i)].concat(
        [events.managerOf(i), events.tagOf(i), events.spaceOf(i)] as never[],
      ),
    );
    expect([events.name, events.cutOff]).toEqual(['a', undefined]);
    expect(told).toEqual([
      [4, 0, 0, 500, 0, 0, 'M', '', ''],
      [2, 4096, 2 ** 33, 500, 1, 0, 'M', '', ''],
      [0, 256, 2 ** 33, 500, 1, 7, 'M', 't', ''],
      [0, 2 ** 32, 2 ** 33 + 256, 500, 1, 7, 'M', 't', 'p'],
      [1, 256, 2 ** 33, 500, 1, 7, 'M', '', ''],
      [6, 16, 0, 500, 1, 7, 'M', '', ''],
      [5, 0, 0, 500, 1, 7, 'M', '', ''],
      [3, 4096, 2 ** 33, 500, 1, 7, 'M', '', ''],
    ]);
  });

  test('is read up to its last whole block when it was cut off', async () => {
    const file = newFile();
    const runtime = runtimeOf();
    const recorder = recordTrace(runtime, file);
    for (let i = 0; i < 30_000; i++) runtime.allocate(8).dispose();
    recorder.dispose();
    runtime.close();
    const { size } = statSync(file);
    truncateSync(file, size - 1);
    const events = await loadTrace(file);
    expect(events.length).toBeGreaterThan(50_000);
    expect(events.length).toBeLessThan(60_000);
    expect(events.cutOff).toBe(`the recording was cut off after ${events.length} events`);
  });

  test.each([
    ['another version', 8, 'byte 8: version 65537 of the format is not known'],
    ['a changed header', 22, 'byte 16: the header is damaged: its checksum differs'],
    ['a changed block', 60, 'the block is damaged: its checksum differs'],
    ['no block', 33, 'byte 32: no block begins here'],
  ])('with %s is refused with the place', (_, at, reason) => {
    const bytes = bytesOf(GOLDEN);
    bytes[at === 8 ? 10 : at]! ^= 1;
    expect(() => parseTrace(bytes, 'x')).toThrow(reason);
  });
});

describe('STOWAGE_TRACE', () => {
  beforeAll(() => void compiled(), 120_000);
  const program = (body: string): string =>
    `import { defaultRuntime, MemoryRuntime } from ${JSON.stringify(moduleUrl('src/index.js'))};\n${body}`;

  test('records a program that does not know of it, to its exit', async () => {
    const file = newFile();
    const app = program('const rt = defaultRuntime(); globalThis.kept = rt.allocate(1000); process.exit(0);');
    const { status, stderr } = runChild(app, { env: { STOWAGE_TRACE: file } });
    expect([status, stderr]).toEqual([0, expect.stringContaining('1 block, 1024 bytes')]);
    const events = await loadTrace(file);
    expect([events.cutOff, events.allocations, events.liveBlocks]).toEqual([undefined, 1, 1]);
    expect(events.count(TraceKind.nativeFree)).toBe(events.count(TraceKind.nativeAlloc));
  });

  test('records every runtime of a program, each in a space of its own, with sites', async () => {
    const file = newFile();
    const app = program(`
      import { SimulatedDevice } from ${JSON.stringify(moduleUrl('adapters/devices/simulated.js'))};
      const runtimes = [1, 2].map(() => new MemoryRuntime(new SimulatedDevice(), { exitReport: false }));
      globalThis.kept = runtimes.map((rt) => rt.allocate(512));`);
    expect(runChild(app, { env: { STOWAGE_TRACE: file, STOWAGE_TRACE_SITES: '1' } })).toMatchObject({ status: 0, stderr: '' });
    const events = await loadTrace(file);
    const allocs = [...Array(events.length).keys()].filter((i) => events.isAlloc(i));
    expect(allocs.map((i) => events.spaceOf(i))).toEqual(['', 'host 2']);
    expect(events.pointerOf(allocs[0]!)).toBe(events.pointerOf(allocs[1]!));
    expect(events.siteOf(allocs[0]!)).toMatch(/^at /);
  });

  test('gives children and threads files of their own', async () => {
    const file = newFile();
    const child = `import { defaultRuntime } from ${JSON.stringify(moduleUrl('src/index.js'))}; defaultRuntime().allocate(2).dispose();`;
    const app = program(`
      import { execFileSync } from 'node:child_process';
      import { Worker } from 'node:worker_threads';
      defaultRuntime().allocate(1).dispose();
      execFileSync(process.execPath, ['--input-type=module', '-e', ${JSON.stringify(child)}]);
      await new Promise((done) => new Worker(new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(child)}))).on('exit', done));
      defaultRuntime().allocate(3).dispose();`);
    expect(runChild(app, { env: { STOWAGE_TRACE: file } })).toMatchObject({ status: 0, stderr: '' });
    const found = readdirSync(folder).filter((name) => join(folder, name).startsWith(file));
    expect(found).toHaveLength(3);
    const sizes = await Promise.all(found.map(async (name) => sizesOf(join(folder, name))));
    expect(sizes.map(String).sort()).toEqual(['1,3', '2', '2']);
  });

  test('leaves a file that can be read when the program is killed', async () => {
    const file = newFile();
    const app = program(`
      const rt = defaultRuntime();
      for (let i = 0; ; i++) { rt.allocate(i % 1000 + 1).dispose(); if (i === 50_000) process.stdout.write('going'); }`);
    const child = spawn(process.execPath, ['--input-type=module', '-e', app], {
      env: { ...process.env, NODE_OPTIONS: '', STOWAGE_TRACE: file },
    });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const events = await loadTrace(file);
    expect(events.length).toBeGreaterThan(90_000);
    expect(events.cutOff).toBe(`the recording was cut off after ${events.length} events`);
    const alloc = [...Array(100).keys()].filter((i) => events.isAlloc(i));
    expect(alloc.map((i) => events.bytesOf(i))).toEqual(alloc.map((_, n) => n + 1));
  });

  test('writes what an idle program did within some seconds', async () => {
    const file = newFile();
    const app = program(`defaultRuntime().allocate(77); setInterval(() => undefined, 1000);`);
    const child = spawn(process.execPath, ['--input-type=module', '-e', app], {
      env: { ...process.env, NODE_OPTIONS: '', STOWAGE_TRACE: file },
    });
    try {
      await vi.waitFor(async () => expect(await sizesOf(file)).toEqual([77]), { timeout: LIMIT_MS, interval: 200 });
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  test('is refused in one line when its settings are bad', () => {
    const app = program('try { defaultRuntime() } catch (error) { console.log(error.message) }');
    const said = (env: NodeJS.ProcessEnv): string => runChild(app, { env }).stdout;
    expect(said({ STOWAGE_TRACE: join(folder, 'none', 'x') })).toMatch(/none\/x: its folder does not exist\n$/);
    expect(said({ STOWAGE_TRACE: newFile(), STOWAGE_TRACE_SITES: 'all' })).toBe(
      'STOWAGE_TRACE_SITES is "all", but must be 1 for allocation sites, a number of frames up to 999, or 0 for none\n',
    );
  });
});

async function sizesOf(file: string): Promise<number[]> {
  const events = await loadTrace(file);
  return [...Array(events.length).keys()].filter((i) => events.isAlloc(i)).map((i) => events.bytesOf(i));
}

function managerNumber(number: number): MemoryManagerAdapter {
  const table = new MemoryManagerDeviceInterface();
  if (number % 3 === 0) return new DefaultMemoryManager(2, table);
  return number % 3 === 1 ? new PoolMemoryManager(2, table) : new CachingMemoryManager(2, table);
}
