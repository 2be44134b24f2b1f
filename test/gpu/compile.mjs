// Puts the GPU program beside a build, as JavaScript that plain Node runs: the conformance suite included.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { buildSync, transformSync } from 'esbuild';

const tests = resolve(import.meta.dirname, '..');

/** What the program needs of the tests. */
const NEEDED = [
  'conformance/device-suite.ts',
  'core/fakes.ts',
  ...['event-file', 'machine', 'manager-subject', 'statistics', 'subject'].map((name) => `bench/${name}.ts`),
];

/** Those that examples-run.ts runs. */
const EXAMPLES = ['devices', 'cublas', 'cuda-kernel'];

/**
 * Compiles the program. Types are checked by `npm run types`.
 *
 * @param {string} target - a folder; with `node_modules` above it or in it
 * @param {string | undefined} dist - a build with a file for each module; undefined to make one
 * @returns {string} the compiled main module
 */
export function compileGpuProgram(target, dist) {
  if (dist !== undefined) cpSync(dist, target, { recursive: true });
  else execFileSync(process.execPath, [join(tests, 'config/build.mjs'), target, '--modules'], { stdio: ['ignore', 2, 2] });
  cpSync(join(tests, '../package.json'), join(target, 'package.json'));
  const own = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  const entryPoints = [...NEEDED, ...own.map((name) => `gpu/${name}`)].map((file) => join(tests, file));
  buildSync({ entryPoints, outdir: join(target, 'test'), outbase: tests, target: 'es2022', logLevel: 'error' });
  cpSync(join(import.meta.dirname, 'torch-peer.cpp'), join(target, 'test/gpu/torch-peer.cpp'));
  copyExamples(join(target, 'examples'));
  const shim = join(target, 'node_modules/vitest');
  writeJson(join(shim, 'package.json'), { name: 'vitest', type: 'module', exports: './index.js' });
  cpSync(join(import.meta.dirname, 'vitest-shim.mjs'), join(shim, 'index.js'));
  return join(target, 'test/gpu/main.js');
}

/** Copies the examples that need a card, with the compiled modules in the place of the package. */
function copyExamples(target) {
  const { exports } = JSON.parse(readFileSync(join(tests, '../package.json'), 'utf8'));
  for (const name of EXAMPLES) {
    const text = readFileSync(join(tests, `../docs/examples/${name}.mts`), 'utf8');
    const moved = text.replace(/ from 'stowage(\/[^']+)?';/g, (_, part = '') => {
      return ` from '${exports[`.${part}`].default.replace('./dist/', '../')}';`;
    });
    write(join(target, `${name}.mjs`), transformSync(moved, { loader: 'ts', target: 'es2022' }).code);
  }
}

function write(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function writeJson(path, value) {
  write(path, `${JSON.stringify(value)}\n`);
}
