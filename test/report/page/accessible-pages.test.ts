import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../../adapters/devices/simulated.js';
import { type MemoryExplanation, renderExplanation } from '../../../src/explain/index.js';
import { MemoryBudget, MemoryRuntime, MiB } from '../../../src/index.js';
import { buildReport, buildWhatIf, renderPage, serveDashboard } from '../../../src/report/index.js';
import { type Call, observe, traceOf } from '../reports.js';
import { whatIfRun } from '../whatif-runs.js';
import { COLOUR_RULES, violationsOf } from './axe.js';
import { CHROMIUM, type OpenPage, TestBrowser } from './browser.js';

const WIDTHS = [1400, 390];
const SITE =
  'at decode (/app/node_modules/codec/decode.js:88:12)\nat Array.map (<anonymous>)\nat load (/app/load.js:20:5)\nat node:fs:1:2';
const CALLS: readonly Call[] = [
  { alloc: 4 * MiB, tag: 'pictures', site: SITE },
  { alloc: 2 * MiB, tag: 'cache', site: 'at set (/app/cache.js:61:9)\nat load (/app/load.js:24:5)' },
  { alloc: MiB },
  { free: 0 },
  { alloc: 3 * MiB, site: SITE },
];

/** A trace under two managers, and under one that runs out of memory. */
function replayPage(): string {
  const trace = traceOf(CALLS, 'app', true);
  const runs = ['caching', 'pool'].map((name) => ({ ...observe(trace, name), nsPerEvent: name === 'pool' ? 90 : 60 }));
  const small = observe(trace, 'pool', { name: 'small', capacityBytes: 5 * MiB });
  return renderPage(buildReport(trace, [...runs, small], { settings: [{ label: 'device', value: 'simulated' }] }));
}

function tunePage(): string {
  const trace = traceOf(CALLS);
  const point = { settings: 'defaults', leastCapacityBytes: null, frontier: true };
  const points = [
    { ...point, manager: 'caching', code: 'new Caching()', peakReservedBytes: 20 * MiB, nsPerEvent: 60 },
    { ...point, manager: 'pool', code: 'new Pool()', peakReservedBytes: 8 * MiB, nsPerEvent: 90 },
    { ...point, manager: 'lru', code: 'new Lru()', peakReservedBytes: 21 * MiB, nsPerEvent: 900, frontier: false },
  ];
  const runs = ['pool', 'caching'].map((name) => observe(trace, name, { name: `${name}, defaults` }));
  const winner = { run: 0, verdict: 'pool holds 60 % less memory at its peak than caching.', fastest: 1, knee: 0 };
  return renderPage(buildReport(trace, runs, { winner, tune: { goal: 'reserved', points, best: 1, knee: 1 } }));
}

function whatIfPage(): string {
  const trace = traceOf(
    Array.from({ length: 40 }, () => ({ alloc: 1000 })),
    'snapshot.pickle',
    true,
  );
  const failure = {
    event: 33,
    requestedBytes: 424 * MiB,
    step: 'ProfilerStep#7',
    frames: [{ name: 'attention', filename: 'train.py', line: 88 }],
  };
  const limitBytes = 900 * MiB;
  const runs = [
    whatIfRun({ limitBytes, fits: false, failure, ooms: 1, retries: 2 }, 9),
    whatIfRun({ conf: 'expandable_segments:True', limitBytes, leastLimitBytes: 840 * MiB }),
    whatIfRun({ conf: 'max_split_size_mb:20,garbage_collection_threshold:0.6', limitBytes }),
  ];
  return renderPage(buildWhatIf(trace, runs, { settings: [{ label: 'card', value: 'l4' }], notes: ['2 MiB are not known.'] }));
}

function explanationPage(): string {
  const kinds = ['binary', 'v8-heap', 'c-heap-free', 'unknown'];
  const explanation = (times: number): MemoryExplanation => ({
    version: 1,
    view: 'inside',
    pid: 7,
    program: 'node app.js',
    residentBytes: 10 * times * MiB,
    namedBytes: 9 * times * MiB,
    categories: kinds.map((kind, i) => ({
      kind: kind as MemoryExplanation['categories'][number]['kind'],
      name: `/usr/lib/a-long-name-of-a-library/lib${kind}.so.6`,
      residentBytes: (4 - i) * times * MiB,
      reclaimableBytes: i === 2 ? MiB : null,
      advice: 'code and data of programs and libraries; clean pages are shared with other processes and go by themselves',
    })),
    giveBack: [{ step: 'V8', bytes: 5 * MiB, how: 'estimated' }],
  });
  return renderExplanation([explanation(1), explanation(2)]);
}

describe.skipIf(CHROMIUM.missing)(`pages in ${CHROMIUM.title}`, () => {
  let browser: TestBrowser;
  /** What a page leaves to be ended. */
  const ends: (() => unknown)[] = [];
  beforeAll(async () => {
    browser = await TestBrowser.start();
  });
  afterAll(() => browser?.stop());

  /** The page of a program that has a budget, sites and a tenant. */
  async function openLive(): Promise<OpenPage> {
    const device = new SimulatedDevice({ capacityBytes: 1024 * MiB });
    const runtime = new MemoryRuntime(device);
    const dashboard = await serveDashboard(runtime, { intervalMs: 500, sites: true, title: 'app' });
    const budget = new MemoryBudget({ limit: 64 * MiB, name: 'process', memory: device, exitReport: false });
    budget.add(runtime, { name: 'buffers', priority: 3, minimumBytes: MiB });
    budget.tenant('alice', { limit: 32 * MiB });
    const blocks = [runtime.allocate(3 * MiB, { tag: 'alice' }), runtime.allocate(MiB)];
    ends.push(
      () => runtime.close(),
      () => budget.dispose(),
      () => dashboard.dispose(),
      ...blocks.map((block) => () => block.dispose()),
    );
    const opened = await browser.open(dashboard.url);
    await opened.page.locator('.budget').filter({ hasText: 'alice' }).waitFor();
    await opened.page.locator('#biggest-table').filter({ hasText: '3.00 MiB' }).waitFor();
    return opened;
  }

  const kinds: readonly (readonly [string, () => Promise<OpenPage>])[] = [
    ['a report', () => browser.openFile(replayPage())],
    ['a tune page', () => browser.openFile(tunePage())],
    ['a what-if page', () => browser.openFile(whatIfPage())],
    ['an explanation', () => browser.openFile(explanationPage(), { isStatic: true })],
    ['the live page', openLive],
  ];

  /** Unfolds all, so that it is looked at as well. */
  const unfold = (page: Page) =>
    page.evaluate(() => {
      for (const fold of document.querySelectorAll('details')) fold.open = true;
    });

  describe.each(kinds)('%s', (_, open) => {
    let page: Page;
    let faults: readonly string[];
    beforeAll(async () => {
      ({ page, faults } = await open());
    });
    afterEach(() => expect(faults).toEqual([]));
    afterAll(async () => {
      await page.close();
      for (const end of ends.splice(0).reverse()) await end();
    });

    test('lets the Tab key go to every control, each of which shows that it has the focus', async () => {
      const controls = await page.evaluate(() => {
        // Where an element is: a live page may put others into the places of its cells.
        const placeOf = (one: Element | null): string =>
          one === null || one.parentElement === null
            ? ''
            : `${placeOf(one.parentElement)} ${[...one.parentElement.children].indexOf(one)}`;
        const reached: [place: string, isSeen: boolean][] = [];
        Reflect.set(globalThis, 'reached', reached);
        addEventListener('focusin', ({ target }) => {
          const { outlineStyle, outlineWidth } = getComputedStyle(target as Element);
          reached.push([placeOf(target as Element), outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 1]);
        });
        const all = [...document.querySelectorAll('a[href], button, select, input, summary, [tabindex="0"]')];
        return all.filter((one) => one.checkVisibility({ visibilityProperty: true })).map(placeOf);
      });
      for (let presses = 0; presses < controls.length + 5; presses++) await page.keyboard.press('Tab');
      const reached = new Map(await page.evaluate(() => Reflect.get(globalThis, 'reached') as [string, boolean][]));
      const at = (place: string) => page.evaluate(nameOf, place);
      for (const place of controls) if (reached.get(place) !== true) expect.soft(await at(place)).toBe('reached, and seen to be');
    });

    test('differs in colours alone between the schemes, so that no other rule has to be asked for in both', async () => {
      expect(await page.evaluate(beyondColours)).toEqual([]);
    });

    test('breaks no rule of axe, and fits, on a screen and on a phone, in light and dark colours', async () => {
      await page.evaluate(() => (document.activeElement as HTMLElement).blur());
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 900 });
        await unfold(page);
        await page.emulateMedia({ colorScheme: 'light' });
        expect([width, 'light', await violationsOf(page)]).toEqual([width, 'light', []]);
        await page.emulateMedia({ colorScheme: 'dark' });
        expect([width, 'dark', await violationsOf(page, COLOUR_RULES)]).toEqual([width, 'dark', []]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
      }
    });
  });
});

/** What style sheets set by the scheme of colours, other than colours. Runs on the page. */
function beyondColours(): string[] {
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
  const schemes = rules.filter((rule) => /data-theme|prefers-color-scheme/.test(rule.cssText));
  return schemes.flatMap((rule) => {
    if (!(rule instanceof CSSStyleRule)) return [rule.cssText];
    const names = [...rule.style].filter((name) => name !== 'color-scheme');
    return names.filter((name) => !name.startsWith('--') || !CSS.supports('color', rule.style.getPropertyValue(name)));
  });
}

/** The element at a place, in letters. Runs on the page. */
function nameOf(place: string): string {
  let one: Element | undefined = document.documentElement;
  for (const at of place.trim().split(' ')) one = one?.children[Number(at)];
  return one?.outerHTML.slice(0, 200) ?? place;
}
