import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../../src/index.js';
import { buildReport, renderPage } from '../../../src/report/index.js';
import { type Call, observe, traceOf } from '../reports.js';
import { CHROMIUM, type OpenOptions, TestBrowser, tryPage } from './browser.js';

const SITE =
  'at decode (/app/decode.js:88:12)\nat Array.map (<anonymous>)\nat load (/app/load.js:20:5)\nat node:internal/main:1:2';
/** One small block among large ones. */
const CALLS: readonly Call[] = [{ alloc: 4 * MiB, site: SITE }, { alloc: 600, tag: 'small', site: SITE }, { alloc: 4 * MiB }];

describe.skipIf(CHROMIUM.missing)(`the report page in ${CHROMIUM.title}`, () => {
  let browser: TestBrowser;
  let html = '';
  beforeAll(async () => {
    browser = await TestBrowser.start();
    const trace = traceOf(CALLS, 'app');
    const point = { settings: 'defaults', leastCapacityBytes: null, frontier: true, nsPerEvent: 100 };
    const tune = {
      goal: 'reserved',
      points: ['pool', 'caching', 'lru'].map((manager, i) => ({
        ...point,
        manager,
        code: `new ${manager}()`,
        peakReservedBytes: (9 + i) * MiB,
      })),
      best: 0,
      knee: 0,
    } as const;
    // Two that do the same, and one that does not.
    const runs = ['caching, defaults', 'twin', 'pool, defaults'].map((name) =>
      observe(trace, name.startsWith('pool') ? 'pool' : 'caching', { name }),
    );
    html = renderPage(buildReport(trace, runs, { tune }));
  });
  afterAll(() => browser?.stop());

  async function onPage(use: (page: Page) => Promise<void>, options: OpenOptions = {}): Promise<void> {
    await tryPage(await browser.openFile(html, options), use);
  }
  /** The same on a page that others have tried, and left as it was. */
  const onSharedPage = (use: (page: Page) => Promise<void>) => browser.tryShared(html, use);
  const detail = (page: Page) => page.locator('#map-detail').innerText();
  /** How many pixels of a canvas have the colour of a custom property. */
  const pixelsOf = (page: Page, canvas: string, colour: string) =>
    page.locator(canvas).evaluate((one, name) => {
      const { width, height } = one as HTMLCanvasElement;
      // A copy: the browser warns when what it draws is read again and again.
      const copy = new OffscreenCanvas(width, height).getContext('2d')!;
      copy.drawImage(one as HTMLCanvasElement, 0, 0);
      const { data } = copy.getImageData(0, 0, width, height);
      const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
      const wanted = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
      let count = 0;
      for (let i = 0; i < data.length; i += 4) if (wanted.every((value, k) => Math.abs(data[i + k]! - value) < 3)) count++;
      return count;
    }, colour);

  describe('the address map', () => {
    const MAP = '#map-canvas canvas';

    test.each(['light', 'dark'] as const)(
      'frames a chosen block, however small, in %s colours, and Escape lets it go',
      (colours) =>
        onPage(
          async (page) => {
            const map = page.locator(MAP);
            await map.focus();
            expect(await pixelsOf(page, MAP, '--moment')).toBe(0);
            for (let presses = 0; presses < 3 && !(await detail(page)).includes('tag small'); presses++)
              await map.press('ArrowRight');
            expect(await detail(page)).toMatch(/^600 B .*tag small$/);
            // The frame of a block that is a pixel wide: 12 x 16 pixels.
            expect(await pixelsOf(page, MAP, '--moment')).toBeGreaterThan(60);
            await page.mouse.move(5, 5);
            expect(await detail(page)).toContain('tag small');
            await map.press('Escape');
            expect(await pixelsOf(page, MAP, '--moment')).toBe(0);
            expect(await detail(page)).toContain('press the arrow keys');
          },
          { colours },
        ),
    );

    test("keeps a block that was clicked, with its stack, in which Node's own frames are counted", () =>
      onSharedPage(async (page) => {
        const map = page.locator(MAP);
        await map.scrollIntoViewIfNeeded();
        const { width = 0 } = (await map.boundingBox()) ?? {};
        await map.hover({ position: { x: width / 2, y: 7 } });
        const pointed = await detail(page);
        expect(pointed).toContain('at decode');
        await map.click({ position: { x: width / 2, y: 7 } });
        await page.mouse.move(5, 5);
        expect(pointed.startsWith(await detail(page))).toBe(true);
        const stack = page.locator('#map-site');
        await stack.locator('summary').press('Enter');
        expect(await stack.innerText()).toMatch(
          /^at decode \(\/app\/decode\.js:88:12\)\s+at load \(\/app\/load\.js:20:5\)\s+2 frames of Node’s own left out$/,
        );
        await map.press('Escape');
      }));
  });

  describe('curves that lie on each other', () => {
    const CHART = '#memory-chart canvas';

    test('are both seen, and said to be the same', () =>
      onSharedPage(async (page) => {
        const [first, second] = [await pixelsOf(page, CHART, '--manager-0'), await pixelsOf(page, CHART, '--manager-1')];
        expect(Math.min(first, second)).toBeGreaterThan(200);
        expect(Math.max(first, second)).toBeLessThan(2 * Math.min(first, second));
        const values = page.locator('#memory-readout .values');
        expect(await values.nth(1).innerText()).toMatch(/; the same curve as caching, defaults$/);
        expect(await values.nth(2).innerText()).not.toContain('same');
        await page.getByRole('button', { name: 'caching, defaults', exact: true }).press('Space');
        await expect.poll(() => values.nth(1).innerText()).not.toContain('same');
        await expect.poll(() => pixelsOf(page, CHART, '--manager-1')).toBeGreaterThan(1.5 * second);
        await page.getByRole('button', { name: 'caching, defaults', exact: true }).press('Space');
        await expect.poll(() => pixelsOf(page, CHART, '--manager-1')).toBe(second);
      }));
  });

  test('gives a setting one colour in both tables of a tune page, and those without curves none', () =>
    onSharedPage(async (page) => {
      const colours = (table: string) =>
        page
          .locator(`${table} tbody .name`)
          .evaluateAll((names) =>
            names.map((name) => [
              name.childNodes[1]?.textContent,
              (name.querySelector('.swatch') as HTMLElement).style.background,
            ]),
          );
      const ofRuns = new Map((await colours('#manager-table')) as [string, string][]);
      const ofSettings = new Map((await colours('#frontier-table')) as [string, string][]);
      for (const name of ['caching, defaults', 'pool, defaults']) expect(ofSettings.get(name)).toBe(ofRuns.get(name));
      expect(ofSettings.get('lru, defaults')).toBe('var(--map-other)');
      const { width = 0 } = (await page.locator('svg.frontier').boundingBox()) ?? {};
      await page.setViewportSize({ width: 390, height: 900 });
      await expect.poll(async () => (await page.locator('svg.frontier').boundingBox())?.width).toBeLessThan(width / 2);
      await page.setViewportSize({ width: 1280, height: 900 });
    }));

  test('shows rows as cards with all their values on a phone, and scrolls what has many columns, with a hint', () =>
    onPage(
      async (page) => {
        const row = page.locator('#manager-table tbody tr').first();
        const labels = await row
          .locator('td')
          .evaluateAll((cells) =>
            cells.map((cell) => [(cell as HTMLElement).dataset['label'], cell.getBoundingClientRect().right <= innerWidth]),
          );
        expect(labels).toEqual(
          ['peak reserved', 'utilisation', 'native calls', 'hit rate', 'time an event', 'outcome'].map((label) => [label, true]),
        );
        expect(await page.locator('#manager-table').getByRole('rowheader').count()).toBe(3);
        await page.locator('#managers .words summary').press('Enter');
        expect(await page.locator('#managers .words').innerText()).toContain(
          'The most native memory that the manager held at once.',
        );
        await page.locator('#memory-as-table summary').press('Enter');
        const matrix = page.locator('#memory-as-table .scroll');
        await page.locator('#memory-as-table .more-columns').filter({ hasText: 'scroll the table sideways' }).waitFor();
        await matrix.focus();
        await page.keyboard.press('ArrowRight');
        await expect.poll(() => matrix.evaluate((box) => box.scrollLeft)).toBeGreaterThan(0);
      },
      { width: 390 },
    ));

  test('has every control do its work by a key', () =>
    onPage(async (page) => {
      const moment = () => page.locator('#moment-text').innerText();
      const changes = async (key: string, control: ReturnType<Page['locator']>) => {
        const before = await moment();
        await control.press(key);
        await expect.poll(moment).not.toBe(before);
      };
      await changes('Home', page.locator('#moment-slider'));
      await changes('ArrowRight', page.locator('#moment-slider'));
      await changes('Enter', page.getByRole('button', { name: 'One moment on' }));
      await changes('Space', page.getByRole('button', { name: 'One moment back' }));
      await changes('Enter', page.getByRole('button', { name: 'end', exact: true }));
      const manager = page.locator('#map-controls select').first();
      await manager.press('ArrowUp');
      await expect.poll(moment).toContain('reserved by twin');
      const theme = page.locator('#theme');
      await theme.press('Enter');
      expect(await page.evaluate(() => document.documentElement.dataset['theme'])).toBe('dark');
      const hint = page.locator('#manager-table .hint').first();
      await hint.focus();
      await page.locator('.hint-text').first().waitFor();
      await hint.press('Escape');
      await page.locator('.hint-text').first().waitFor({ state: 'hidden' });
      await page.locator('#frontier details summary').press('Space');
      expect(await page.locator('#frontier details').getAttribute('open')).not.toBeNull();
      await page.locator('#sizes-controls select').press('b');
      await page.locator('#sizes-table th').filter({ hasText: 'all bytes' }).waitFor();
    }));
});
