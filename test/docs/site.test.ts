import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import packageFile from '../../package.json' with { type: 'json' };
import { CHROMIUM, TestBrowser } from '../report/page/browser.js';
import { BuiltSite, linksOf, type NavigationEntry } from './built-site.js';

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
  /** Shows one file of the site after the other. What it wants to load from other files a browser refuses. */
  let page: Page;
  const urlOf = (file: string) => pathToFileURL(join(site.folder, file)).href;
  beforeAll(async () => {
    site = await BuiltSite.build();
    if (CHROMIUM.missing) return;
    browser = await TestBrowser.start();
    ({ page } = await browser.open(urlOf('index.html'), { width: 1400, isStatic: true }));
  });
  afterAll(async () => {
    if (browser !== undefined) await page.close();
    await browser?.stop();
    site.dispose();
  });

  /** The pages that the main part of a page leads to. */
  const linked = (page: string) => [...new Set(linksOf(site.main(page)).flatMap((link) => site.target(page, link)?.file ?? []))];
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

  test('gives code its colours', () => {
    expect(site.main('examples/pod.yaml.html')).toContain('<code class="yaml"><span class="hl-');
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
          site.links(page).filter((link) => isBroken(page, link)),
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
      const outside = site.pages.flatMap((page) => site.links(page).filter((link) => /^([a-z]+:|\/\/)/.test(link)));
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
    test("has the reader's colour scheme", async () => {
      const colourIn = async (colorScheme: 'light' | 'dark') => {
        await page.emulateMedia({ colorScheme });
        return page.evaluate('getComputedStyle(document.body).color');
      };
      expect(await colourIn('light')).not.toBe(await colourIn('dark'));
    });

    /** Looks for a word in the search, which stays open. */
    async function find(word: string): Promise<string[]> {
      const results = page.locator('#tsd-search-results li');
      if (!(await page.isVisible('#tsd-search-input'))) await page.click('#tsd-search-trigger');
      await page.fill('#tsd-search-input', '');
      await expect.poll(() => results.count()).toBe(0);
      await page.fill('#tsd-search-input', word);
      await results.first().waitFor();
      return results.allTextContents();
    }

    test.each([
      ['allocate', 'stowage.MemoryRuntime.allocate'],
      ['ERR_MEM_OUT_OF_MEMORY', 'Errors'],
      ['limit', 'Limit the memory of a program, an engine or a tenant'],
      ['swap', 'Swapping managers while the program runs'],
    ])('finds %s', async (word, expected) => {
      const found = await find(word);
      expect(found.map((text) => text.replaceAll(/\s/g, ''))).toContain(expected.replaceAll(' ', ''));
    });

    test.each([
      'index.html',
      'guides/errors.html',
      'guides/command-line.html',
      'classes/stowage_managers.PoolMemoryManager.html',
    ])('%s is not wider than a phone', async (file) => {
      await page.setViewportSize({ width: 390, height: 900 });
      await page.goto(urlOf(file));
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
    });
  });
});
