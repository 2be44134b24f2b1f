import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BrowserContext, BrowserType, Page } from 'playwright-core';
import { expect } from 'vitest';
import { LIMIT_MS } from '../../config/limits.js';
import { requireProgram } from '../../fixtures/requires.js';

// By an import Node looks through its seven million characters for names of exports, which takes nearly as long as loading it.
const { chromium }: { readonly chromium: BrowserType } = createRequire(import.meta.url)('playwright-core');

/** The browser that the page is tested in. Without the parts that make windows it opens a page in a third of the processor time. */
export const CHROMIUM = requireProgram(
  'Chromium',
  ['chromium-headless-shell', 'chromium', 'chromium-browser'].map((name) => `/usr/bin/${name}`),
);
/** One process draws all pages: another one would compile the scripts again. */
const ONE_PROCESS = ['--renderer-process-limit=1', '--disable-site-isolation-trials', '--process-per-site'];

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

/** A browser that test files of one process share. */
export class TestBrowser {
  static #shared: Promise<BrowserContext> | undefined;
  static #users = 0;
  static #idle: NodeJS.Timeout | undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), 'stowage-page-'));
  readonly #context: BrowserContext;
  readonly #sharedPages = new Map<string, Promise<OpenPage>>();
  #pages = 0;

  private constructor(context: BrowserContext) {
    this.#context = context;
  }

  static async start(): Promise<TestBrowser> {
    clearTimeout(TestBrowser.#idle);
    TestBrowser.#users++;
    TestBrowser.#shared ??= TestBrowser.#launch();
    return new TestBrowser(await TestBrowser.#shared);
  }

  static async #launch(): Promise<BrowserContext> {
    const browser = await chromium.launch({ executablePath: CHROMIUM.path, args: ['--no-sandbox', ...ONE_PROCESS] });
    const context = await browser.newContext();
    // The process that draws ends with its last page.
    await context.newPage();
    return context;
  }

  async stop(): Promise<void> {
    for (const shared of this.#sharedPages.values()) await (await shared).page.close();
    rmSync(this.#folder, { recursive: true });
    TestBrowser.#users--;
    if (TestBrowser.#users > 0) return;
    const closeIdle = async () => {
      const shared = TestBrowser.#shared;
      TestBrowser.#shared = undefined;
      await (await shared)?.browser()?.close();
    };
    TestBrowser.#idle = setTimeout(closeIdle, IDLE_MS).unref();
  }

  /** Opens a page from file://, as a user does. */
  async openFile(html: string, options: OpenOptions = {}): Promise<OpenPage> {
    const file = join(this.#folder, `${++this.#pages}.html`);
    writeFileSync(file, html);
    return this.open(pathToFileURL(file).href, options);
  }

  /** Tries a page that tests of a file share, since opening it takes longest: each leaves it as it was. The first one opens it. */
  async tryShared(html: string, use: (page: Page) => Promise<void>): Promise<void> {
    const opening = this.#sharedPages.get(html) ?? this.openFile(html);
    this.#sharedPages.set(html, opening);
    const { page, faults } = await opening;
    await page.bringToFront();
    await page.evaluate(() => scrollTo({ top: 0, behavior: 'instant' }));
    await page.mouse.move(0, 0);
    await use(page);
    expect(faults).toEqual([]);
  }

  async open(url: string, { width = 1280, colours = 'light', isStatic = false }: OpenOptions = {}): Promise<OpenPage> {
    const page = await this.#context.newPage();
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: colours });
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
