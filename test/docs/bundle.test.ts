import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compiled } from '../fixtures/compiled.js';
import { programsOf } from './page-blocks.js';

const PACKAGES = resolve(import.meta.dirname, '../../node_modules');
const PAGE = 'docs/recipes/bundle.md';

describe(PAGE, () => {
  const [{ code = '', printed = '' } = {}] = programsOf(PAGE).flatMap(({ pieces }) => pieces);
  /** As a Lambda or a program without top-level await has it. */
  const asFunction = code.replace(/^console\.log\(await (handler\(.*\))\);$/m, '$1.then(console.log);');
  let folder = '';
  beforeAll(() => void compiled(), 120_000);
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'stowage-bundle-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const bundle = (format: 'esm' | 'cjs') => {
    const outfile = join(folder, format === 'esm' ? 'main.mjs' : 'main.cjs');
    const stdin = { contents: format === 'esm' ? code : asFunction, loader: 'ts', resolveDir: compiled() } as const;
    return build({ bundle: true, platform: 'node', format, external: ['koffi'], logLevel: 'silent', stdin, outfile }).then(
      () => outfile,
    );
  };
  /** What the page copies beside the bundle. */
  const bringKoffi = () => {
    const target = join(folder, 'node_modules');
    mkdirSync(target);
    for (const name of ['koffi', '@koromix']) cpSync(join(PACKAGES, name), join(target, name), { recursive: true });
  };
  const run = (file: string) => execFileSync(process.execPath, [file], { encoding: 'utf8', cwd: folder, stdio: 'pipe' });

  test.each(['esm', 'cjs'] as const)(
    'runs as a bundle (%s) in a folder with koffi and its platform package alone',
    async (format) => {
      const file = await bundle(format);
      bringKoffi();
      expect(readdirSync(folder)).toHaveLength(2);
      expect(createRequire(file).resolve('koffi')).toMatch(folder);
      expect(run(file)).toBe(printed);
    },
  );

  test('is right that webpack may read it: no module names files by new URL(…, import.meta.url), which webpack takes into the bundle', () => {
    const folder = join(compiled(), 'dist');
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js'));
    const texts = names.map((name) => [name, readFileSync(join(folder, name), 'utf8')] as const);
    expect(texts.filter(([, text]) => /new URL\([^;]*import\.meta\.url\)/.test(text)).map(([name]) => name)).toEqual([]);
  });
});
