import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { programsOf } from '../docs/page-blocks.js';
import { runProgram } from '../docs/run-program.js';
import { compileStrictly } from '../docs/strict-programs.js';
import { compiled } from '../fixtures/compiled.js';

const ROOT = resolve(import.meta.dirname, '../..');
const programs = programsOf('docs/dependency-injection.md').map(({ code }, n) => ({ code, path: join(ROOT, `guide-${n}.mts`) }));
/** Those that need the older decorators. */
const isLegacy = ({ code }: { readonly code: string }) => code.includes('@inject(');

// With the older decorators, test/docs/blocks.test.ts compiles and runs them.
describe('docs/dependency-injection.md', () => {
  let folder = '';
  beforeAll(() => {
    folder = join(compiled(), 'guide');
    mkdirSync(folder, { recursive: true });
  });

  test('has one program with decorators', () => expect(programs.filter(isLegacy).length).toBe(1));

  test('compiles and runs without a setting for decorators, but for that one', async () => {
    const plain = programs.filter((program) => !isLegacy(program));
    for (const [n, { errors, made }] of compileStrictly(plain).entries()) {
      expect(errors).toEqual([]);
      const { status, stderr } = await runProgram(join(folder, `${n}/program.mjs`), made);
      expect([status, stderr]).toEqual([0, '']);
    }
  });

  test('says what the standard decorators refuse', () => {
    const refused = compileStrictly(programs.filter(isLegacy)).flatMap(({ errors }) => errors.map(({ text }) => text));
    expect(new Set(refused)).toEqual(new Set(['Decorators are not valid here.']));
  });
});
