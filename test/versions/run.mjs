// node test/versions/run.mjs [majors] [--whole majors]: on each Node the README's quick start, the packed tarball and the unit tests;
// on those of --whole all tests but those of pages in a browser. The Node of this process is left to `npm run test:package` and `npm test`.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { ConsumerProject, ROOT } from '../package/consumer-project.mjs';
import { useTarball, writePrograms } from '../package/use-tarball.mjs';

const MAJORS = ['20', '22', '24', '26'];
const { values, positionals } = parseArgs({ allowPositionals: true, options: { whole: { type: 'string', default: '' } } });
const own = process.versions.node.split('.')[0];
const majors = (positionals.length > 0 ? positionals : MAJORS).filter((major) => positionals.length > 0 || major !== own);
const whole = values.whole.split(',');

function nodeOf(major) {
  const path = join(ROOT, `test/versions/node_modules/node-${major}/bin/node`);
  if (!existsSync(path)) throw new Error(`Node ${major} is not here: npm run install:versions brings it, on Linux x64`);
  return path;
}

function runTests(major) {
  const node = nodeOf(major);
  const config = `test/config/${whole.includes(major) ? 'node-suite' : 'units'}.config.ts`;
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` };
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  console.log(`\n# Node ${major}: ${whole.includes(major) ? 'all' : 'unit'} tests`);
  const { status } = spawnSync(node, [vitest, 'run', '--reporter=dot', '--config', config], { cwd: ROOT, stdio: 'inherit', env });
  if (status !== 0) throw new Error(`tests fail under Node ${major}`);
}

const project = new ConsumerProject();
try {
  writePrograms(project);
  for (const major of majors) useTarball(project, nodeOf(major));
} finally {
  project.dispose();
}
for (const major of majors) runTests(major);
