// What a consumer's TypeScript sees: the declarations of the packed tarball under each compiler that is supported. The libraries'
// declarations are checked, too (skipLibCheck is off), but where it is said.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { check, ROOT, readmeBlock } from './consumer-project.mjs';
import { EXTERNAL } from './entry-programs.mjs';

const VERSIONS = join(ROOT, 'test/versions/node_modules');
const COMPILERS = ['5.4', '5.9', '6.0', '7.0'];
const RESOLUTIONS = [
  { module: 'NodeNext', moduleResolution: 'NodeNext' },
  { module: 'ESNext', moduleResolution: 'Bundler' },
];
/** Packages whose own declarations an old compiler does not read, by the entry point that names them. */
const TOO_NEW = { 5.4: ['./di'] };

/** Compiles consumers of the package with each TypeScript. */
export function checkTypes(project) {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const entries = Object.keys(exports).filter((name) => name !== './package.json');
  const importAll = (names) =>
    names.map((name) => `export * as ${spaceOf(name)} from '${name.replace('.', 'stowage')}';`).join('\n');
  const consumer = readFileSync(join(ROOT, 'test/package/consumer.ts'), 'utf8');

  for (const name of EXTERNAL) project.link(name);
  for (const version of COMPILERS) {
    const compile = (files, options) => {
      const compilerOptions = { noEmit: true, strict: true, target: 'ES2022', lib: ['ES2022'], ...options };
      for (const [name, text] of Object.entries(files)) project.write(name, text);
      project.write('tsconfig.json', JSON.stringify({ compilerOptions, files: Object.keys(files) }));
      runCompiler(project, version);
    };
    const old = TOO_NEW[version] ?? [];
    for (const resolution of RESOLUTIONS) {
      check(`types under TypeScript ${version}, ${resolution.moduleResolution}`, () => {
        // The oldest `lib` that is supported, without the types of Node.
        compile({ 'consumer.ts': consumer }, { ...resolution, types: [] });
        useNodeTypes(project, join(ROOT, 'node_modules'));
        compile({ 'all.ts': importAll(entries.filter((name) => !old.includes(name))) }, { ...resolution, types: ['node'] });
        if (old.length === 0) return;
        compile({ 'all.ts': importAll(old) }, { ...resolution, types: ['node'], skipLibCheck: true });
        return `${old} with skipLibCheck`;
      });
    }
    check(`the README's TypeScript under ${version}`, () => compileQuickStart(project, version));
  }
}

/** Compiles the README's TypeScript with the README's `tsconfig.json`: `quick-start.mts` becomes `quick-start.mjs`. */
export function compileQuickStart(project, version) {
  // The types of Node that npm installs today; an old compiler reads what was written in its days.
  useNodeTypes(project, version === '5.4' ? join(ROOT, 'node_modules') : VERSIONS);
  for (const name of ['consumer.ts', 'all.ts']) rmSync(project.path(name), { force: true });
  project.write('tsconfig.json', readmeBlock('json'));
  project.write('quick-start.mts', readmeBlock('ts'));
  runCompiler(project, version);
}

function spaceOf(name) {
  return `in_${name.replaceAll(/\W/g, '_')}`;
}

function useNodeTypes(project, from) {
  rmSync(project.path('node_modules/@types/node'), { force: true });
  project.link('@types/node', from);
}

function runCompiler(project, version) {
  const compiler = join(VERSIONS, `typescript-${version}/bin/tsc`);
  if (!existsSync(compiler)) throw new Error(`TypeScript ${version} is not here: npm run install:versions`);
  project.run(process.execPath, [compiler, '-p', '.']);
}
