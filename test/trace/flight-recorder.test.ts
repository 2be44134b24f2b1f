import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import '../../src/defaults.js';
import { MemoryBudget } from '../../src/budget/memory-budget.js';
import { serveDashboard } from '../../src/report/index.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { parseTrace, recordFlight, type TraceEvents, TraceKind } from '../../src/trace/index.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-flight-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (): string => join(folder, `f${files++}.stowtrace`);
const newRuntime = (capacityBytes = 2 ** 30): MemoryRuntime =>
  new MemoryRuntime(new SimulatedDevice({ capacityBytes }), { exitReport: false });
/** The smallest ring, of 1024 events. */
const SMALL = { ringBytes: 16 * 1024 };
const opened = (bytes: Uint8Array): TraceEvents => parseTrace(bytes, 'flight');

describe('recordFlight', () => {
  test('keeps the last events, and all that was live before them to the byte', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5000), fc.nat(50)), { minLength: 1, maxLength: 60 }), (steps) => {
        using runtime = newRuntime();
        const live = [runtime.allocate(777)];
        using flight = recordFlight(runtime, newFile(), SMALL);
        for (let round = 0; round < 40; round++) {
          for (const [bytes, pick] of steps) {
            live.push(runtime.allocate(bytes + 1));
            if (pick < live.length && pick % 5 > 0) live.splice(pick, 1)[0]!.dispose();
          }
        }
        const events = opened(flight.snapshot());
        expect(events.liveBytes).toBe(live.reduce((sum, { bytes }) => sum + bytes, 0));
        expect([events.unknownFrees, events.cutOff]).toEqual([0, undefined]);
        expect(events.peakReservedBytes).toBeGreaterThanOrEqual(events.peakLiveBytes);
      }),
      { numRuns: 30 },
    );
  });

  test('keeps sizes above 4 GiB, in the ring and from before it', () => {
    using runtime = newRuntime(2 ** 40);
    using flight = recordFlight(runtime, newFile(), SMALL);
    const sizes = [2 ** 32 - 2, 2 ** 32 - 1, 2 ** 32, 2 ** 36 + 5];
    const blocks = sizes.map((bytes) => runtime.allocate(bytes));
    const liveBytes = sizes.reduce((sum, bytes) => sum + bytes, 0);
    expect(opened(flight.snapshot()).liveBytes).toBe(liveBytes);
    for (let i = 0; i < 2000; i++) runtime.allocate(64).dispose();
    for (const block of blocks) block.dispose();
    const events = opened(flight.snapshot());
    expect([events.liveBytes, events.unknownFrees, events.peakLiveBytes]).toEqual([0, 0, liveBytes + 64]);
    for (let i = 0; i < 2000; i++) runtime.allocate(64).dispose();
    expect(opened(flight.snapshot()).peakLiveBytes).toBe(64);
  });

  test('takes sites and tags of blocks that it chooses by their bytes', () => {
    using runtime = newRuntime();
    using flight = recordFlight(runtime, newFile(), { sampleBytes: 1 });
    const block = runtime.allocate(2 ** 20, { tag: 'weights' });
    const events = opened(flight.snapshot());
    const event = Array.from(events.kinds.keys()).find((i) => events.tagOf(i) === 'weights')!;
    expect(events.bytesOf(event)).toBe(2 ** 20);
    expect(events.siteOf(event)).toContain('flight-recorder.test');
    block.dispose();
  });

  test('scales live blocks from before the ring back by their probability', () => {
    using runtime = newRuntime();
    using flight = recordFlight(runtime, newFile(), { ...SMALL, sampleBytes: 16 * 1024 });
    const random = vi.spyOn(Math, 'random');
    // Samples that take no time are as far apart as they were asked to be.
    const now = vi.spyOn(performance, 'now').mockReturnValue(1e6);
    // The quantiles in an order that has nothing to do with the program.
    let draws = 0;
    random.mockImplementation(() => (0.5 + 0.618033988749895 * draws++) % 1);
    const cached = runtime.tag('cache', () => Array.from({ length: 3000 }, () => runtime.allocate(4096)));
    const other = runtime.tag('other', () => Array.from({ length: 1000 }, () => runtime.allocate(4096)));
    for (let i = 0; i < 2000; i++) runtime.allocate(64).dispose();
    random.mockRestore();
    now.mockRestore();
    const events = opened(flight.snapshot());
    const bytesOf = (tag: string) =>
      Array.from(events.kinds.keys()).reduce((sum, i) => sum + (events.tagOf(i) === tag ? events.bytesOf(i) : 0), 0);
    const share = bytesOf('cache') / (bytesOf('cache') + bytesOf('other'));
    expect(share).toBeGreaterThan(0.65);
    expect(share).toBeLessThan(0.85);
    expect(events.liveBytes).toBe(4000 * 4096);
    expect([cached.length, other.length]).toEqual([3000, 1000]);
  });

  test('counts a block as live that another lock holds', () => {
    using runtime = newRuntime();
    using flight = recordFlight(runtime, newFile());
    const ptr = runtime.slot.alloc(100, false);
    runtime.slot.userLock(ptr);
    runtime.slot.unlock(ptr, true);
    expect(opened(flight.snapshot())).toMatchObject({ liveBlocks: 1, liveBytes: 100 });
    runtime.slot.unlock(ptr, false);
    expect(opened(flight.snapshot())).toMatchObject({ liveBlocks: 0, unknownFrees: 0 });
  });

  test('writes a file for its owner alone when an allocation is refused, once a second', () => {
    using runtime = newRuntime(2 ** 20);
    const file = newFile();
    using flight = recordFlight(runtime, file);
    expect(existsSync(file)).toBe(false);
    for (let i = 0; i < 3; i++) expect(() => runtime.allocate(2 ** 21)).toThrow('out of memory');
    expect(flight.written).toBe(1);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const events = opened(readFileSync(file));
    expect(events.count(TraceKind.outOfMemory)).toBe(1);
    expect(events.bytesOf(events.kinds.indexOf(TraceKind.outOfMemory))).toBe(2 ** 21);
    expect(readFileSync(file, 'latin1')).toContain('"reason":"out of memory"');
  });

  test('writes when a budget refuses a tenant', () => {
    using runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
    using budget = new MemoryBudget({ limit: 2 ** 20 });
    budget.add(runtime);
    budget.tenant('alice', { limit: 1000 });
    const file = newFile();
    using flight = recordFlight(runtime, file);
    expect(() => runtime.allocate(2000, { tag: 'alice' })).toThrow();
    expect(flight.written).toBe(1);
    expect(readFileSync(file, 'latin1')).toContain('"reason":"refusal by a budget"');
  });

  test('replaces a link that was planted at its place, and leaves what it leads to', () => {
    using runtime = newRuntime();
    const [file, victim] = [newFile(), newFile()];
    writeFileSync(victim, 'precious');
    symlinkSync(victim, file);
    using flight = recordFlight(runtime, file);
    flight.write();
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    expect(opened(readFileSync(file)).format).toBe('stowage');
  });

  test('refuses a place that cannot be written before it is needed, and once it went', () => {
    using runtime = newRuntime();
    const signals = process.listenerCount('SIGUSR2');
    const place = mkdtempSync(join(folder, 'place-'));
    writeFileSync(join(place, 'file'), '');
    const refusal = (path: string) => expect(() => recordFlight(runtime, path, { signal: 'SIGUSR2' }));
    refusal(join(place, 'none', 'x')).toThrow('its folder does not exist');
    refusal(join(place, 'file', 'x')).toThrow('its folder is not a folder');
    refusal(place).toThrow('it is a folder, not a file');
    refusal(join(place, 'x'.repeat(300))).toThrow('its name is too long');
    expect(process.listenerCount('SIGUSR2')).toBe(signals);
    using flight = recordFlight(runtime, join(place, 'x'));
    rmSync(place, { recursive: true });
    expect(() => flight.write()).toThrow('its folder does not exist');
  });

  test('refuses a second recorder of a host, and bad options', () => {
    using runtime = newRuntime();
    using _flight = recordFlight(runtime, newFile());
    expect(() => recordFlight(runtime, newFile())).toThrow('a host without a flight recorder');
    expect(() => recordFlight(runtime, newFile(), { name: 5 as never })).toThrow('name is 5, but must be text');
    expect(() => recordFlight(newRuntime(), newFile(), { signal: 'SIGNONE' as NodeJS.Signals })).toThrow(
      'a signal that can be listened to',
    );
  });

  test('is served by the live page', async () => {
    using runtime = newRuntime();
    await using dashboard = await serveDashboard(runtime);
    const url = `${dashboard.url}flight.stowtrace`;
    expect((await fetch(url)).status).toBe(404);
    using flight = recordFlight(runtime, newFile());
    runtime.allocate(4096);
    expect(opened(new Uint8Array(await (await fetch(url)).arrayBuffer())).liveBytes).toBe(4096);
    expect(flight.written).toBe(0);
  });

  test('stops at dispose', () => {
    using runtime = newRuntime(2 ** 20);
    const file = newFile();
    recordFlight(runtime, file).dispose();
    expect(() => runtime.allocate(2 ** 21)).toThrow('out of memory');
    expect(existsSync(file)).toBe(false);
    recordFlight(runtime, file).dispose();
  });

  describe('of a process', () => {
    beforeAll(() => void compiled(), 120_000);
    const program = (rest: string) => `
      const { MemoryRuntime } = await import(${JSON.stringify(moduleUrl('src/index.js'))});
      const { SimulatedDevice } = await import(${JSON.stringify(moduleUrl('adapters/devices/simulated.js'))});
      const runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
      const block = runtime.allocate(12345);
      ${rest}`;

    test('is turned on by a variable, and written at a fatal error, whose outcome stays', () => {
      const file = newFile();
      const { status, stderr } = runChild(program(`throw new Error('the end');`), { env: { STOWAGE_FLIGHT: file } });
      expect(status).toBe(1);
      expect(stderr).toContain('the end');
      expect(opened(readFileSync(file)).liveBytes).toBe(12345);
      expect(readFileSync(file, 'latin1')).toContain('"reason":"fatal error: the end"');
    });

    test('is refused with the first host when the file cannot be written', () => {
      const { status, stderr } = runChild(program(''), { env: { STOWAGE_FLIGHT: join(folder, 'none', 'x') } });
      expect([status, stderr]).toEqual([1, expect.stringMatching(/none\/x: its folder does not exist\n/)]);
    });

    test('is written on a signal, and the program goes on', () => {
      const file = newFile();
      const wait = `process.kill(process.pid, 'SIGUSR2'); setTimeout(() => console.log('went on'), 100);`;
      const env = { STOWAGE_FLIGHT: file, STOWAGE_FLIGHT_SIGNAL: 'SIGUSR2' };
      expect(runChild(program(wait), { env })).toMatchObject({ status: 0, stdout: 'went on\n', stderr: '' });
      expect(readFileSync(file, 'latin1')).toContain('"reason":"signal SIGUSR2"');
    });

    test('is not written by a program that ends well', () => {
      const file = newFile();
      expect(runChild(program('block.dispose();'), { env: { STOWAGE_FLIGHT: file } })).toMatchObject({ status: 0, stderr: '' });
      expect(existsSync(file)).toBe(false);
    });
  });
});
