import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../../src/index.js';
import { buildReport, renderPage } from '../../../src/report/index.js';
import { loadTrace } from '../../../src/trace/index.js';
import { observe, traceOf } from '../reports.js';
import { CHROMIUM, type OpenOptions, TestBrowser, tryPage } from './browser.js';

const HOSTILE = '"><img src=x onerror="globalThis.hacked=1"><script>globalThis.hacked=1</script>';

describe.skipIf(CHROMIUM.missing)(`the report page in ${CHROMIUM.title}`, () => {
  let browser: TestBrowser;
  let resnetPage = '';
  beforeAll(async () => {
    browser = await TestBrowser.start();
    const trace = await loadTrace('test/traces/resnet.trace.gz');
    const runs = [
      ...['caching', 'pool', 'default'].map((name) => observe(trace, name)),
      observe(trace, 'pool', { name: 'small', capacityBytes: 300 * MiB }),
    ];
    resnetPage = renderPage(buildReport(trace, runs, { settings: [{ label: 'device', value: 'simulated' }] }));
  });
  afterAll(() => browser?.stop());

  /** Opens the page of the ResNet run, tries it, and expects that nothing went wrong meanwhile. */
  async function onResnet(use: (page: Page) => Promise<void>, options: OpenOptions = {}): Promise<void> {
    await tryPage(await browser.openFile(resnetPage, options), use);
  }

  /** The same on a page that others have tried, and left as it was. */
  const onSharedResnet = (use: (page: Page) => Promise<void>) => browser.tryShared(resnetPage, use);

  const text = (page: Page, selector: string) => page.locator(selector).innerText();
  /** The axis of the main chart, as its ticks are drawn on a canvas: the stretch that it shows. */
  const pixels = (page: Page, selector: string) =>
    page.locator(selector).evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());

  test('shows the numbers of the run, and marks the winner', () =>
    onSharedResnet(async (page) => {
      expect(await text(page, 'h1')).toBe('resnet');
      expect(await text(page, '#facts')).toContain('26,012');
      const winner = await text(page, '#manager-table tr.winner');
      expect(winner).toContain('pool');
      expect(winner).toContain('489 MiB');
      expect(winner).toContain('97.1 %');
      expect(await text(page, '#winner')).toBe(
        'Of the runs that came to their end, pool holds 5.2 % less memory at its peak than caching (489.19 MiB against 516.00 MiB); ' +
          'caching makes 60 native calls instead of 165.',
      );
      expect(await text(page, '#manager-table tbody tr:nth-child(1)')).toContain('516 MiB');
      expect(await text(page, '#manager-table tbody tr:nth-child(4)')).toContain('out of memory');
      expect(await text(page, '#moment-text')).toBe('after event 7,130 of 26,012: 475 MiB live, 489 MiB reserved by pool');
      expect(await text(page, '#leaks-lead')).toContain('642 blocks, 293 MiB, are never freed');
      expect(await text(page, '#settings')).toContain('simulated');
    }));

  test('changes the moment by the slider, by a named moment and by a click in the chart', () =>
    onSharedResnet(async (page) => {
      const map = await pixels(page, '#map-canvas canvas');
      await page.getByRole('button', { name: 'end', exact: true }).click();
      await page.waitForFunction(() => document.querySelector('#moment-text')?.textContent?.startsWith('at the end'));
      expect(await text(page, '#biggest-lead')).toContain('642 blocks live at the end');
      expect(await pixels(page, '#map-canvas canvas')).not.toBe(map);
      await page.locator('#moment-slider').fill('0');
      await page.waitForFunction(() => document.querySelector('#moment-text')?.textContent?.startsWith('after event 0 of'));
      expect(await text(page, '#biggest-lead')).toContain('0 blocks live');
      await page.locator('#memory-chart .u-over').click({ position: { x: 400, y: 100 } });
      await page.waitForFunction(() => !document.querySelector('#moment-text')?.textContent?.startsWith('after event 0 of'));
      // All runs but the one that failed go on: its column says so.
      expect(await text(page, '#memory-readout')).toContain('stopped');
      await page.getByRole('button', { name: 'peak live' }).click();
      await page.waitForFunction(() => document.querySelector('#moment-text')?.textContent?.startsWith('after event 7,130 of'));
    }));

  test('zooms by dragging in the chart, and shows everything again by a double click', () =>
    onResnet(async (page) => {
      const chart = '#memory-chart canvas';
      const before = await pixels(page, chart);
      const box = (await page.locator('#memory-chart .u-over').boundingBox())!;
      await page.mouse.move(box.x + 200, box.y + 100);
      await page.mouse.down();
      await page.mouse.move(box.x + 420, box.y + 120, { steps: 5 });
      await page.mouse.up();
      await expect.poll(() => pixels(page, chart)).not.toBe(before);
      // The other charts show the same stretch: they moved along. The moment did not.
      expect(await text(page, '#moment-text')).toContain('after event 7,130');
      await page.locator('#memory-chart .u-over').dblclick({ position: { x: 300, y: 60 } });
      await page.mouse.move(5, 5);
      await page.getByRole('button', { name: 'peak live' }).click();
      await expect.poll(() => pixels(page, chart)).toBe(before);
    }));

  test('is usable by the keyboard alone', () =>
    onResnet(async (page) => {
      await page.keyboard.press('Tab');
      expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the managers');
      await page.locator('#memory-chart .plot').focus();
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement as Element).outlineStyle);
      expect(outline).toBe('solid');
      const moment = () => text(page, '#moment-text');
      const before = await moment();
      await page.keyboard.press('Shift+ArrowRight');
      await page.waitForFunction((old) => document.querySelector('#moment-text')?.textContent !== old, before);
      await page.keyboard.press('End');
      await page.waitForFunction(() => document.querySelector('#moment-text')?.textContent?.startsWith('at the end'));
      const whole = await pixels(page, '#memory-chart canvas');
      await page.keyboard.press('+');
      await expect.poll(() => pixels(page, '#memory-chart canvas')).not.toBe(whole);
      await page.keyboard.press('0');
      await expect.poll(() => pixels(page, '#memory-chart canvas')).toBe(whole);
      await page.locator('#map-canvas canvas').focus();
      await page.keyboard.press('ArrowRight');
      expect(await text(page, '#map-detail')).toMatch(/^[\d.]+ [KM]?i?B.* at 0x[0-9a-f]+ · [\d,]+ events old$/);
    }));

  test('names every control and every table for screen readers', () =>
    onSharedResnet(async (page) => {
      const nameless = await page.evaluate(() =>
        [...document.querySelectorAll('button, select, input, canvas[tabindex], .plot, section')]
          .filter((one) => {
            const labelled = one.getAttribute('aria-labelledby');
            const name =
              one.getAttribute('aria-label') ?? (labelled === null ? null : document.getElementById(labelled)?.textContent);
            return !(name ?? one.closest('label')?.textContent ?? one.textContent ?? '').trim();
          })
          .map((one) => one.outerHTML.slice(0, 80)),
      );
      expect(nameless).toEqual([]);
      await page.locator('#memory-as-table summary').click();
      // A fold tells that it was opened in a task of its own.
      await expect.poll(() => page.locator('#memory-table tbody tr').count()).toBe(25);
    }));

  test.each([
    [1280, 'light'],
    [400, 'dark'],
  ] as const)('fits %d px in %s colours, with readable contrast', (width, colours) =>
    onResnet(
      async (page) => {
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
        expect(await page.evaluate(() => document.documentElement.dataset['theme'])).toBe(colours);
        const contrasts = await page.evaluate(() => {
          const style = getComputedStyle(document.documentElement);
          const luminance = (name: string) => {
            const hex = style.getPropertyValue(name).trim();
            const [r = 0, g = 0, b = 0] = [1, 3, 5]
              .map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255)
              .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const contrast = (a: string, b: string) => {
            const [low = 0, high = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
            return (high + 0.05) / (low + 0.05);
          };
          return {
            text: Math.min(...['--text', '--text-soft', '--accent', '--good', '--bad'].map((name) => contrast(name, '--panel'))),
            curves: Math.min(
              ...Array.from({ length: 8 }, (_, i) => contrast(`--manager-${i}`, '--panel')),
              contrast('--moment', '--panel'),
            ),
          };
        });
        // What WCAG asks of text and of graphics.
        expect(contrasts.text).toBeGreaterThan(4.5);
        expect(contrasts.curves).toBeGreaterThan(3);
        const other = colours === 'light' ? 'dark' : 'light';
        await page.getByRole('button', { name: `Use ${other} colours` }).click();
        expect(await page.evaluate(() => document.documentElement.dataset['theme'])).toBe(other);
      },
      { width, colours },
    ),
  );

  test('goes by time where the trace has times, and stays at the moment', async () => {
    const calls = Array.from({ length: 100 }, (_, i) => ({ alloc: 1000 * (i + 1) }));
    const trace = traceOf(calls, 'timed', true);
    await tryPage(await browser.openFile(renderPage(buildReport(trace, [observe(trace, 'pool')]))), async (page) => {
      const chart = '#memory-chart canvas';
      const byEvents = await pixels(page, chart);
      expect(await text(page, '#memory-readout')).toContain('event 100, 1.1 s');
      await page.getByLabel('axis').selectOption('time');
      await expect.poll(() => pixels(page, chart)).not.toBe(byEvents);
      // The pause is most of the width: a click into it chooses the moment at its end.
      await page.locator('#memory-chart .u-over').click({ position: { x: 500, y: 100 } });
      await page.waitForFunction(() => /after event 5\d of 100/.test(document.querySelector('#moment-text')?.textContent ?? ''));
      await page.mouse.move(5, 5);
      await page.getByRole('button', { name: 'end', exact: true }).click();
      await page.getByLabel('axis').selectOption('events');
      await expect.poll(() => pixels(page, chart)).toBe(byEvents);
    });
  });

  test('marks the best of a search and its knee', async () => {
    const trace = traceOf([{ alloc: 5 * MiB }]);
    const point = { settings: 'defaults', leastCapacityBytes: null, frontier: true };
    const points = [
      { ...point, manager: 'lru', code: 'new Lru()', peakReservedBytes: 475 * MiB, nsPerEvent: 2300 },
      { ...point, manager: 'pool', code: 'new Pool()', peakReservedBytes: 510 * MiB, nsPerEvent: 100 },
    ];
    const tune = { goal: 'reserved', points, best: 0, knee: 1 } as const;
    const winner = { run: 0, verdict: 'lru holds 7 % less; pool is 23 times faster.', knee: 1, fastest: 1 };
    const runs = ['caching', 'pool'].map((name) => observe(trace, name));
    const html = renderPage(buildReport(trace, runs, { tune, winner }));
    await tryPage(await browser.openFile(html), async (page) => {
      expect(await text(page, '#winner')).toBe('lru holds 7 % less; pool is 23 times faster.');
      expect(await page.locator('#manager-table .name').allInnerTexts()).toEqual([
        expect.stringMatching(/^caching\s*least memory$/),
        expect.stringMatching(/^pool\s*fastest\s*knee$/),
      ]);
      expect(await text(page, '#frontier-table tbody tr:nth-child(1)')).toMatch(/^lru, defaults\s*least memory\s/);
      expect(await text(page, '#frontier-table tbody tr:nth-child(2)')).toMatch(/^pool, defaults\s*knee\s/);
      expect(await text(page, '#frontier-lead')).toContain('The knee, with the least product of memory and time: new Pool()');
    });
  });

  test('shows a leak with its tag and its site, and runs nothing that a trace says', async () => {
    const site = `at leaky (${HOSTILE}:3:7)\nat main (app.js:1:1)`;
    const trace = traceOf([{ alloc: 5 * MiB, tag: HOSTILE, site }, { alloc: 100 }, { free: 1 }], HOSTILE);
    const html = renderPage(
      buildReport(trace, [observe(trace, 'caching', { name: HOSTILE })], { settings: [{ label: HOSTILE, value: HOSTILE }] }),
    );
    await tryPage(await browser.openFile(html), async (page) => {
      const row = await text(page, '#leaks-table tbody tr');
      expect(row).toContain('5.00 MiB');
      expect(row).toContain(HOSTILE);
      expect(row).toContain(`at leaky (${HOSTILE}:3:7)`);
      await page.locator('#leaks-table summary').click();
      expect(await text(page, '#leaks-table tbody tr')).toContain('at main (app.js:1:1)');
      expect(await text(page, 'h1')).toBe(HOSTILE);
      await page.getByLabel('colour by').selectOption('tag');
      expect(await text(page, '#map-legend')).toContain(HOSTILE);
      expect(await page.evaluate(() => Reflect.get(globalThis, 'hacked'))).toBeUndefined();
      expect(await page.locator('img').count()).toBe(0);
    });
  });
});
