import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseAllocConf } from '../../managers/index.js';
import { MemoryError } from '../../src/index.js';

const DOCS = resolve(import.meta.dirname, '../../docs');
const SOURCE = resolve(import.meta.dirname, '../../managers/pytorch/alloc-conf.ts');

describe('docs/coming-from/pytorch.md', () => {
  const page = readFileSync(join(DOCS, 'coming-from/pytorch.md'), 'utf8');
  /** Those that the manager knows, HIP's names aside. */
  const keys = Array.from(
    readFileSync(SOURCE, 'utf8').matchAll(/^ {2,4}'?([a-z0-9_]+)'?(?::|,$)/gm),
    ([, key]) => key as string,
  ).filter((key) => key.includes('_') && !key.includes('hip'));

  test('names each key of PYTORCH_ALLOC_CONF that the manager takes', () => {
    expect(keys.length).toBeGreaterThan(14);
    for (const key of keys) expect(page).toContain(`\`${key}\``);
  });

  test('names no key that it refuses', () => {
    for (const [, key] of page.matchAll(/`([a-z]+[a-z0-9]*_[a-z0-9_]+)`(?=[^|]*\|[^|]*\|[^|]*\|$)/gm)) {
      const refused = () => parseAllocConf(`${key}:1`);
      try {
        refused();
      } catch (error) {
        if (!MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) throw error;
        // A value may be refused, a name may not.
        expect(error.facts.expected, key).not.toMatch(/a key/);
      }
    }
  });
});
