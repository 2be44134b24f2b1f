import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { pages } from './page-blocks.js';

const ROOT = resolve(import.meta.dirname, '../..');
const ALL = [...pages(), 'SECURITY.md'];
const textOf = (page: string) => readFileSync(join(ROOT, page), 'utf8').replaceAll(/^( *)```.*?^\1```$/gms, '');

/** Where a page's links and pictures lead, as they are written. */
function linksOf(page: string): string[] {
  const text = textOf(page).replaceAll(/`[^`\n]*`/g, '');
  return Array.from(
    text.matchAll(/\]\(([^)\s]+)\)|(?:href|src|srcset)="([^"]+)"/g),
    ([, link, attribute]) => (link ?? attribute)!,
  );
}

/** The anchors that GitHub gives the headings of a page. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of textOf(page).matchAll(/^#+ (.*)$/gm)) {
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = words.replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(/\s/g, '-');
    let free = anchor;
    for (let n = 1; anchors.has(free); n++) free = `${anchor}-${n}`;
    anchors.add(free);
  }
  return anchors;
}

/** What is wrong with a link of a page, as GitHub shows it; undefined for nothing. */
function faultOf(page: string, link: string): string | undefined {
  if (/^[a-z]+:/.test(link))
    return /^https:\/\/([a-z0-9-]+\.)+[a-z]{2,}(\/\S*)?$/.test(link) ? undefined : 'is no address of HTTPS';
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : relative(ROOT, resolve(ROOT, page, '..', path));
  if (target.startsWith('..')) return 'leads out of the repository';
  if (!existsSync(join(ROOT, target))) return 'leads to no file';
  if (anchor === undefined) return undefined;
  if (!statSync(join(ROOT, target)).isFile() || !target.endsWith('.md')) return 'has an anchor in what is no page';
  return anchorsOf(target).has(anchor) ? undefined : 'leads to no heading';
}

describe('the links and headings of README, docs and their folders', () => {
  test.each(ALL)('%s leads to files and headings that there are, or to addresses of HTTPS', (page) => {
    const faults = linksOf(page).map((link) => [link, faultOf(page, link)]);
    expect(faults.filter(([, fault]) => fault !== undefined)).toEqual([]);
  });

  test.each(ALL)('%s has no two headings of one text', (page) => {
    const headings = Array.from(textOf(page).matchAll(/^#+ .*$/gm), ([heading]) => heading);
    expect(headings.filter((heading, n) => headings.indexOf(heading) < n)).toEqual([]);
  });

  test('every page is one that docs/README.md leads to, by its own or its folder', () => {
    const seen = new Set(['README.md', 'docs/README.md']);
    for (const page of seen) {
      if (page !== 'docs/README.md' && !/^docs\/[^/]+\/README\.md$/.test(page)) continue;
      for (const link of linksOf(page)) if (/^[^:#]+\.md$/.test(link)) seen.add(relative(ROOT, resolve(ROOT, page, '..', link)));
    }
    expect(ALL.filter((page) => !seen.has(page))).toEqual([]);
  });
});
