import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { compiled } from '../fixtures/compiled.js';
import { openCl } from '../fixtures/opencl.js';

const ROOT = resolve(import.meta.dirname, '../..');
const EXAMPLES = join(ROOT, 'docs/examples');
const names = readdirSync(EXAMPLES).filter((name) => name.endsWith('.mjs'));

/** What an example prints, where that does not depend on the machine. */
const OUTPUT: Record<string, RegExp> = {
  'quick-start.mjs': /^262144 floats at \d+, the first is 42\n/,
  'logging.mjs': /^initialize nativeAlloc alloc unlock shutdown nativeFree\n$/,
  'swapping.mjs': /the old block still holds 7\nCachingMemoryManager stopped\nCachingMemoryManager stopped\n$/,
  'dependency-injection.mjs': /^MyManager gave 4096 bytes\nnow DefaultMemoryManager serves\n$/,
  'c-library.mjs': /^deflateInit: 0, [1-9]\d* blocks from CachingMemoryManager\ndeflateEnd: 0 blocks\n$/,
  'decorators.mjs': /^refused: limited to 16777216 bytes, rounding included; 1 blocks are live\nheld by loadWeights\n$/,
  'shared-memory.mjs': /^the worker says 524288, and left 42\n$/,
  'recording.mjs':
    /^11 allocations by CachingMemoryManager, 3181 bytes live at most\nnever freed: 1 block, 3072 bytes, tagged weights\n$/,
  'scopes.mjs': /^the sum is 4096, 1 block is live\n$/,
  'devices.mjs': /^(cuda is absent: .+|.+ sent 42 back)\n$/,
  'opencl-kernel.mjs': /^4096 of 4096 numbers are right, 16384 bytes apart\n$/,
  'tensors.mjs':
    /^the first column is 1 and 4\n2 tensors, 144.02 KiB\n {2}q4_K: .* \(100.0 %\)\n {2}f32: .*\n0 tensors are live\n$/,
  'model.mjs':
    /^the file says 1 2 3 4\nlayer input: 16 bytes\nlayer 0: 8 bytes\n2 copies outlive the file: 1 2 3 4\n\d.* GiB for all; in 16 GiB: \d+ layers, a context of 1024\ncontextLength: .*\ngpuLayers: /,
  'graph-allocator.mjs': /^17 tensors of 17825792 bytes fit into 2097152\nthe input lies at \d+, 8 nodes overwrite theirs\n$/,
  'custom-manager.mjs': /^5000 bytes in a block of 8192\n$/,
};

describe('docs/examples', () => {
  let folder = '';
  beforeAll(() => {
    folder = join(compiled(), 'examples');
    cpSync(EXAMPLES, folder, { recursive: true });
  }, 120_000);

  const runs = (name: string) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, name)], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toMatch(OUTPUT[name] ?? /^$/);
  };
  const needsOpenCl = (name: string) => name.startsWith('opencl-');

  test.each(names.filter((name) => !needsOpenCl(name)))('%s runs and prints what it says', runs);

  describe.skipIf(openCl.missing)(openCl.title('OpenCL'), () => {
    test.each(names.filter(needsOpenCl))('%s runs and prints what it says', runs);
  });

  test("the README's quick start is quick-start.mjs", () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    expect(readme).toContain(`\`\`\`js\n${readFileSync(join(EXAMPLES, 'quick-start.mjs'), 'utf8')}\`\`\``);
  });
});

describe('docs', () => {
  test('every error code has a row in errors.md', () => {
    const codes = readFileSync(join(ROOT, 'src/core/errors.ts'), 'utf8').matchAll(/^ {2}(ERR_MEM_\w+): \{/gm);
    const documented = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
    for (const [, code] of codes) expect(documented).toContain(`| \`${code}\` `);
  });

  test('every relative link leads to a file', () => {
    const pages = [
      'README.md',
      ...readdirSync(join(ROOT, 'docs'))
        .filter((name) => name.endsWith('.md'))
        .map((name) => `docs/${name}`),
    ];
    for (const page of pages) {
      const text = readFileSync(join(ROOT, page), 'utf8');
      for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) {
        expect(existsSync(resolve(ROOT, page, '..', link as string)), `${link} in ${page}`).toBe(true);
      }
    }
  });
});
