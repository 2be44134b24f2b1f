import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../../adapters/devices/simulated.js';
import { MemoryBudget, MemoryRuntime, MiB } from '../../../src/index.js';
import { type Dashboard, serveDashboard } from '../../../src/report/index.js';
import { useOwnBudgets } from '../../fixtures/own-budgets.js';
import { CHROMIUM, TestBrowser, tryPage } from './browser.js';

const HOSTILE = '<img src=x onerror="globalThis.hacked=1">';

describe.skipIf(CHROMIUM.missing)(`budgets on the live page in ${CHROMIUM.title}`, () => {
  let browser: TestBrowser;
  let device: SimulatedDevice;
  let runtime: MemoryRuntime;
  let other: MemoryRuntime;
  let budget: MemoryBudget;
  let dashboard: Dashboard;
  /** Handles that the garbage collector is not to find. */
  const kept: Disposable[] = [];
  beforeAll(async () => {
    browser = await TestBrowser.start();
  });
  afterAll(() => browser?.stop());
  useOwnBudgets();
  beforeEach(async () => {
    device = new SimulatedDevice({ capacityBytes: 1024 * MiB });
    runtime = new MemoryRuntime(device);
    other = new MemoryRuntime(device);
    dashboard = await serveDashboard(runtime, { intervalMs: 100 });
  });
  afterEach(async () => {
    for (const handle of kept.splice(0)) handle[Symbol.dispose]();
    await dashboard.dispose();
    budget?.dispose();
    for (const each of [runtime, other]) each.close();
  });

  function addBudget(): void {
    budget = new MemoryBudget({ limit: 64 * MiB, name: HOSTILE, memory: device, exitReport: false });
    budget.add(runtime, { name: 'buffers', priority: 3, minimumBytes: MiB });
    budget.add(other, { name: HOSTILE });
    budget.tenant(HOSTILE, { limit: 32 * MiB, minimumBytes: 2 * MiB, priority: 7 });
  }

  const has = (page: Page, selector: string, text: string | RegExp) =>
    page.locator(selector).filter({ hasText: text }).first().waitFor();
  const rows = (page: Page, label: string) =>
    page
      .locator(`.budget [data-name="${label}"] tbody tr`)
      .evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));

  /** The first time in a text. */
  const secondsIn = (text: string) => {
    const [, amount, unit] = /([\d.]+) (m?s)\b/.exec(text) ?? [];
    return Number(amount) / (unit === 'ms' ? 1000 : 1);
  };

  test('shows nothing of budgets while there is none, and the section when there is one', async () =>
    tryPage(await browser.open(dashboard.url), async (page) => {
      kept.push(runtime.allocate(MiB));
      await has(page, '#connection', /^live$/);
      await has(page, '#manager-table', '1.00 MiB');
      expect(await page.locator('#budgets').isVisible()).toBe(false);
      expect(await page.locator('#budgets-skip').getAttribute('hidden')).not.toBeNull();
      addBudget();
      await page.locator('#budgets .budget canvas').waitFor();
      expect(await page.locator('#budgets-skip').getAttribute('hidden')).toBeNull();
      budget.dispose();
      await has(page, '.budget h3', /, ended$/);
    }));

  test('shows who holds what, tenants, refusals and reclaims with their reasons, as text whatever the names are', async () =>
    tryPage(await browser.open(dashboard.url), async (page) => {
      addBudget();
      kept.push(runtime.allocate(3 * MiB, { tag: HOSTILE }));
      other.allocate(30 * MiB).dispose();
      expect(() => runtime.allocate(60 * MiB)).toThrow('out of memory');
      const held = budget.usedBytes / MiB;
      await has(page, '.budget h3', `${HOSTILE} (simulated 0)`);
      await has(page, '.budget .failure', '1 request refused.');
      await has(page, '.budget .lead', `${held.toPrecision(3)} MiB of 64.0 MiB held`);
      await has(page, '.budget .lead', /1 reclaim gave back 30\.0 MiB\./);
      expect(await rows(page, 'Members')).toEqual([
        ['buffers', 'memory', '20.0 MiB', '17.0 MiB', '20.0 MiB', '1.00 MiB', '3'],
        [HOSTILE, 'memory', '0 B', '0 B', '30.0 MiB', '0 B', '0'],
      ]);
      expect(await rows(page, 'Tenants')).toEqual([[HOSTILE, '3.00 MiB', '32.0 MiB', '2.00 MiB', '7', '3.00 MiB', '0']]);
      const [[, ...reclaim]] = (await rows(page, 'Reclaims')) as [string[]];
      expect(reclaim).toEqual(['buffers', HOSTILE, 'caches of others', '48.0 MiB', '30.0 MiB']);
      expect(await page.evaluate(() => Reflect.get(globalThis, 'hacked'))).toBeUndefined();
      await page.getByText('Over time as a table').click();
      await expect.poll(() => rows(page, 'Who held what over time').then((all) => all.at(-1)?.at(-1))).toBe('20.0 MiB');
    }));

  test('tells what was held and reclaimed at the pointer', async () =>
    tryPage(await browser.open(dashboard.url), async (page) => {
      addBudget();
      kept.push(runtime.allocate(3 * MiB));
      other.allocate(30 * MiB).dispose();
      await has(page, '.budget .legend', `${HOSTILE} 30.0 MiB`);
      expect(() => runtime.allocate(60 * MiB)).toThrow('out of memory');
      await has(page, '.budget .legend', 'reclaim');
      await page.locator('.budget .chart').scrollIntoViewIfNeeded();
      const box = (await page.locator('.budget .u-over').boundingBox())!;
      const pointAt = async (share: number) => {
        await page.mouse.move(box.x + box.width * share, box.y + 40);
        return secondsIn(await page.locator('.budget .where').innerText());
      };
      // What happened lies further left with each sample.
      await expect
        .poll(async () => {
          const [first, last] = [await pointAt(0.01), await pointAt(0.99)];
          const [[reclaimed = '']] = (await rows(page, 'Reclaims')) as [string[]];
          await pointAt((secondsIn(reclaimed) - first) / (last - first));
          return page.locator('.budget .detail').innerText();
        })
        .toMatch(new RegExp(`buffers wanted .*${HOSTILE} gave 30\\.0 MiB \\(caches of others\\)`));
      expect(await page.locator('.budget .where').innerText()).toMatch(/^At \S+ m?s: /);
    }));

  test.each([
    [1400, 'light'],
    [390, 'dark'],
  ] as const)('fits into %i pixels, %s, and draws anew as the program goes on', async (width, colours) =>
    tryPage(await browser.open(dashboard.url, { width, colours }), async (page) => {
      addBudget();
      kept.push(runtime.allocate(3 * MiB, { tag: 'a tenant whose name is longer than a narrow screen is wide, and has no end' }));
      const canvas = page.locator('#budgets .budget canvas');
      await canvas.waitFor();
      const drawn = () => canvas.evaluate((each) => (each as HTMLCanvasElement).toDataURL());
      const before = await drawn();
      kept.push(other.allocate(30 * MiB));
      await has(page, '.budget .legend', `${HOSTILE} 30.0 MiB`);
      expect(await drawn()).not.toBe(before);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
    }),
  );
});
