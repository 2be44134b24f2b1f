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
    dashboard = await serveDashboard(runtime, { intervalMs: 50, title: HOSTILE });
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
    const drawn = () => page.locator('#memory-chart canvas').evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
    const before = await drawn();
    new MemoryManagerInstaller(new HostileManager(1, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
    runtime.allocate(MiB);
    await cell(page, 2, HOSTILE).waitFor();
    await cell(page, 2, 'serves').waitFor();
    await cell(page, 1, 'drains').waitFor();
    block.dispose();
    more.dispose();
    await cell(page, 1, 'stopped').waitFor();
    expect(await drawn()).not.toBe(before);
    expect(await page.evaluate(() => Reflect.get(globalThis, 'hacked'))).toBeUndefined();
    expect(faults).toEqual([]);
    await page.close();
  });

  test('says that it lost its server, and goes on when it is there again', async () => {
    runtime.allocate(MiB);
    const { page } = await browser.open(dashboard.url);
    await page
      .locator('#connection')
      .filter({ hasText: /^live$/ })
      .waitFor();
    await dashboard.dispose();
    await page.locator('#connection').filter({ hasText: 'not connected' }).waitFor();
    dashboard = await serveDashboard(runtime, { intervalMs: 50, port: dashboard.port });
    runtime.allocate(6 * MiB);
    await page
      .locator('#connection')
      .filter({ hasText: /^live$/ })
      .waitFor();
    await cell(page, 1, '7.00 MiB').waitFor();
    await page.close();
  });
});
