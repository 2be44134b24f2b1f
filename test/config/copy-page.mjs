// Puts the report page's sources, which tsc leaves alone, beside the compiled modules. Usage: copy-page.mjs <dist>
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

const source = resolve(import.meta.dirname, '../../src/report/page');
const target = join(process.argv[2], 'src/report/page');
mkdirSync(target, { recursive: true });
for (const name of readdirSync(source)) {
  if (/\.(?:js|css|html)$/.test(name)) copyFileSync(join(source, name), join(target, name));
}
