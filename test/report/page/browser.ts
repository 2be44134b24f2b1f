import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { LIMIT_MS } from '../../config/limits.js';
import { requireProgram } from '../../fixtures/requires.js';

/** The browser that the page is tested in. */
export const CHROMIUM = requireProgram('Chromium', ['/usr/bin/chromium', '/usr/bin/chromium-browser']);

/** How a page is opened. */
export interface OpenOptions {
  readonly width?: number;
  readonly colours?: 'light' | 'dark';
  /** Whether it has no script that says when it is ready. */
  readonly isStatic?: boolean;
}

/** A page in the browser, and all that went wrong on it: what its console says, what it throws, what it wants to load. */
export interface OpenPage {
  readonly page: Page;
  readonly faults: readonly string[];
}

/** Tries a page, expects that nothing went wrong on it meanwhile, and closes it. */
export async function tryPage({ page, faults }: OpenPage, use: (page: Page) => Promise<void>): Promise<void> {
  try {
    await use(page);
    expect(faults).toEqual([]);
  } finally {
    await page.close();
  }
}

/** The next file that needs the browser begins at once, or not at all. */
const IDLE_MS = 2000;

/** A headless browser, which test files of one process share. */
export class TestBrowser {
  static #shared: Promise<Browser> | undefined;
  static #users = 0;
  static #idle: NodeJS.Timeout | undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), 'stowage-page-'));
  readonly #browser: Browser;
  #pages = 0;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<TestBrowser> {
    clearTimeout(TestBrowser.#idle);
    TestBrowser.#users++;
    TestBrowser.#shared ??= chromium.launch({ executablePath: CHROMIUM.path, args: ['--no-sandbox'] });
    return new TestBrowser(await TestBrowser.#shared);
  }

  async stop(): Promise<void> {
    rmSync(this.#folder, { recursive: true });
    TestBrowser.#users--;
    if (TestBrowser.#users > 0) return;
    const closeIdle = async () => {
      const shared = TestBrowser.#shared;
      TestBrowser.#shared = undefined;
      await (await shared)?.close();
    };
    TestBrowser.#idle = setTimeout(closeIdle, IDLE_MS).unref();
  }

  /** Opens a page from file://, as a user does. */
  async openFile(html: string, options: OpenOptions = {}): Promise<OpenPage> {
    const file = join(this.#folder, `${++this.#pages}.html`);
    writeFileSync(file, html);
    return this.open(pathToFileURL(file).href, options);
  }

  async open(url: string, { width = 1280, colours = 'light', isStatic = false }: OpenOptions = {}): Promise<OpenPage> {
    const page = await this.#browser.newPage({ viewport: { width, height: 900 }, colorScheme: colours });
    const faults: string[] = [];
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) faults.push(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => faults.push(`thrown: ${error.message}`));
    page.on('request', (request) => {
      const base = new URL('.', url).href;
      if (!request.url().startsWith(base)) faults.push(`request: ${request.url()}`);
    });
    page.setDefaultTimeout(LIMIT_MS);
    await page.goto(url);
    if (!isStatic) await page.waitForSelector('html[data-ready="true"]');
    return { page, faults };
  }
}
