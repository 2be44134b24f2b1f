// Puts the parts of the report's page into the compiled module that gives them. Usage: build-page.mjs <dist>
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildSync } from 'esbuild';

const root = resolve(import.meta.dirname, '../..');
const report = join(root, 'src/report');
const folder = mkdtempSync(join(root, 'node_modules/.stowage-page-'));
try {
  const outfile = join(folder, 'page-parts.mjs');
  buildSync({ entryPoints: [join(report, 'page-parts.ts')], bundle: true, platform: 'node', format: 'esm', outfile });
  const { pageParts } = await import(pathToFileURL(outfile).href);
  const parts = JSON.stringify(pageParts(pathToFileURL(`${report}/page/`)), null, 1);
  const text = `const PARTS = ${parts};\nexport function pageParts() {\n    return PARTS;\n}\n`;
  const compiled = join(process.argv[2], 'src/report');
  writeFileSync(join(compiled, 'page-parts.js'), text);
  for (const suffix of ['js', 'd.ts']) rmSync(join(compiled, `inline-modules.${suffix}`), { force: true });
} finally {
  rmSync(folder, { recursive: true });
}
