import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { inflateSync } from 'node:zlib';
import typedocFile from '../../typedoc.json' with { type: 'json' };

const ROOT = resolve(import.meta.dirname, '../..');
const TYPEDOC = join(ROOT, 'node_modules/typedoc/bin/typedoc');
/** Code in these languages has no colours here, which take a fifth of the time: no test looks at them. `npm run docs` makes them. */
const PLAIN = ['ts', 'js'];
const isPlain = (language: string) => PLAIN.includes(language);
const languages = (option: string, names: readonly string[]) => names.flatMap((name) => [`--${option}`, name]);
const OPTIONS = [
  ...languages('ignoredHighlightLanguages', typedocFile.highlightLanguages.filter(isPlain)),
  ...languages(
    'highlightLanguages',
    typedocFile.highlightLanguages.filter((name) => !isPlain(name)),
  ),
];
/** V8 optimises only what runs ten times as much as by default: what makes a site once does not earn more of that back. */
const V8_OPTIONS = ['--interrupt-budget=600000'];

/** An entry of the site's navigation. */
export interface NavigationEntry {
  readonly text: string;
  /** From the site's root; absent for a heading. */
  readonly path?: string;
  readonly children?: readonly NavigationEntry[];
}

/** Where links and pictures lead, as they are written, each once. */
export function linksOf(html: string): string[] {
  return [...new Set(Array.from(html.matchAll(/ (?:href|src|srcset)="([^"]*)"/g), ([, link]) => link as string))].map((link) =>
    link.replaceAll('&amp;', '&'),
  );
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
  readonly #links = new Map<string, readonly string[]>();
  readonly #anchors = new Map<string, ReadonlySet<string>>();

  private constructor(folder: string, output: string, status: number | null) {
    this.folder = folder;
    this.output = output;
    this.status = status;
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    const paths = entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []));
    this.files = new Set(paths.map((path) => relative(folder, path)));
  }

  /** Makes the site. Takes some ten seconds of a processor. */
  static async build(): Promise<BuiltSite> {
    const folder = mkdtempSync(join(tmpdir(), 'stowage-site-'));
    const child = spawn(process.execPath, [...V8_OPTIONS, TYPEDOC, ...OPTIONS, '--out', folder], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return new BuiltSite(folder, stdout + stderr, status as number | null);
  }

  get pages(): string[] {
    return [...this.files].filter((file) => file.endsWith('.html'));
  }

  /** The text of a file of the site. */
  text(file: string): string {
    return computed(this.#texts, file, () => readFileSync(join(this.folder, file), 'utf8'));
  }

  /** The main part of a page, without navigation. */
  main(page: string): string {
    return this.text(page).replace(/^.*<div class="col-content">|<div class="col-sidebar">.*$/gs, '');
  }

  /** Where a page's links and pictures lead. */
  links(page: string): readonly string[] {
    return computed(this.#links, page, () => linksOf(this.text(page)));
  }

  /** What a link of a page leads to, from the site's root; undefined for one that leads out of the site. */
  target(page: string, link: string): { readonly file: string; readonly anchor: string } | undefined {
    if (/^[a-z]+:/.test(link)) return undefined;
    const [path = '', anchor = ''] = link.split('#');
    const file = path === '' ? page : join(dirname(page), decodeURI(path));
    return { file: file.endsWith('/') || file === '.' ? join(file, 'index.html') : file, anchor: decodeURI(anchor) };
  }

  hasAnchor(page: string, anchor: string): boolean {
    const anchors = computed(
      this.#anchors,
      page,
      () => new Set(Array.from(this.text(page).matchAll(/ id="([^"]*)"/g), ([, id = '']) => id)),
    );
    return anchors.has(anchor);
  }

  navigation(): readonly NavigationEntry[] {
    const [, data = ''] = /"(.*)"/.exec(this.text('assets/navigation.js')) ?? [];
    return JSON.parse(inflateSync(Buffer.from(data, 'base64')).toString()) as NavigationEntry[];
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** What is kept for a file; made when it is asked for first. */
function computed<T>(kept: Map<string, T>, file: string, make: () => T): T {
  let value = kept.get(file);
  if (value === undefined) {
    value = make();
    kept.set(file, value);
  }
  return value;
}
