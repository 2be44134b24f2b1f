import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { drawArchitecture } from './draw-architecture.js';
import { SOURCE_FILES } from './source-imports.js';

const DOCS = join(import.meta.dirname, '../../docs');

describe('docs/architecture.md', () => {
  // To draw it anew: npx vitest run test/config -u
  test('shows the folders and imports of today', async () => {
    await expect(drawArchitecture()).toMatchFileSnapshot(join(DOCS, 'architecture.svg'));
  });

  // Rows of the table: | what | `a word that its files contain` | `file`, `file` |
  const rows = [...readFileSync(join(DOCS, 'architecture.md'), 'utf8').matchAll(/^\| ([^|]+) \| `([^`]+)` \| ([^|]+) \|/gm)].map(
    ([, kind = '', word = '', files = '']) => ({
      kind,
      word,
      files: [...files.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file),
    }),
  );

  test('has a row for each kind of change', () => {
    expect(rows.map(({ kind }) => kind)).toEqual([
      'a manager',
      'a decorator',
      'a device',
      'a host',
      'a trace format',
      'a statistic',
      'a command',
    ]);
  });

  test.each(rows)('lists the files that $kind touches: those that contain $word', ({ word, files }) => {
    const pattern = new RegExp(`\\b${word}\\b`);
    expect(SOURCE_FILES.filter((file) => pattern.test(readFileSync(file, 'utf8'))).sort()).toEqual([...files].sort());
  });
});
