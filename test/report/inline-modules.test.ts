import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { inlineModules } from '../../src/report/inline-modules.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-inline-'));
afterAll(() => rmSync(folder, { recursive: true }));

function inline(modules: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(modules)) writeFileSync(join(folder, name), text);
  return inlineModules(pathToFileURL(join(folder, 'main.js')));
}

describe('inlineModules', () => {
  test('puts each module once, before those that import it', () => {
    const script = inline({
      'main.js': "import { b } from './b.js';\nimport {\n  a,\n} from './a.js';\nreturn [a, b];\n",
      'b.js': "import { a } from './a.js';\nexport const b = a + 1;\n",
      'a.js': 'export const a = 1;\n',
    });
    expect(new Function(script)()).toEqual([1, 2]);
  });

  test.each([
    ['a default import', { 'main.js': "import a from './a.js';\n" }, 'cannot be inlined'],
    ['a default export', { 'main.js': 'export default 1;\n' }, 'cannot be inlined'],
    [
      'a name that two modules have',
      { 'main.js': "import { a } from './c.js';\nconst x = a;\n", 'c.js': 'export const a = 1;\nconst x = 2;\n' },
      'has a x, too',
    ],
  ])('refuses %s', (_, modules, message) => {
    expect(() => inline(modules)).toThrow(message);
  });
});
