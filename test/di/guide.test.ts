import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { beforeAll, describe, expect, test } from 'vitest';
import packageFile from '../../package.json' with { type: 'json' };
import { compiled } from '../fixtures/compiled.js';

const ROOT = resolve(import.meta.dirname, '../..');

/** The programs of the page: a block that imports inversify begins one, another one continues it. */
function programsOf(page: string): string[] {
  const programs: string[] = [];
  for (const [, code = ''] of readFileSync(join(ROOT, 'docs', page), 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)) {
    if (code.includes("from 'inversify'")) programs.push(code);
    else programs[programs.length - 1] += code;
  }
  return programs;
}

const PROGRAMS = programsOf('dependency-injection.md').map((code, n) => ({ code, path: join(ROOT, 'docs', `guide-${n}.mts`) }));
/** By name: what a project has in its tsconfig.json. */
const SETTINGS: Readonly<Record<string, ts.CompilerOptions>> = {
  legacy: { experimentalDecorators: true, emitDecoratorMetadata: true },
  standard: {},
};
/** Those that need the older decorators. */
const isLegacy = ({ code }: { readonly code: string }) => code.includes('@inject(');

/** The sources of the package's entry points, by the names that programs import. */
const paths = Object.fromEntries(
  Object.entries(packageFile.exports).flatMap(([name, targets]) =>
    typeof targets === 'string'
      ? []
      : [[name.replace('.', 'stowage'), [join(ROOT, targets.types.replace('./dist/', '').replace(/\.d\.ts$/, '.ts'))]]],
  ),
);

/** What strict TypeScript says about programs, and what it makes of them. */
function compile(programs: typeof PROGRAMS, settings: ts.CompilerOptions) {
  const options: ts.CompilerOptions = {
    ...{ strict: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, skipLibCheck: true },
    ...{
      verbatimModuleSyntax: true,
      resolveJsonModule: true,
      types: ['node'],
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    },
    ...{ rootDir: ROOT, outDir: '/out', paths },
    ...settings,
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  const codeOf = (path: string) => programs.find((program) => program.path === path)?.code;
  host.fileExists = (path) => codeOf(path) !== undefined || fileExists(path);
  host.readFile = (path) => codeOf(path) ?? readFile(path);
  host.getSourceFile = (path, target, ...rest) => {
    const code = codeOf(path);
    return code === undefined ? getSourceFile(path, target, ...rest) : ts.createSourceFile(path, code, target);
  };
  const compiler = ts.createProgram({ rootNames: programs.map(({ path }) => path), options, host });
  return programs.map(({ path }) => {
    const file = compiler.getSourceFile(path)!;
    const found = [...compiler.getSyntacticDiagnostics(file), ...compiler.getSemanticDiagnostics(file)];
    let made = '';
    compiler.emit(file, (_, text) => (made = text));
    return { errors: found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')), made };
  });
}

const PRINTED = [
  /^(?:\w+ .*\n|MyManager gave 4096 bytes\n)+TlsfMemoryManager\n(?:\w+ .*\n)*$/,
  /^0 MyManager\n$/,
  /^65536 bytes from PoolMemoryManager\n$/,
  /^2 blocks\n2 blocks\n0 blocks are left\n$/,
];

describe('docs/dependency-injection.md', () => {
  let folder = '';
  beforeAll(() => {
    folder = join(compiled(), 'guide');
    mkdirSync(folder, { recursive: true });
  }, 120_000);

  test('has a program for each thing that is printed', () => {
    expect(PROGRAMS.length).toBe(PRINTED.length);
    expect(PROGRAMS.map(isLegacy)).toEqual([false, true, false, false]);
  });

  test.each(Object.entries(SETTINGS))(
    'compiles in strict TypeScript and runs, with %s decorators',
    (name, settings) => {
      const programs = PROGRAMS.filter((program) => name === 'legacy' || !isLegacy(program));
      const results = compile(programs, settings);
      for (const [n, { errors, made }] of results.entries()) {
        expect(errors).toEqual([]);
        const path = join(folder, `${name}-${n}.mjs`);
        writeFileSync(path, made);
        const { status, stdout, stderr } = spawnSync(process.execPath, [path], { encoding: 'utf8' });
        expect([status, stderr]).toEqual([0, '']);
        expect(stdout).toMatch(PRINTED[PROGRAMS.indexOf(programs[n]!)]!);
      }
    },
    240_000,
  );

  test('says what the standard decorators refuse', () => {
    const refused = compile(PROGRAMS.filter(isLegacy), SETTINGS['standard']!);
    expect(new Set(refused.flatMap(({ errors }) => errors))).toEqual(new Set(['Decorators are not valid here.']));
  }, 240_000);
});
