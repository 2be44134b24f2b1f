import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import packageFile from '../../package.json' with { type: 'json' };
import { CHROMIUM, type OpenOptions, TestBrowser } from '../report/page/browser.js';
import { BuiltSite, type NavigationEntry } from './built-site.js';

const ROOT = resolve(import.meta.dirname, '../..');
const DOCS = join(ROOT, 'docs');
/** Lists of what there is: what they name need not lead back to them. */
const LISTS = ['guides/changelog.html', 'guides/index.html'];

/** The addresses of what the sources of docs become. */
function expectedPages(): string[] {
  const files = readdirSync(DOCS, { recursive: true, encoding: 'utf8' }).filter((path) => !path.startsWith('api'));
  const guides = files.filter((path) => path.endsWith('.md'));
  const examples = files.filter((path) => /^examples\/[^/]+\.(m[jt]s|ts|yaml)$/.test(path));
  return [
    ...guides.map((path) => `guides/${path.slice(0, -3).replace(/README$/, 'index')}.html`),
    ...examples.map((path) => `${path}.html`),
  ];
}

const importPaths = Object.entries(packageFile.exports).flatMap(([path, target]) =>
  typeof target === 'string' ? [] : [path.replace('.', packageFile.name)],
);
const fileName = (path: string) => path.replaceAll('/', '_');

function pathsOf(entries: readonly NavigationEntry[]): string[] {
  return entries.flatMap(({ path, children = [] }) => [...(path === undefined ? [] : [path]), ...pathsOf(children)]);
}

describe('npm run docs', () => {
  let site: BuiltSite;
  let browser: TestBrowser | undefined;
  beforeAll(async () => {
    site = await BuiltSite.build();
    if (!CHROMIUM.missing) browser = await TestBrowser.start();
  });
  afterAll(async () => {
    await browser?.stop();
    site.dispose();
  });

  /** The pages that the main part of a page leads to. */
  const linked = (page: string) => [
    ...new Set(site.links(site.main(page)).flatMap((link) => site.target(page, link)?.file ?? [])),
  ];
  const isBroken = (page: string, link: string) => {
    const { file, anchor } = site.target(page, link) ?? {};
    if (file === undefined) return false;
    return !site.files.has(file) || (anchor !== '' && file.endsWith('.html') && !site.hasAnchor(file, anchor as string));
  };

  test('makes the site without a warning', () => {
    expect([site.output.match(/.*(?:warning|error)\].*/g), site.status]).toEqual([null, 0]);
  });

  test('makes a page of each guide and each example', () => {
    expect(expectedPages().filter((page) => !site.files.has(page))).toEqual([]);
  });

  test('shows the code of an example', () => {
    const text = site
      .main('examples/quick-start.mjs.html')
      .replaceAll(/<br\/>/g, '\n')
      .replaceAll(/<[^>]*>/g, '');
    expect(text).toContain('const runtime = defaultRuntime();\n');
  });

  test('names each entry point as it is imported', () => {
    const api = site.navigation().find(({ text }) => text === 'API');
    expect(api?.children?.map(({ text }) => text)).toEqual([...importPaths].sort());
    for (const path of importPaths) expect(site.main(`modules/${fileName(path)}.html`)).toContain(`<h1>Module ${path}`);
  });

  test('groups the guides as docs/README.md does', () => {
    const headings = Array.from(readFileSync(join(DOCS, 'README.md'), 'utf8').matchAll(/^## (.*)$/gm), ([, heading]) => heading);
    expect(site.navigation().map(({ text }) => text)).toEqual([...headings, 'Examples', 'API']);
  });

  describe('links', () => {
    test('lead to files and anchors that the site has', () => {
      for (const page of site.pages) {
        expect(
          site.links(site.text(page)).filter((link) => isBroken(page, link)),
          page,
        ).toEqual([]);
      }
    });

    test('of the navigation lead there, too', () => {
      const paths = pathsOf(site.navigation());
      expect(paths.length).toBeGreaterThan(500);
      expect(paths.filter((path) => isBroken('index.html', path))).toEqual([]);
    });

    test('out of the site are HTTPS, and name a host', () => {
      const outside = site.pages.flatMap((page) => site.links(site.text(page)).filter((link) => /^([a-z]+:|\/\/)/.test(link)));
      expect([...new Set(outside)].filter((link) => !/^https:\/\/([a-z0-9-]+\.)+[a-z]{2,}(\/\S*)?$/.test(link))).toEqual([]);
    });
  });

  describe('guides and API', () => {
    test.each(importPaths)('%s has a description, and leads to a guide that leads back', (path) => {
      const page = `modules/${fileName(path)}.html`;
      expect(site.main(page)).toContain('<div class="tsd-comment tsd-typography"><p>');
      const guides = linked(page).filter((target) => target.startsWith('guides/'));
      const exported = new RegExp(`^[a-z]+/${fileName(path)}\\.`);
      expect(guides.filter((guide) => linked(guide).some((target) => exported.test(target)))).not.toEqual([]);
    });

    test('the classes that a guide names lead to guides', () => {
      const guides = expectedPages().filter((page) => page.startsWith('guides/') && !LISTS.includes(page));
      const named = [...new Set(guides.flatMap(linked))].filter((target) => target.startsWith('classes/'));
      expect(named.length).toBeGreaterThan(40);
      expect(named.filter((page) => !linked(page).some((target) => target.startsWith('guides/')))).toEqual([]);
    });
  });

  describe.skipIf(CHROMIUM.missing)(`in ${CHROMIUM.title}`, () => {
    /** Opens a page of the site, looks at it, and closes it. What it wants to load from other files a browser refuses. */
    async function on<T>(file: string, options: OpenOptions, look: (page: Page) => Promise<T>): Promise<T> {
      const url = pathToFileURL(join(site.folder, file)).href;
      const { page } = await browser!.open(url, { ...options, isStatic: true });
      try {
        return await look(page);
      } finally {
        await page.close();
      }
    }

    test.each([
      ['allocate', 'stowage.MemoryRuntime.allocate'],
      ['ERR_MEM_OUT_OF_MEMORY', 'Errors'],
      ['limit', 'Limit the memory of a program, an engine or a tenant'],
      ['swap', 'Swapping managers while the program runs'],
    ])('finds %s', async (word, expected) => {
      await on('index.html', { width: 1400 }, async (page) => {
        await page.click('#tsd-search-trigger');
        await page.fill('#tsd-search-input', word);
        await page.waitForSelector('#tsd-search-results li');
        const found = await page.locator('#tsd-search-results li').allTextContents();
        expect(found.map((text) => text.replaceAll(/\s/g, ''))).toContain(expected.replaceAll(' ', ''));
      });
    });

    test.each([
      'index.html',
      'guides/errors.html',
      'guides/command-line.html',
      'classes/stowage_managers.PoolMemoryManager.html',
    ])('%s is not wider than a phone', async (file) => {
      expect(await on(file, { width: 390 }, (page) => page.evaluate('document.documentElement.scrollWidth'))).toBe(390);
    });

    test("has the reader's colour scheme", async () => {
      const colourIn = (colours: 'light' | 'dark') =>
        on('index.html', { width: 1400, colours }, (page) => page.evaluate('getComputedStyle(document.body).color'));
      expect(await colourIn('light')).not.toBe(await colourIn('dark'));
    });
  });
});
