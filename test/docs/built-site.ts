import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { inflateSync } from 'node:zlib';

const ROOT = resolve(import.meta.dirname, '../..');
const TYPEDOC = join(ROOT, 'node_modules/typedoc/bin/typedoc');

/** An entry of the site's navigation. */
export interface NavigationEntry {
  readonly text: string;
  /** From the site's root; absent for a heading. */
  readonly path?: string;
  readonly children?: readonly NavigationEntry[];
}

/** The site that `npm run docs` makes, in a folder of its own. */
export class BuiltSite {
  readonly folder = mkdtempSync(join(tmpdir(), 'stowage-site-'));
  /** What the build said. */
  readonly output: string;
  readonly status: number | null;
  /** The files, from the site's root. */
  readonly files: ReadonlySet<string>;
  readonly #texts = new Map<string, string>();

  constructor() {
    const { status, stdout, stderr } = spawnSync(process.execPath, [TYPEDOC, '--out', this.folder], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    this.status = status;
    this.output = stdout + stderr;
    const entries = readdirSync(this.folder, { recursive: true, withFileTypes: true });
    const paths = entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []));
    this.files = new Set(paths.map((path) => relative(this.folder, path)));
  }

  get pages(): string[] {
    return [...this.files].filter((file) => file.endsWith('.html'));
  }

  /** The text of a file of the site. */
  text(file: string): string {
    let text = this.#texts.get(file);
    if (text === undefined) {
      text = readFileSync(join(this.folder, file), 'utf8');
      this.#texts.set(file, text);
    }
    return text;
  }

  /** The main part of a page, without navigation. */
  main(page: string): string {
    return this.text(page).replace(/^.*<div class="col-content">|<div class="col-sidebar">.*$/gs, '');
  }

  /** Where a page's links and pictures lead, as they are written. */
  links(html: string): string[] {
    return Array.from(html.matchAll(/ (?:href|src|srcset)="([^"]*)"/g), ([, link]) => (link as string).replaceAll('&amp;', '&'));
  }

  /** What a link of a page leads to, from the site's root; undefined for one that leads out of the site. */
  target(page: string, link: string): { readonly file: string; readonly anchor: string } | undefined {
    if (/^[a-z]+:/.test(link)) return undefined;
    const [path = '', anchor = ''] = link.split('#');
    const file = path === '' ? page : join(dirname(page), decodeURI(path));
    return { file: file.endsWith('/') || file === '.' ? join(file, 'index.html') : file, anchor: decodeURI(anchor) };
  }

  hasAnchor(page: string, anchor: string): boolean {
    return this.text(page).includes(` id="${anchor}"`);
  }

  navigation(): readonly NavigationEntry[] {
    const [, data = ''] = /"(.*)"/.exec(this.text('assets/navigation.js')) ?? [];
    return JSON.parse(inflateSync(Buffer.from(data, 'base64')).toString()) as NavigationEntry[];
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true });
  }
}
