import { inflateRawSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { KiB, MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime, MiB } from '../../src/index.js';
import type { Column } from '../../src/report/index.js';
import { buildReport, observeRecording, pickWinner, renderPage } from '../../src/report/index.js';
import { EventBuilder } from '../../src/trace/event-builder.js';
import { loadTrace, replayTrace, TraceEvents, TraceKind } from '../../src/trace/index.js';
import { FACTORIES, observe, traceOf } from './reports.js';

let resnet: TraceEvents;
beforeAll(async () => {
  resnet = await loadTrace('test/traces/resnet.trace.gz');
});

function reader(payload: string): (column: Column) => Float64Array | Uint32Array | Uint16Array {
  const bytes = Uint8Array.from(inflateRawSync(Buffer.from(payload, 'base64'))).buffer;
  const arrays = { f64: Float64Array, u32: Uint32Array, u16: Uint16Array };
  return ({ type, offset, length }) => new arrays[type](bytes, offset, length);
}

describe('observeRun', () => {
  test.each(['caching', 'pool', 'default'])('sees of %s what an unwatched replay counts', (manager) => {
    const { observer, failure } = observe(resnet, manager);
    const runtime = new MemoryRuntime(new SimulatedDevice({ virtual: true }));
    new MemoryManagerInstaller(FACTORIES[manager]!(1, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
    const result = replayTrace(resnet, runtime);
    runtime.close();
    expect(failure).toBeUndefined();
    expect(observer.segments.peakReservedBytes).toBe(result.peakReservedBytes);
    expect(observer.nativeAllocs).toBe(result.nativeAllocs);
    expect(observer.nativeFrees).toBe(result.nativeFrees);
    expect(observer.hitRate).toBeCloseTo(result.hitRate, 10);
    expect(Math.max(...observer.reserved.points)).toBe(result.peakReservedBytes);
  });

  test('sees a run that runs out of memory up to there', () => {
    const run = observe(resnet, 'caching', { capacityBytes: 300 * MiB });
    expect(run.failure).toMatch(/out of memory/);
    expect(run.observer.events).toBeGreaterThan(0);
    expect(run.observer.events).toBeLessThan(resnet.length);
    expect(Number.isNaN(run.observer.reserved.points.at(-1))).toBe(true);
  });
});

describe('buildReport', () => {
  test.each(['caching', 'pool', 'default'])('has at each moment blocks inside the segments of %s, side by side', (manager) => {
    const { data, payload } = buildReport(resnet, [observe(resnet, manager)]);
    const get = reader(payload);
    const [run] = data.runs;
    const [born, died, bytes, address] = [data.blocks.born, data.blocks.died, data.blocks.bytes, run!.address].map(get);
    const segments = run!.segments;
    const [start, size, from, to] = [segments.start, segments.bytes, segments.born, segments.died].map(get);
    for (const moment of [...data.moments.map(({ at }) => at), 0, data.stride * 50, data.events]) {
      const ranges = Array.from(start!, (at, i) => [at, at + size![i]!, i] as const)
        .filter(([, , i]) => from![i]! <= moment && moment < to![i]!)
        .sort((a, b) => a[0] - b[0]);
      const blocks = Array.from(born!, (at, i) => [at, i] as const)
        .filter(([at, i]) => at <= moment && moment < died![i]! && address![i]! > 0)
        .map(([, i]) => [address![i]!, address![i]! + bytes![i]!] as const)
        .sort((a, b) => a[0] - b[0]);
      let live = 0;
      for (let event = 0; event < moment; event++) live += resnet.isAlloc(event) ? resnet.bytesOf(event) : -resnet.bytesOf(event);
      expect(blocks.reduce((sum, [a, b]) => sum + b - a, 0)).toBe(live);
      for (let i = 1; i < blocks.length; i++) expect(blocks[i]![0]).toBeGreaterThanOrEqual(blocks[i - 1]![1]);
      // A block may lie across pages that were committed apart.
      const covered = (a: number, b: number) => {
        let at = a;
        for (const [s, e] of ranges) if (s <= at && at < e) at = e;
        return at >= b;
      };
      expect(blocks.filter(([a, b]) => !covered(a, b))).toEqual([]);
    }
  });

  test('has what each site holds at the end and at the peak, and allocated in all', () => {
    const calls = [
      { alloc: 10, site: 'at f (a.js:1:1)' },
      { alloc: 50, site: 'at g (a.js:2:1)' },
      { free: 1 },
      { alloc: 20, site: 'at f (a.js:1:1)' },
      { alloc: 5 },
    ];
    const trace = traceOf(calls);
    const { stacks } = buildReport(trace, [observe(trace, 'pool')]).data;
    expect(stacks?.measures).toEqual(['live', 'allocated', 'peak']);
    expect(stacks?.sites).toEqual([
      { stack: [0], bytes: [30, 30, 10], blocks: [2, 2, 1] },
      { stack: [1], bytes: [0, 50, 50], blocks: [0, 1, 1] },
    ]);
    expect(stacks?.unknown).toEqual({ bytes: [5, 5, 0], blocks: [1, 1, 0] });
  });

  test('has no stacks of a trace without sites', () => {
    expect(buildReport(resnet, [observe(resnet, 'pool')]).data.stacks).toBeNull();
  });

  test('stays small with 100,000 sites: the heaviest are kept, the others are a sum', () => {
    const frames = '\nat outer (/home/somebody/app/src/outer.js:1:1)\nat main (/home/somebody/app/src/main.js:1:1)';
    const calls = Array.from({ length: 100_000 }, (_, i) => ({
      alloc: i + 1,
      site: `at f${i} (/home/somebody/app/src/f${i}.js:${i + 1}:1)${frames}`,
    }));
    const { stacks } = buildReport(traceOf(calls), []).data;
    expect([stacks?.siteCount, stacks?.sites.length]).toEqual([100_000, 500]);
    expect(stacks?.others.bytes[0]).toBe((99_500 * 99_501) / 2);
    expect(JSON.stringify(stacks).length).toBeLessThan(100_000);
  });

  test('groups leaks by tag and site, most bytes first', () => {
    const trace = traceOf([
      { alloc: 10, tag: 'a', site: 'at f' },
      { alloc: 50, tag: 'b', site: 'at g' },
      { alloc: 20, tag: 'a', site: 'at f' },
      { alloc: 99 },
      { free: 3 },
    ]);
    const { data } = buildReport(trace, [observe(trace, 'caching')]);
    const named = data.leaks.groups.map(({ tag, site, ...rest }) => ({
      ...rest,
      tag: data.tags[tag - 1],
      site: data.sites[site - 1],
    }));
    expect(named).toEqual([
      { blocks: 1, bytes: 50, event: 1, tag: 'b', site: 'at g' },
      { blocks: 2, bytes: 30, event: 0, tag: 'a', site: 'at f' },
    ]);
    expect([data.leaks.blocks, data.leaks.bytes, data.leaks.omittedGroups]).toEqual([3, 80, 0]);
  });
});

describe('pickWinner', () => {
  test('prefers the least peak, and the fewest native calls within 1 % of it', () => {
    const runs = ['caching', 'pool', 'default'].map((manager) => observe(resnet, manager));
    expect(pickWinner(runs)?.run).toBe(1);
    expect(pickWinner(runs)?.verdict).toBe(
      'pool holds 5.2 % less memory at its peak than caching (489.19 MiB against 516.00 MiB); caching makes 60 native calls instead of 165.',
    );
    expect(pickWinner([runs[1]!, { ...runs[1]!, name: 'other' }])?.run).toBe(0);
  });

  test('leaves out runs that failed', () => {
    const failed = observe(resnet, 'pool', { capacityBytes: 300 * MiB });
    expect(pickWinner([failed, observe(resnet, 'default')])?.run).toBe(1);
    expect(pickWinner([failed, failed])).toBeNull();
  });

  test('says what the least memory costs against the fastest when times are known', () => {
    const [pool, caching] = [observe(resnet, 'pool'), observe(resnet, 'caching')];
    expect(
      pickWinner([
        { ...caching, nsPerEvent: 100 },
        { ...pool, nsPerEvent: 2300 },
      ]),
    ).toEqual({
      run: 1,
      verdict:
        'pool holds 5.2 % less memory at its peak than caching (489.19 MiB against 516.00 MiB); caching is 23 times faster ' +
        '(100 ns an event against 2,300 ns) and makes 60 native calls instead of 165.',
      fastest: 0,
    });
    expect(
      pickWinner([
        { ...caching, nsPerEvent: 2300 },
        { ...pool, nsPerEvent: 100 },
      ]),
    ).toEqual({
      run: 1,
      verdict: 'pool holds the least memory at its peak, 489.19 MiB, and no other is faster: 100 ns an event.',
      fastest: 1,
    });
  });
});

describe('observeRecording', () => {
  test('shows a trace by its own addresses, parts of pages given back included', () => {
    const builder = new EventBuilder();
    builder.manager = builder.strings.idOf('Pool');
    builder.other(TraceKind.nativeAlloc, 1, 400, 1000);
    const slot = builder.alloc(100, 2, 1000);
    builder.other(TraceKind.nativeFree, 3, 100, 1300);
    builder.free(slot, 4);
    const trace = new TraceEvents({ file: 'x', name: 'x', format: 'stowage' }, builder.copy(), builder);
    const run = observeRecording(trace);
    expect(run?.name).toBe('recorded: Pool');
    expect([...run!.observer.reserved.points]).toEqual([0, 400, 400, 300, 300]);
    expect([...run!.observer.addresses]).toEqual([1000]);
    expect(run!.observer.segments.ranges()).toEqual([{ start: 1000, end: 1300 }]);
    expect(run!.observer.hitRate).toBe(0);
  });

  test('gives nothing for a trace without native events', () => {
    expect(observeRecording(traceOf([{ alloc: 1 }]))).toBeUndefined();
  });
});

describe('renderPage', () => {
  const HOSTILE = '</script><script>globalThis.hacked=1</script><!--';

  test('lets no name end its script, and loads nothing from elsewhere', () => {
    const trace = traceOf([{ alloc: 10, tag: HOSTILE, site: HOSTILE }], HOSTILE);
    const page = renderPage(
      buildReport(trace, [observe(trace, 'caching', { name: HOSTILE })], { settings: [{ label: HOSTILE, value: HOSTILE }] }),
    );
    expect(page).not.toContain('<script>globalThis');
    expect(page.match(/<script/g)).toHaveLength(4);
    expect(page.match(/<\/script>/g)).toHaveLength(4);
    const markup = page.replace(/<script.*?<\/script>/gs, '');
    expect(markup).not.toMatch(/<(?:link|img|iframe)|(?:src|href)="(?!#)|@import|url\(/);
    const json = /<script type="application\/json" id="report-data">(.*?)<\/script>/s.exec(page)![1]!;
    expect((JSON.parse(json) as { title: string }).title).toBe(HOSTILE);
  });

  test('allows its own scripts and styles alone, and no connection', () => {
    const trace = traceOf([{ alloc: 10 }]);
    const page = renderPage(buildReport(trace, [observe(trace, 'caching')]));
    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(page)![1]!;
    expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-[\w+/=]+' 'sha256-[\w+/=]+'; style-src 'sha256-/);
    expect(policy).toContain("connect-src 'none'");
    expect(policy).not.toContain('unsafe');
    expect(renderPage({ data: { version: 1, mode: 'live', title: 'x', facts: [] }, payload: '' })).toContain(
      "connect-src 'self'",
    );
  });

  test('adds less than 256 KiB to the data', () => {
    const page = renderPage({ data: { version: 1, mode: 'live', title: 'x', facts: [] }, payload: '' });
    expect(page.length).toBeLessThan(256 * KiB);
  });

  test("keeps the chart library's licence", () => {
    const trace = traceOf([{ alloc: 10 }]);
    const page = renderPage(buildReport(trace, [observe(trace, 'caching')]));
    expect(page).toContain('Copyright (c) 2022 Leon Sorokin');
    expect(page).toContain('The MIT License');
  });
});
