// node test/config/build.mjs <dist> [--modules]
// Bundles the sources into a few files: an entry file for each entry point of package.json and for the command, and chunks
// in src/chunks that they share. With --modules each source file has an entry file, too: for tests, which use inner modules.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = resolve(import.meta.dirname, '../..');
const PAGE_PARTS = 'src/report/page-parts.ts';
/** What each chunk holds beside what those before it hold: these files, and all that they import. */
const CHUNKS = {
  // What `import 'stowage'` needs, src/defaults.ts aside: that does something, so it is a file of its own. \0: helpers of the bundler.
  core: '(?:\\0|src/(?:core|runtime|budget|conf)|managers/(?:caching|default)|adapters/devices/cpu|src/trace/recording/record-|src/report/live/serve-from-)',
  defaults: 'src/defaults',
  os: 'adapters/(?:ffi|os)/',
  devices: 'adapters/devices/',
  hosts: 'adapters/hosts/',
  managers: '(?:managers|src/blocks)/',
  trace: 'src/trace/',
  report: 'src/report/',
  whatif: 'src/whatif/',
  explain: 'src/explain/',
  shared: 'src/shared/',
  model: 'src/model/',
};
/** A package that goes into a chunk: Node loads it, which is CommonJS, in as much time as half of the chunk. */
const BUNDLED = 'eventemitter3';

const { exports, bin, dependencies, peerDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const [, , dist, ...flags] = process.argv;
if (dist === undefined) throw new Error('usage: node test/config/build.mjs <dist> [--modules]');
const bundle = await rolldown({
  cwd: ROOT,
  input: Object.fromEntries(
    (flags.includes('--modules') ? allFiles() : entryFiles()).map((path) => [path.replace(/\.ts$/, ''), path]),
  ),
  platform: 'node',
  transform: { target: 'es2022' },
  external: Object.keys({ ...dependencies, ...peerDependencies }).filter((name) => name !== BUNDLED),
  // package.json names the files of dist that do something when they are imported, not the sources.
  treeshake: { moduleSideEffects: [{ test: /^(?!node:)/, sideEffects: true }] },
  plugins: [
    { name: 'page-parts', load: (id) => (fileOf(id) === PAGE_PARTS ? pagePartsModule() : null) },
    { name: 'class-names', renderChunk: (code) => ({ code: withClassNames(code), map: null }) },
  ],
});
await bundle.write({
  dir: resolve(dist),
  cleanDir: true,
  sourcemap: true,
  sourcemapExcludeSources: true,
  // Beside the types in dist, since allocation sites leave out frames from there. Files with code lie two folders deep.
  sourcemapPathTransform: (path, map) => `../../${fileOf(resolve(dirname(map), path))}`,
  format: 'esm',
  entryFileNames: '[name].js',
  // Two folders deep, as the sources are: what asks where it lies finds the same.
  chunkFileNames: 'src/chunks/[name].js',
  comments: { jsdoc: false },
  banner: ({ name }) => (name === 'core' ? licenceOf(BUNDLED) : ''),
  minifyInternalExports: false,
  codeSplitting: {
    groups: Object.entries(CHUNKS).map(([name, files], i, all) => {
      const pattern = new RegExp(`^${files}`);
      return { name, test: (id) => pattern.test(fileOf(id)), priority: all.length - i };
    }),
  },
});
await bundle.close();

/** The sources of the entry points and of the command. */
function entryFiles() {
  const targets = Object.values(exports).flatMap((target) => target.default ?? []);
  return [...targets, ...Object.values(bin)].map((path) => path.replace(/^(?:\.\/)?dist\//, '').replace(/\.js$/, '.ts'));
}

/** All sources that Node runs: the page has a browser, the kernel a compiler of its own. */
function allFiles() {
  return ['src', 'adapters', 'managers'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => `${folder}/${name}`.replaceAll('\\', '/'))
      .filter((path) => path.endsWith('.ts') && !/^src\/(?:report\/page|blocks\/kernel)\//.test(path)),
  );
}

/**
 * Names classes, as errors and inspections show them: a program's bundler renames them where they name themselves, or where
 * chunks have two of a name. On the lines where they are, so that lines of source maps stay. PURE: what is not used can go.
 */
function withClassNames(code) {
  const classes = /^var ([\w$]+) = (class\b[^;]*?\{$[\s\S]*?^\});$/gm;
  if (!classes.test(code)) return code;
  const named =
    'function namedClass(name, it) { return Object.defineProperty(it, "name", { value: name, configurable: true }); }';
  const nameOf = (name) => JSON.stringify(name.replace(/\$\d+$/, ''));
  return `${code.replace(classes, (_, name, it) => `var ${name} = /* @__PURE__ */ namedClass(${nameOf(name)}, ${it});`)}\n${named}\n`;
}

/** A licence wants its text in each copy. */
function licenceOf(name) {
  return `/*! ${name}:\n${readFileSync(join(ROOT, 'node_modules', name, 'LICENSE'), 'utf8').trim()}\n*/`;
}

function fileOf(id) {
  return relative(ROOT, id).replaceAll('\\', '/');
}

/** Puts the parts of the report's page into the module that gives them, because a bundle has no files beside it. */
async function pagePartsModule() {
  const folder = mkdtempSync(join(ROOT, 'node_modules/.stowage-page-'));
  try {
    const file = join(folder, 'page-parts.mjs');
    const module = await rolldown({ cwd: ROOT, input: PAGE_PARTS, platform: 'node' });
    await module.write({ file, format: 'esm' });
    const { pageParts } = await import(pathToFileURL(file).href);
    const parts = JSON.stringify(pageParts(pathToFileURL(join(ROOT, 'src/report/page/'))), null, 1);
    return `const PARTS = ${parts};\nexport function pageParts() {\n  return PARTS;\n}\n`;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
