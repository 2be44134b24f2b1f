import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compiled } from '../fixtures/compiled.js';
import { ENTRY_PROGRAMS, EXTERNAL } from './entry-programs.mjs';

const ROOT = resolve(import.meta.dirname, '../..');
const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: Record<string, unknown> };
const names = Object.keys(exports).filter((name) => name !== './package.json');
/** What may show that an import did something. Node itself closes files of modules while they load. */
const SIGNS = `
  const resources = process.getActiveResourcesInfo().filter((kind) => kind !== 'CloseReq');
  const natives = process.report.getReport().sharedObjects.filter((name) => name.endsWith('.node'));
  const listeners = process.eventNames().map((name) => [String(name), process.listenerCount(name)]);
  console.log(JSON.stringify({ resources, natives, listeners }));`;

// `npm run test:package` tries them in the packed tarball, also bundled and by require().
describe('the entry points of package.json', () => {
  let folder = '';
  beforeAll(() => {
    // Inside the package: programs there import it by its name.
    mkdirSync(join(compiled(), 'programs'), { recursive: true });
    folder = mkdtempSync(join(compiled(), 'programs/entry-'));
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = (file: string): string => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', cwd: '/' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return stdout.trim();
  };
  const write = (name: string, kind: string, source: string): string => {
    const file = join(folder, `${name.replaceAll(/\W+/g, '-')}${kind}.mjs`);
    writeFileSync(file, source);
    return file;
  };

  test('have no names that are of use inside alone', async () => {
    const modules = await Promise.all([import('../../src/index.js'), import('../../managers/index.js')]);
    const inner = ['OwnedBlock', 'processState', 'ManagerLifecycle', 'ABSENT', 'NO_BLOCK', 'AddressHash'];
    expect(modules.flatMap((module) => Object.keys(module)).filter((name) => inner.includes(name))).toEqual([]);
  });

  test('each has a program', () => expect(Object.keys(ENTRY_PROGRAMS).sort()).toEqual([...names].sort()));

  test.each(names)('%s works when it is the only one imported', (name) => {
    const { source, output } = ENTRY_PROGRAMS[name]!;
    expect(run(write(name, '', source))).toBe(output);
  });

  test('keep the names of their classes in a bundle', async () => {
    const spaces = names.map((name, i) => `import * as s${i} from '${name.replace('.', 'stowage')}';`).join('\n');
    const entry = write(
      'all',
      '-names',
      `import 'reflect-metadata';
      ${spaces}
      const all = [${names.map((_, i) => `s${i}`)}].flatMap((space) => Object.entries(space));
      const classes = all.filter(([, value]) => /^class\\b/.test(value));
      console.log(classes.length > 80, classes.flatMap(([key, { name }]) => (key === name || key === 'BlockHandle' ? [] : [key + ' is called ' + name])).join());`,
    );
    const outfile = entry.replace('.mjs', '.cjs');
    await build({
      bundle: true,
      platform: 'node',
      format: 'cjs',
      external: EXTERNAL,
      logLevel: 'silent',
      entryPoints: [entry],
      outfile,
    });
    expect(run(outfile)).toBe('true');
  });

  test('importing all of them loads no native code, opens nothing, listens to nothing and starts no timer', () => {
    const imports = names.map((name) => `import '${name.replace('.', 'stowage')}';`).join('\n');
    // On Node 26 node:http opens the standard error by itself.
    expect(run(write('all', '-idle', `${imports}\n${SIGNS}`))).toBe(run(write('none', '-idle', `import 'node:http';\n${SIGNS}`)));
  });
});
