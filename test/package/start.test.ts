import { spawnSync } from 'node:child_process';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

/** Of Node's own modules, what `import 'stowage'` may load, with what they bring themselves, which differs from one Node to another. */
const FEW_BUILTINS = ['async_hooks', 'diagnostics_channel', 'fs', 'module', 'os', 'path', 'timers/promises', 'util/types'];
const dataUrl = (source: string) => `data:text/javascript,${encodeURIComponent(source)}`;
/** Prints each file of JavaScript that is read. */
const HOOK = `
  import { writeSync } from 'node:fs';
  export function load(url, context, next) {
    if (/^file:.*[.]js$/.test(url)) writeSync(2, url.replace(/.*\\//, '') + '\\n');
    return next(url, context);
  }`;
/** Node 20 runs hooks on a thread of their own; later ones deprecate that. */
const WATCH = dataUrl(`
  import * as module from 'node:module';
  const hook = ${JSON.stringify(dataUrl(HOOK))};
  if (module.registerHooks === undefined) module.register(hook);
  else module.registerHooks(await import(hook));`);

describe('the start of a program', () => {
  beforeAll(() => void compiled(), 120_000);

  const filesOf = (...args: string[]): string[] => {
    const options = { encoding: 'utf8', cwd: compiled() } as const;
    const { status, stderr } = spawnSync(process.execPath, ['--import', WATCH, ...args], options);
    expect(status).toBe(0);
    return stderr.trim().split('\n').sort();
  };

  test("reads three files for `import 'stowage'`", () => {
    const program = dataUrl(`import ${JSON.stringify(moduleUrl('src/index.js'))};`);
    expect(filesOf('--import', program, '--eval', '')).toEqual(['core.js', 'defaults.js', 'index.js']);
  });

  test("loads few of Node's modules, and no CommonJS, for `import 'stowage'`", () => {
    const { stdout, stderr } = runChild(`
      import { createRequire } from 'node:module';
      ${FEW_BUILTINS.map((name) => `import 'node:${name}';`).join('\n')}
      const before = new Set(process.moduleLoadList);
      await import(${JSON.stringify(moduleUrl('src/index.js'))});
      const loaded = process.moduleLoadList.filter((name) => !before.has(name)).map((name) => name.replace('NativeModule ', ''));
      console.log(JSON.stringify([loaded, Object.keys(createRequire(import.meta.url).cache)]));`);
    expect(stderr).toBe('');
    const [loaded, required] = JSON.parse(stdout) as [string[], string[]];
    expect(loaded.filter((name) => builtinModules.includes(name))).toEqual([]);
    expect(required).toEqual([]);
  });

  test('reads two files for `stowage --version`', () => {
    expect(filesOf(join(compiled(), 'dist/src/cli/main.js'), '--version')).toEqual(['main.js', 'text.js']);
  });
});
