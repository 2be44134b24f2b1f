import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
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
  readonly folder: string;
  /** What the build said. */
  readonly output: string;
  readonly status: number | null;
  /** The files, from the site's root. */
  readonly files: ReadonlySet<string>;
  readonly #texts = new Map<string, string>();

  private constructor(folder: string, output: string, status: number | null) {
    this.folder = folder;
    this.output = output;
    this.status = status;
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    const paths = entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []));
    this.files = new Set(paths.map((path) => relative(folder, path)));
  }

  /** Makes the site. Takes half a minute of a processor. */
  static async build(): Promise<BuiltSite> {
    const folder = mkdtempSync(join(tmpdir(), 'stowage-site-'));
    const child = spawn(process.execPath, [TYPEDOC, '--out', folder], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return new BuiltSite(folder, stdout + stderr, status as number | null);
  }

  get pages(): string[] {
    return [...this.files].filter((file) => file.endsWith('.html'));
  }

  /** The text of a file of the site. */
  text(file: string): string {
    let content = this.#texts.get(file);
    if (content === undefined) {
      content = readFileSync(join(this.folder, file), 'utf8');
      this.#texts.set(file, content);
    }
    return content;
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
