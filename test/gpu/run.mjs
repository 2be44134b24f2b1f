// node test/gpu/run.mjs [--dist <folder> | --program <main module>] [options of the program, see --help]
// Builds the sources, compiles the GPU program beside that build, and runs it. --dist takes another build instead, made
// with `node test/config/build.mjs <folder> --modules`; --program takes what compile.mjs has compiled already.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compileGpuProgram } from './compile.mjs';

const root = resolve(import.meta.dirname, '../..');
const args = process.argv.slice(2);
const dist = taken('--dist');
const program = taken('--program') ?? compileGpuProgram(temporaryFolder(), dist);
const { main } = await import(pathToFileURL(program).href);
process.exitCode = await main(root, args);

/** Takes an option with a path out of the arguments. */
function taken(name) {
  const at = args.indexOf(name);
  return at < 0 ? undefined : resolve(args.splice(at, 2)[1] ?? '');
}

/** A folder that is gone when this process ends. */
function temporaryFolder() {
  const cache = join(root, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'stowage-gpu-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
  return folder;
}
