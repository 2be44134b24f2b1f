import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GiB, MiB } from '../../../src/index.js';
import { buildWhatIf, renderPage, type WhatIfRun } from '../../../src/report/index.js';
import { traceOf } from '../reports.js';
import { whatIfRun } from '../whatif-runs.js';
import { CHROMIUM, type OpenOptions, TestBrowser, tryPage } from './browser.js';

const HOSTILE = '"><img src=x onerror="globalThis.hacked=1"><script>globalThis.hacked=1</script>';
const limitBytes = 900 * MiB;
const failure = {
  event: 33,
  requestedBytes: 424 * MiB,
  step: 'ProfilerStep#7',
  frames: [
    { name: 'attention', filename: 'train.py', line: 88 },
    { name: '', filename: 'train.py', line: 120 },
  ],
};
const FEW = [
  whatIfRun({ limitBytes, fits: false, failure, ooms: 1, retries: 2 }, 9),
  whatIfRun({ conf: 'expandable_segments:True', limitBytes, peakReservedBytes: 850 * MiB, leastLimitBytes: 840 * MiB }),
];

describe.skipIf(CHROMIUM.missing)(`the page of settings in ${CHROMIUM.title}`, () => {
  let browser: TestBrowser;
  beforeAll(async () => {
    browser = await TestBrowser.start();
  });
  afterAll(() => browser?.stop());

  /** Opens the page of some runs, tries it, and expects that nothing went wrong meanwhile. */
  async function on(runs: readonly WhatIfRun[], use: (page: Page) => Promise<void>, options: OpenOptions = {}, name = 'app') {
    const trace = traceOf(
      Array.from({ length: 40 }, () => ({ alloc: 1000 })),
      name,
      true,
    );
    const settings = [{ label: 'card', value: name }];
    const html = renderPage(buildWhatIf(trace, runs, { settings, notes: [`2 MiB of ${name} are not known.`] }));
    await tryPage(await browser.openFile(html, options), use);
  }

  const text = (page: Page, selector: string) => page.locator(selector).innerText();
  const pixels = (page: Page) =>
    page.locator('#memory-chart canvas').evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
  /** How many pixels of the chart have the colour of a custom property. */
  const pixelsOf = (page: Page, colour: string) =>
    page.locator('#memory-chart canvas').evaluate((canvas, name) => {
      const { width, height } = canvas as HTMLCanvasElement;
      const data = (canvas as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, width, height).data;
      const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
      const wanted = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
      let count = 0;
      for (let i = 0; i < data.length; i += 4) if (wanted.every((value, k) => data[i + k] === value)) count++;
      return count;
    }, colour);

  test('shows what becomes of each setting, and which of those that fit reserves the least', () =>
    on(FEW, async (page) => {
      expect(await text(page, 'h1')).toBe('app');
      expect(await text(page, '#winner')).toBe('1 of 2 fit: expandable_segments:True.');
      expect(await text(page, '#notes')).toBe('2 MiB of app are not known.');
      const rows = await page.locator('#manager-table tbody tr').allInnerTexts();
      expect(rows.map((row) => row.split(/\s*\t\s*/))).toEqual([
        ['the default of PyTorch', '900.00 MiB', 'fails at event 33', '900 MiB', '720 MiB', '20.0 %', '2', '1', '9 + 1', '–'],
        ['expandable_segments:True', '900.00 MiB', 'fits', '850 MiB', '800 MiB', '20.0 %', '0', '0', '10 + 1', '840 MiB'],
      ]);
      expect(await text(page, '#settings')).toContain('app');
    }));

  test('shows no part of the other pages', () =>
    on(FEW, async (page) => {
      const shown = await page.locator('h2:visible').allInnerTexts();
      expect(shown).toEqual(['Results', 'Memory over time', 'Failures', 'Settings']);
      expect(await page.locator('nav a:not([hidden])').allTextContents()).toEqual([
        'Skip to the results',
        'Skip to memory over time',
        'Skip to the failures',
      ]);
    }));

  test('tells of a failure what was asked for, when, in which step and by whom', () =>
    on(FEW, async (page) => {
      expect(await text(page, '#failure-list article')).toMatch(
        /^the default of PyTorch\s+424 MiB could not be served under a limit of 900\.00 MiB: event 33 of 40, 1\.03 s, in ProfilerStep#7\. In the chart\s/,
      );
      expect(await page.locator('#failure-list li').allInnerTexts()).toEqual(['attention (train.py:88)', 'train.py:120']);
      // The chart begins at the failure: the other setting goes on.
      expect(await text(page, '#memory-readout .where')).toBe('Chosen moment, event 36 of 40, 1.03 s');
      expect(await page.locator('.values').allInnerTexts()).toEqual([
        '900 MiB reserved, 720 MiB allocated, up to its failure at event 33',
        '900 MiB reserved, 720 MiB allocated',
      ]);
      await page.locator('#memory-chart .plot').focus();
      await page.keyboard.press('End');
      await expect.poll(() => page.locator('.values').first().innerText()).toBe('stopped');
      await page.getByRole('button', { name: 'In the chart' }).click();
      await expect.poll(() => text(page, '#memory-readout .where')).toContain('event 36 of 40');
    }));

  test('hides the failures when there are none', () =>
    on([whatIfRun()], async (page) => {
      expect(await page.locator('#failures').isVisible()).toBe(false);
      expect(await text(page, '#winner')).toBe('It fits.');
    }));

  test('draws the limit, the curves and the failure in their colours', async () => {
    const drawn = (runs: readonly WhatIfRun[], colour: string) =>
      new Promise<number>((done, fail) => void on(runs, async (page) => done(await pixelsOf(page, colour))).catch(fail));
    expect(await drawn([whatIfRun()], '--bad')).toBe(0);
    // A dotted line over the whole width, and its name.
    expect(await drawn([whatIfRun({ limitBytes: GiB })], '--bad')).toBeGreaterThan(500);
    // Far above the curves the name alone is drawn.
    const far = await drawn([whatIfRun({ limitBytes: 80 * GiB })], '--bad');
    expect(far).toBeGreaterThan(10);
    expect(far).toBeLessThan(500);
    const curve = await drawn([whatIfRun({}, 9)], '--manager-0');
    expect(curve).toBeGreaterThan(100);
    expect(await drawn([whatIfRun({ failure }, 9)], '--manager-0')).toBeGreaterThan(curve + 20);
  });

  test('shows and hides settings and quantities, and goes by time', () =>
    on(FEW, async (page) => {
      const before = await pixels(page);
      await page.getByRole('button', { name: 'expandable_segments:True', exact: true }).click();
      await expect.poll(() => pixelsOf(page, '--manager-1')).toBe(0);
      await page.getByRole('button', { name: 'expandable_segments:True', exact: true }).click();
      await expect.poll(() => pixels(page)).toBe(before);
      await page.getByRole('button', { name: 'allocated', exact: true }).click();
      await expect.poll(() => pixels(page)).not.toBe(before);
      await page.getByRole('button', { name: 'allocated', exact: true }).click();
      await page.getByLabel('axis').selectOption('time');
      await expect.poll(() => pixels(page)).not.toBe(before);
      await page.getByLabel('axis').selectOption('events');
      await expect.poll(() => pixels(page)).toBe(before);
      await page.locator('#memory-as-table summary').click();
      await expect.poll(() => page.locator('#memory-table tbody tr').count()).toBe(10);
      expect(await text(page, '#memory-table tbody tr:last-child')).toMatch(/^40\s+–\s+1000 MiB$/);
    }));

  test('shows the first eight of many settings at first, and each of them on demand', () =>
    on(
      Array.from({ length: 10 }, (_, i) => whatIfRun({ conf: `max_split_size_mb:${20 + i}` })),
      async (page) => {
        expect(await page.locator('.reading [aria-pressed="true"]').count()).toBe(8);
        const last = page.getByRole('button', { name: 'max_split_size_mb:29', exact: true });
        await last.click();
        expect(await last.getAttribute('aria-pressed')).toBe('true');
      },
    ));

  test.each([
    [1400, 'light'],
    [390, 'dark'],
  ] as const)('fits %d px in %s colours', (width, colours) =>
    on(
      [
        ...FEW,
        whatIfRun({ conf: 'max_split_size_mb:20,garbage_collection_threshold:0.6,roundup_power2_divisions:[256:1,512:2,>:8]' }),
      ],
      async (page) => {
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
        expect(await page.evaluate(() => document.documentElement.dataset['theme'])).toBe(colours);
        const other = colours === 'light' ? 'dark' : 'light';
        const before = await pixels(page);
        await page.getByRole('button', { name: `Use ${other} colours` }).click();
        await expect.poll(() => pixels(page)).not.toBe(before);
      },
      { width, colours },
    ),
  );

  test('runs nothing that a file says', () =>
    on(
      [
        whatIfRun(
          {
            conf: HOSTILE,
            manager: HOSTILE,
            fits: false,
            failure: { ...failure, step: HOSTILE, frames: [{ name: HOSTILE, filename: HOSTILE, line: 1 }] },
          },
          9,
        ),
      ],
      async (page) => {
        expect(await text(page, 'h1')).toBe(HOSTILE);
        expect(await text(page, '#failure-list li')).toBe(`${HOSTILE} (${HOSTILE}:1)`);
        expect(await text(page, '#failure-list article')).toContain(`in ${HOSTILE}.`);
        expect(await text(page, '#manager-table tbody th')).toBe(HOSTILE);
        expect(await text(page, '#notes')).toContain(HOSTILE);
        expect(await page.evaluate(() => Reflect.get(globalThis, 'hacked'))).toBeUndefined();
        expect(await page.locator('img').count()).toBe(0);
      },
      {},
      HOSTILE,
    ));
});
