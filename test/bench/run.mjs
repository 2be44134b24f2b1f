// node test/bench/run.mjs [--dist <folder>] [--main <module>] [options of the benchmark, see --help]
// Builds the sources, compiles the benchmark beside that build, and runs it. --dist takes another build instead, made with
// `node test/config/build.mjs <folder> --modules`, --main another benchmark than main.ts.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildSync } from 'esbuild';

const root = resolve(import.meta.dirname, '../..');
const args = process.argv.slice(2);
const built = take('--dist');
const module = take('--main') ?? 'main';

const cache = join(root, 'node_modules/.cache');
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(join(cache, 'stowage-bench-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
const { main } = await import(pathToFileURL(join(compile(folder), `${module}.js`)).href);
process.exitCode = await main(root, args);

/** Takes an option of this script out of the arguments. */
function take(option) {
  const at = args.indexOf(option);
  return at < 0 ? undefined : args.splice(at, 2)[1];
}

/** Ends the process when the sources do not build. */
function build(target) {
  const args = [join(root, 'test/config/build.mjs'), target, '--modules'];
  if (spawnSync(process.execPath, args, { stdio: ['ignore', 2, 2] }).status === 0) return;
  process.stderr.write('bench: the sources do not build\n');
  process.exit(1);
}

/** Puts JavaScript where the imports of the sources point, `../../src` to the build. */
function compile(target) {
  const compiled = join(target, 'test/bench');
  // A build of its own, or a copy: who builds meanwhile does not change what is measured.
  if (built === undefined) build(target);
  else cpSync(resolve(built), target, { recursive: true });
  mkdirSync(compiled, { recursive: true });
  writeFileSync(join(target, 'package.json'), '{ "type": "module" }\n');
  // Beside the benchmark: engines, and what drives them in tests.
  const folders = ['bench', 'hosts', 'fixtures'].map((name) => join(root, 'test', name));
  const isProgram = (name) => name.endsWith('.ts') && !name.endsWith('.test.ts');
  const entryPoints = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter(isProgram)
      .map((name) => join(folder, name)),
  );
  buildSync({ entryPoints, outdir: target, outbase: root, target: 'es2022', logLevel: 'error' });
  const engines = join(import.meta.dirname, '../hosts/node_modules');
  if (existsSync(engines)) symlinkSync(engines, join(target, 'test/hosts/node_modules'));
  return compiled;
}
