// What a program does with the installed package, under one Node: all that may differ from one Node to another.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync, transformSync } from 'esbuild';
import { compileQuickStart } from './check-types.mjs';
import { check, ROOT, readmeBlock } from './consumer-project.mjs';
import { ENTRY_PROGRAMS, EXTERNAL } from './entry-programs.mjs';

const POOLS = ['forks', 'threads', 'vmForks', 'vmThreads'];
/** How a program is written that uses one entry point alone. */
const FORMS = ['ESM', 'require()', 'a bundle as ESM', 'a bundle as CommonJS'];

/** Writes the programs that {@link useTarball} runs. */
export function writePrograms(project) {
  project.write('quick-start-js.mjs', readmeBlock('js'));
  compileQuickStart(project, '6.0');
  project.write('small.trace', '#alloctrace v1 small\na 0 1000\nf 0\n');
  for (const name of EXTERNAL) project.link(name);
  for (const [name, { source }] of Object.entries(ENTRY_PROGRAMS)) {
    const entry = project.write(fileOf(name, 'ESM'), source);
    const { code } = transformSync(source, { format: 'cjs', platform: 'node' });
    project.write(fileOf(name, 'require()'), code);
    for (const format of ['esm', 'cjs']) {
      const outfile = project.path(fileOf(name, format === 'esm' ? 'a bundle as ESM' : 'a bundle as CommonJS'));
      const options = {
        bundle: true,
        platform: 'node',
        format,
        external: EXTERNAL,
        logLevel: 'silent',
        outfile,
        tsconfigRaw: {},
      };
      const { warnings } = buildSync({ ...options, entryPoints: [entry] });
      // Where import.meta has no value there, another is used.
      const unexpected = warnings.filter(({ id }) => id !== 'empty-import-meta');
      if (unexpected.length > 0) throw new Error(`esbuild warns: ${JSON.stringify(unexpected)}`);
    }
  }
  project.link('vitest');
  for (const name of ['one', 'two']) {
    project.write(`pools/${name}.test.mjs`, readFileSync(join(ROOT, 'test/package/pool-consumer.mjs'), 'utf8'));
  }
  const projects = POOLS.flatMap((pool) =>
    [true, false].map((isolate) => ({ test: { name: `${pool}${isolate ? '' : ', not isolated'}`, pool, isolate } })),
  );
  project.write('pools/vitest.config.mjs', `export default ${JSON.stringify({ test: { maxWorkers: 2, projects } })};`);
}

function fileOf(entry, form) {
  const extension = form === 'require()' || form === 'a bundle as CommonJS' ? 'cjs' : 'mjs';
  return `${form.replaceAll(/\W+/g, '-')}/${entry.replaceAll(/\W+/g, '-')}.${extension}`;
}

/** Runs the programs under the Node at `node`. None may write a warning. */
export function useTarball(project, node) {
  const run = (command, ...args) => project.run(command, args, { node, quiet: true });
  const version = run(node, '--version');
  const [major] = version.slice(1).split('.').map(Number);

  check(`Node ${version}: the README's quick start`, () => {
    run(node, 'quick-start-js.mjs');
    run(node, 'quick-start.mjs');
    // Node itself leaves types out from 22.18 on, and knows `using` from 24 on.
    if (major >= 24) run(node, 'quick-start.mts');
    return major >= 24 ? 'JavaScript, compiled TypeScript, TypeScript as it stands' : 'JavaScript, compiled TypeScript';
  });

  const stowage = project.path('node_modules/.bin/stowage');
  check(`Node ${version}: the command`, () => {
    run(stowage, '--version');
    const { node: used } = JSON.parse(run(stowage, 'doctor', '--json'));
    if (used !== version) throw new Error(`stowage doctor says ${used}`);
    run(stowage, 'replay', 'small.trace', '--report', 'small.html');
    if (!readFileSync(project.path('small.html'), 'utf8').includes('new EventSource')) throw new Error('the page has no script');
  });

  const entries = Object.entries(ENTRY_PROGRAMS);
  for (const form of FORMS) {
    check(`Node ${version}: each entry point alone, by ${form}`, () => {
      for (const [name, { output }] of entries) {
        const printed = run(node, fileOf(name, form));
        if (printed !== output) throw new Error(`${fileOf(name, form)} prints ${printed} instead of ${output}`);
      }
      return `${entries.length} programs`;
    });
  }

  check(`Node ${version}: under vitest's pools, isolated and not`, () => {
    const vitest = project.path('node_modules/vitest/vitest.mjs');
    const printed = run(node, vitest, 'run', '--root', 'pools', '--reporter', 'json');
    const { numPassedTests, numTotalTests, testResults } = JSON.parse(printed);
    if (testResults.length !== 4 * POOLS.length || numPassedTests !== numTotalTests) throw new Error(printed);
    return `${POOLS.join(', ')}: ${numPassedTests} tests`;
  });
}
