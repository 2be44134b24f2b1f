import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../../src/index.js';
import { buildReport, renderPage } from '../../../src/report/index.js';
import { type Call, observe, traceOf } from '../reports.js';
import { CHROMIUM, type OpenOptions, TestBrowser, tryPage } from './browser.js';

const HOSTILE = '<img src=x onerror="globalThis.hacked=1">';
const MAIN = 'at main (/app/src/main.js:90:1)\nat Module._compile (node:internal/modules/cjs/loader:1554:14)';
const DECODE = `at decode (file:///app/node_modules/@img/codec/decode.js:88:12)\nat Array.map (<anonymous>)\nat load (/app/src/load.js:20:5)\n${MAIN}`;
const STORE = `at Cache.set (/app/src/cache.js:61:9)\nat load (/app/src/load.js:24:5)\n${MAIN}`;
const NODE = 'at Socket.read (node:net:11:2)\nat emit (node:events:20:3)';
/** The peak is 8 MiB, after the fourth event. */
const CALLS: readonly Call[] = [
  { alloc: 4 * MiB, site: DECODE },
  { alloc: 2 * MiB, site: STORE },
  { alloc: MiB, site: NODE },
  { alloc: MiB },
  { free: 0 },
  { alloc: MiB, site: STORE },
];

describe.skipIf(CHROMIUM.missing)(`flame graphs on the report page in ${CHROMIUM.title}`, () => {
  let browser: TestBrowser;
  beforeAll(async () => {
    browser = await TestBrowser.start();
  });
  afterAll(() => browser?.stop());

  const pageOf = (calls: readonly Call[]) => {
    const trace = traceOf(calls);
    return renderPage(buildReport(trace, [observe(trace, 'pool')]));
  };
  async function onPage(use: (page: Page) => Promise<void>, options: OpenOptions = {}, calls = CALLS): Promise<void> {
    await tryPage(await browser.openFile(pageOf(calls), options), use);
  }
  const detail = (page: Page, pattern: RegExp) => page.locator('#flame-detail').filter({ hasText: pattern }).waitFor();
  const keys = async (page: Page, ...pressed: string[]) => {
    for (const key of pressed) await page.locator('#flame-canvas canvas').press(key);
  };
  const pixels = (page: Page) =>
    page.locator('#flame-canvas canvas').evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
  const rows = (page: Page) =>
    page
      .locator('#flame-table tbody tr')
      .evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent?.split('(/')[0]?.trim())));
  /** A point in the middle of a row of the graph. */
  const at = async (page: Page, share: number, row: number) => {
    await page.locator('#flame').scrollIntoViewIfNeeded();
    const box = (await page.locator('#flame-canvas canvas').boundingBox())!;
    return [box.x + box.width * share, box.y + 20 * row + 10] as const;
  };
  /** Points there, again as long as what a page that was just opened draws moves the graph away, until its tip has a text. */
  const pointAt = (page: Page, share: number, row: number, text: string) =>
    expect
      .poll(async () => {
        await page.mouse.move(...(await at(page, share, row)));
        return page.locator('.flame-tip:visible').allInnerTexts();
      })
      .toEqual([expect.stringContaining(text)]);

  test('shows the peak first, and what is live at the end or allocated in all when asked', () =>
    onPage(async (page) => {
      const lead = page.locator('#flame-lead');
      expect(await lead.innerText()).toMatch(/^8\.00 MiB live at the peak, in 4 blocks, by the place in the program/);
      await page.locator('#flame > details').evaluate((fold) => fold.setAttribute('open', ''));
      expect(await rows(page)).toEqual([
        ['4.00 MiB', '50.0 %', '1', 'decode'],
        ['2.00 MiB', '25.0 %', '1', 'Cache.set'],
        ['1.00 MiB', '12.5 %', '1', 'inside Node'],
      ]);
      const before = await pixels(page);
      await page.locator('#flame-controls select').selectOption('live at the end');
      expect(await lead.innerText()).toMatch(/^5\.00 MiB live at the end/);
      expect((await rows(page))[0]).toEqual(['3.00 MiB', '60.0 %', '2', 'Cache.set']);
      expect(await pixels(page)).not.toBe(before);
      await page.locator('#flame-controls select').selectOption('allocated in all');
      expect(await lead.innerText()).toMatch(/^9\.00 MiB allocated in all, in 5 blocks/);
    }));

  test('is walked by the arrow keys, zoomed by Enter and back by Escape', () =>
    onPage(async (page) => {
      await keys(page, 'ArrowDown');
      await detail(page, /^all · 8\.00 MiB, 100\.0 %, in 4 blocks$/);
      await keys(page, 'ArrowDown');
      await detail(page, /^main · \/app\/src\/main\.js:90 · 6\.00 MiB, 75\.0 %, in 2 blocks$/);
      await keys(page, 'ArrowDown');
      // Calls of one function at two lines are one frame.
      await detail(page, /^load · \/app\/src\/load\.js:20, 24 · 6\.00 MiB, 75\.0 %, in 2 blocks$/);
      await keys(page, 'ArrowDown', 'ArrowRight');
      await detail(page, /^Cache\.set · \/app\/src\/cache\.js:61 · 2\.00 MiB, 25\.0 %, in 1 block$/);
      const whole = await pixels(page);
      await keys(page, 'Enter');
      await page.getByRole('button', { name: 'Show all' }).waitFor();
      expect(await pixels(page)).not.toBe(whole);
      await keys(page, 'ArrowUp', 'ArrowUp', 'Enter', 'Escape', 'Escape');
      await page.getByRole('button', { name: 'Show all' }).waitFor({ state: 'hidden' });
      await detail(page, /^main/);
      await keys(page, 'ArrowDown', 'ArrowDown', 'ArrowLeft', 'ArrowRight');
      await detail(page, /^Cache\.set/);
      expect(await pixels(page)).toBe(whole);
    }));

  test('tells about the frame under the pointer, and a click has it fill the width', () =>
    onPage(async (page) => {
      const tip = page.locator('.flame-tip');
      await pointAt(page, 0.1, 3, 'decode');
      expect(await tip.innerText()).toBe('decode\n/app/node_modules/@img/codec/decode.js:88\n4.00 MiB, 50.0 %, in 1 block');
      await page.mouse.click(...(await at(page, 0.1, 3)));
      await pointAt(page, 0.95, 3, 'decode');
      await page.getByRole('button', { name: 'Show all' }).click();
      await pointAt(page, 0.95, 1, 'unknown site');
      await page.mouse.move(2, 2);
      await tip.waitFor({ state: 'hidden' });
    }));

  test('highlights what a search finds, and counts its bytes once', () =>
    onPage(async (page) => {
      const before = await pixels(page);
      await page.getByLabel('search').fill('/SRC/');
      const found = page.locator('#flame-found');
      expect(await found.innerText()).toBe('3 frames found: 6.00 MiB, 75.0 %.');
      expect(await pixels(page)).not.toBe(before);
      await page.getByLabel('search').fill('nothing of the kind');
      expect(await found.innerText()).toBe('No frame found.');
      await page.getByLabel('search').fill('');
      await found.waitFor({ state: 'hidden' });
      expect(await pixels(page)).toBe(before);
    }));

  test("leaves Node's own frames out until they are wanted", () =>
    onPage(async (page) => {
      await keys(page, 'ArrowDown', 'ArrowDown');
      await detail(page, /^main/);
      await page.getByRole('button', { name: 'Node’s own frames' }).click();
      await keys(page, 'Home', 'ArrowDown');
      await detail(page, /^Module\._compile · node:internal\/modules\/cjs\/loader:1554 · 6\.00 MiB/);
      await keys(page, 'ArrowDown', 'ArrowDown', 'ArrowDown');
      await detail(page, /^Array\.map \(<anonymous>\) · 4\.00 MiB/);
      expect((await page.locator('#flame-table').textContent()) ?? '').toContain('Socket.read (node:net:11)');
    }));

  test('says how to record sites where there are none', () =>
    onPage(
      async (page) => {
        expect(await page.locator('#flame').isVisible()).toBe(false);
        expect(await page.locator('#flame-missing').innerText()).toContain('stowage record --sites -- node app.js');
      },
      {},
      [{ alloc: 100 }],
    ));

  test('runs nothing that a site says', () =>
    onPage(
      async (page) => {
        await keys(page, 'ArrowDown', 'ArrowDown');
        await detail(page, new RegExp(`^${HOSTILE} · ${HOSTILE}:3 ·`));
        await pointAt(page, 0.5, 1, HOSTILE);
        expect(await page.locator('#flame-legend').innerText()).toContain('<img');
        expect(await page.evaluate(() => Reflect.get(globalThis, 'hacked'))).toBeUndefined();
        expect(await page.locator('img').count()).toBe(0);
      },
      {},
      [{ alloc: 100, site: `at ${HOSTILE} (${HOSTILE}:3:7)` }],
    ));

  // That a report stays small with 100,000 sites test/report/build-report.test.ts shows: a page has the heaviest 500 of any number.
  test('opens with 20,000 sites, the smaller ones as one frame', async () => {
    const calls = Array.from({ length: 20_000 }, (_, i) => ({
      alloc: i < 500 ? 100_000 + i : 2500,
      site: `at f${i} (/app/f.js:${i + 1}:1)\n${MAIN}`,
    }));
    const trace = traceOf(calls);
    await tryPage(await browser.openFile(renderPage(buildReport(trace, []))), async (page) => {
      expect(await page.locator('#flame-lead').innerText()).toContain(
        'Of 20,000 sites the heaviest 500 are shown one by one, the rest as “other sites”.',
      );
      await keys(page, 'ArrowDown', 'ArrowDown');
      await detail(page, /^main · \S+ · 47\.8 MiB/);
      await keys(page, 'ArrowRight');
      await detail(page, /^other sites · 46\.5 MiB, 49\.3 %, in 19,500 blocks$/);
    });
  });

  test.each([
    [1400, 'light'],
    [390, 'dark'],
  ] as const)('fits %d px in %s colours, and is drawn anew in the others', (width, colours) =>
    onPage(
      async (page) => {
        const before = await pixels(page);
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
        await page.getByRole('button', { name: /^Use / }).click();
        expect(await pixels(page)).not.toBe(before);
      },
      { width, colours },
    ),
  );
});
