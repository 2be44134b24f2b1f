// Packs the package, installs it into an empty project, and uses it there as a new user would.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import { ENTRY_PROGRAMS, EXTERNAL } from './entry-programs.mjs';

const root = resolve(import.meta.dirname, '../..');
const project = mkdtempSync(join(tmpdir(), 'stowage-consumer-'));

function run(title, command, args, cwd = project) {
  console.log(`\n# ${title}`);
  execFileSync(command, args, { cwd, stdio: 'inherit' });
}

function bin(name) {
  return join(root, 'node_modules', '.bin', name);
}

/** Brings a peer dependency, which is optional and not installed with the package. */
function linkPackage(name) {
  const link = join(project, 'node_modules', name);
  if (existsSync(link)) return;
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(join(root, 'node_modules', name), link);
}

try {
  run('npm pack', 'npm', ['pack', '--silent', '--pack-destination', project], root);
  const tarball = join(
    project,
    readdirSync(project).find((name) => name.endsWith('.tgz')),
  );
  run('publint', bin('publint'), [tarball, '--strict']);
  run('are the types wrong?', bin('attw'), [tarball, '--profile', 'esm-only', '--no-emoji', '--format', 'ascii']);

  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
  run('install without scripts', 'npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', tarball]);

  const quickStart = /```js\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1];
  if (quickStart === undefined) throw new Error('README.md has no quick start');
  writeFileSync(join(project, 'quick-start.mjs'), quickStart);
  run("the README's quick start", process.execPath, ['quick-start.mjs']);
  run('the command', join(project, 'node_modules', '.bin', 'stowage'), ['--version']);

  writeFileSync(join(project, 'small.trace'), '#alloctrace v1 small\na 0 1000\nf 0\n');
  run('a report page', join(project, 'node_modules', '.bin', 'stowage'), ['replay', 'small.trace', '--report', 'small.html']);
  if (!readFileSync(join(project, 'small.html'), 'utf8').includes('new EventSource')) throw new Error('the page has no script');

  console.log('\n# each entry point alone, and alone in a bundle');
  for (const name of EXTERNAL) linkPackage(name);
  for (const [name, { source, output }] of Object.entries(ENTRY_PROGRAMS)) {
    const file = join(project, `entry-${name.replaceAll(/\W+/g, '-')}.mjs`);
    const outfile = file.replace('.mjs', '.cjs');
    writeFileSync(file, source);
    const options = { bundle: true, platform: 'node', format: 'cjs', external: EXTERNAL, logLevel: 'error' };
    buildSync({ ...options, logOverride: { 'empty-import-meta': 'silent' }, entryPoints: [file], outfile });
    for (const program of [file, outfile]) {
      const printed = execFileSync(process.execPath, [program], { encoding: 'utf8' }).trim();
      if (printed !== output) throw new Error(`${program} prints ${printed} instead of ${output}`);
    }
    console.log(name);
  }

  // The oldest `lib` that is supported, and neither skipLibCheck nor the types of Node.
  const typeTest = readFileSync(join(root, 'test/package/consumer.ts'), 'utf8');
  writeFileSync(join(project, 'consumer.ts'), typeTest);
  const compilerOptions = { noEmit: true, strict: true, target: 'ES2022', lib: ['ES2022'], module: 'NodeNext', types: [] };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
  run('types with lib ES2022', bin('tsc'), ['-p', '.']);

  // What the README tells users of TypeScript, with the types of Node.
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const blockOf = (language) => new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(readme)?.[1] ?? '';
  rmSync(join(project, 'consumer.ts'));
  writeFileSync(join(project, 'tsconfig.json'), blockOf('json'));
  writeFileSync(join(project, 'quick-start.mts'), blockOf('ts'));
  linkPackage('@types/node');
  run("the README's tsconfig.json", bin('tsc'), ['-p', '.']);
  run("the README's TypeScript", process.execPath, ['quick-start.mjs']);
  console.log('\nthe tarball works in an empty project');
} finally {
  rmSync(project, { recursive: true });
}
