// Takes the pictures of docs anew, from a real trace and a real snapshot: npm run build && node test/config/site/take-pictures.mjs
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = resolve(import.meta.dirname, '../../..');
const SNAPSHOT = 'test/whatif/snapshots/default.pickle.gz';
/** As docs/whatif.md asks. */
const SETTINGS = [
  '--limit',
  '6.7GiB',
  ...['', 'expandable_segments:True', 'max_split_size_mb:128'].flatMap((conf) => ['--conf', conf]),
];
const PICTURES = [
  {
    name: 'report',
    command: ['replay', 'test/traces/resnet.trace.gz', '--manager', 'caching,pool,default'],
    width: 1120,
    height: 880,
  },
  { name: 'whatif', command: ['whatif', SNAPSHOT, ...SETTINGS], width: 1280, height: 980 },
];

const folder = mkdtempSync(join(tmpdir(), 'stowage-pictures-'));
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  for (const { name, command, width, height } of PICTURES) {
    const file = join(folder, `${name}.html`);
    execFileSync(process.execPath, ['dist/src/cli/main.js', ...command, '--report', file], { cwd: ROOT, stdio: 'inherit' });
    for (const [colorScheme, suffix] of [
      ['light', ''],
      ['dark', '-dark'],
    ]) {
      const page = await browser.newPage({ viewport: { width, height }, colorScheme });
      await page.goto(pathToFileURL(file).href);
      await page.waitForSelector('html[data-ready="true"]');
      await page.screenshot({ path: join(ROOT, 'docs', `${name}${suffix}.png`) });
      await page.close();
    }
  }
} finally {
  await browser.close();
  rmSync(folder, { recursive: true });
}
