import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildReport, renderPage } from '../../src/report/index.js';
import { CHROMIUM, TestBrowser } from '../report/page/browser.js';
import { type Call, observe, traceOf } from '../report/reports.js';

const EVENTS = 500_000;

describe.skipIf(CHROMIUM.missing)(`the report page in ${CHROMIUM.title}`, () => {
  let browser: TestBrowser;
  beforeAll(async () => {
    browser = await TestBrowser.start();
  });
  afterAll(() => browser?.stop());

  test('opens half a million events without a fault, and follows the moment', async () => {
    const calls: Call[] = [];
    const live: number[] = [];
    for (let n = 0; calls.length < EVENTS; n++) {
      calls.push({ alloc: 64 * (1 + (n % 977)) });
      live.push(n);
      // The oldest and the newest go in turn, so that some blocks live long.
      if (live.length > 2000) calls.push({ free: (n % 3 === 0 ? live.shift() : live.pop()) as number });
    }
    const trace = traceOf(calls, 'half a million');
    const html = renderPage(
      buildReport(
        trace,
        ['caching', 'pool', 'default'].map((name) => observe(trace, name)),
      ),
    );
    const started = performance.now();
    const { page, faults } = await browser.openFile(html);
    const openedMs = performance.now() - started;
    const momentMs = await page.evaluate(async () => {
      const slider = document.querySelector('#moment-slider') as HTMLInputElement;
      const start = performance.now();
      for (let i = 1; i <= 20; i++) {
        slider.value = String((Number(slider.max) * i) / 20);
        slider.dispatchEvent(new Event('input'));
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      }
      return (performance.now() - start) / 20;
    });
    const frameMs = await page.evaluate(async () => {
      const start = performance.now();
      for (let i = 0; i < 60; i++) {
        scrollBy(0, 40);
        await new Promise((done) => requestAnimationFrame(done));
      }
      return (performance.now() - start) / 60;
    });
    console.log(
      `${(html.length / 2 ** 20).toFixed(1)} MiB of page, open in ${openedMs.toFixed(0)} ms, ${momentMs.toFixed(0)} ms a moment, ${frameMs.toFixed(1)} ms a frame of scrolling`,
    );
    expect(faults).toEqual([]);
  });
});
