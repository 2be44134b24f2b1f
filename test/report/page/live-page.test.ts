import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../../adapters/devices/simulated.js';
import { PoolMemoryManager } from '../../../managers/index.js';
import { MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime, MiB } from '../../../src/index.js';
import { type Dashboard, serveDashboard } from '../../../src/report/index.js';
import { CHROMIUM, TestBrowser } from './browser.js';

const HOSTILE = '<img src=x onerror="globalThis.hacked=1">';

class HostileManager extends PoolMemoryManager {
  override get name(): string {
    return HOSTILE;
  }
}

describe.skipIf(CHROMIUM.missing)(`the live page in ${CHROMIUM.title}`, () => {
  let browser: TestBrowser;
  let runtime: MemoryRuntime;
  let dashboard: Dashboard;
  beforeAll(async () => {
    browser = await TestBrowser.start();
  });
  afterAll(() => browser?.stop());
  beforeEach(async () => {
    runtime = new MemoryRuntime(new SimulatedDevice({ virtual: true }));
    dashboard = await serveDashboard(runtime, { intervalMs: 100, title: HOSTILE });
  });
  afterEach(async () => {
    await dashboard.dispose();
    runtime.close();
  });

  const cell = (page: Page, manager: number, text: string) =>
    page
      .locator(`#manager-table tr > :nth-child(${manager + 1})`)
      .filter({ hasText: text })
      .first();

  test('follows what the program allocates, frees and swaps', async () => {
    const block = runtime.allocate(3 * MiB, { tag: HOSTILE });
    const { page, faults } = await browser.open(dashboard.url);
    await cell(page, 1, '3.00 MiB').waitFor();
    expect(await page.locator('#connection').innerText()).toBe('live');
    const more = runtime.allocate(5 * MiB);
    await cell(page, 1, '8.00 MiB').waitFor();
    await page.locator('#biggest-lead').filter({ hasText: '2 blocks live now' }).waitFor();
    expect(await page.locator('#biggest-table').innerText()).toContain(HOSTILE);
    await page.locator('#growth-table').filter({ hasText: '3.00 MiB' }).waitFor();
    expect(await page.locator('#growth-table').innerText()).toContain(HOSTILE);
    const drawn = () => page.locator('#memory-chart canvas').evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
    const before = await drawn();
    new MemoryManagerInstaller(new HostileManager(1, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
    using third = runtime.allocate(MiB);
    await cell(page, 2, HOSTILE).waitFor();
    await cell(page, 2, 'serves').waitFor();
    await cell(page, 1, 'drains').waitFor();
    block.dispose();
    more.dispose();
    await cell(page, 1, 'stopped').waitFor();
    expect(await drawn()).not.toBe(before);
    expect(third.bytes).toBe(MiB);
    expect(await page.evaluate(() => Reflect.get(globalThis, 'hacked'))).toBeUndefined();
    expect(faults).toEqual([]);
    await page.close();
  });

  test('reads the values of a time by the arrow keys, and keeps the focus and an open fold while the program goes on', async () => {
    await using sited = await serveDashboard(runtime, { intervalMs: 100, sites: true });
    using kept = runtime.allocate(3 * MiB);
    const { page, faults } = await browser.open(sited.url);
    await cell(page, 1, '3.00 MiB').waitFor();
    const where = page.locator('#memory-where');
    expect(await where.innerText()).toMatch(/^Point into the chart, or press the arrow keys/);
    await page.locator('#memory-chart .plot').press('ArrowLeft');
    await where.filter({ hasText: /^At .*: 3\.00 MiB live, [\d.]+ MiB reserved, [\d.]+ MiB cached$/ }).waitFor();
    const hint = page.locator('#manager-table .hint').first();
    await hint.focus();
    await where.filter({ hasText: /^Point into/ }).waitFor();
    const fold = page.locator('#biggest-table details').first();
    await fold.locator('summary').press('Enter');
    const age = await page.locator('#biggest-table tbody td').nth(1).innerText();
    // Its age has changed, so it was filled again.
    await expect.poll(() => page.locator('#biggest-table tbody td').nth(1).innerText()).not.toBe(age);
    expect(await fold.getAttribute('open')).not.toBeNull();
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('SUMMARY');
    expect([kept.bytes, faults]).toEqual([3 * MiB, []]);
    await page.close();
  });

  test('has no flame graph without sites, and says how to get them', async () => {
    runtime.allocate(MiB);
    const { page, faults } = await browser.open(dashboard.url);
    await page.locator('#flame-missing').filter({ hasText: 'stowage serve --sites -- node app.js' }).waitFor();
    expect(await page.locator('#flame').isVisible()).toBe(false);
    expect(faults).toEqual([]);
    await page.close();
  });

  test('draws flame graphs of what is allocated, and stays where it was while the program goes on', async () => {
    await using sited = await serveDashboard(runtime, { intervalMs: 100, sites: true });
    const first = () => runtime.allocate(3 * MiB);
    const second = () => runtime.allocate(5 * MiB);
    using kept = first();
    const { page, faults } = await browser.open(sited.url);
    const lead = (text: string) => page.locator('#flame-lead').filter({ hasText: text }).waitFor();
    await lead('3.00 MiB live now, in 1 block');
    expect(await page.locator('#flame-missing').isVisible()).toBe(false);
    const canvas = page.locator('#flame-canvas canvas');
    const detail = () => page.locator('#flame-detail').innerText();
    for (let steps = 0; steps < 20 && !(await detail()).startsWith('first ·'); steps++) await canvas.press('ArrowDown');
    await canvas.press('Enter');
    await expect.poll(detail).toContain('3.00 MiB, 100.0 %, in 1 block');
    const more = second();
    await lead('8.00 MiB live now, in 2 blocks');
    await expect.poll(detail).toMatch(/^first · .* 3\.00 MiB, 37\.5 %, in 1 block/);
    await page.getByRole('button', { name: 'Show all' }).waitFor();
    more.dispose();
    await lead('3.00 MiB live now, in 1 block');
    await page.locator('#flame-controls select').selectOption('live at the peak');
    await lead('8.00 MiB live at the peak, in 2 blocks');
    await page.locator('#flame-controls select').selectOption('allocated so far');
    await lead('8.00 MiB allocated so far, in 2 blocks');
    expect(kept.bytes).toBe(3 * MiB);
    expect(faults).toEqual([]);
    await page.close();
  });

  test('says that it lost its server, and goes on when it is there again', async () => {
    // Held: the garbage collector frees what is dropped.
    const kept = [runtime.allocate(MiB)];
    const { page } = await browser.open(dashboard.url);
    await page
      .locator('#connection')
      .filter({ hasText: /^live$/ })
      .waitFor();
    await dashboard.dispose();
    await page.locator('#connection').filter({ hasText: 'not connected' }).waitFor();
    dashboard = await serveDashboard(runtime, { intervalMs: 100, port: dashboard.port });
    kept.push(runtime.allocate(6 * MiB));
    await page
      .locator('#connection')
      .filter({ hasText: /^live$/ })
      .waitFor();
    await cell(page, 1, '7.00 MiB').waitFor();
    for (const block of kept) block.dispose();
    await page.close();
  });
});
