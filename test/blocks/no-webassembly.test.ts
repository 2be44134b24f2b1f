import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { compiled } from '../fixtures/compiled.js';

const moduleUrl = (path: string) => pathToFileURL(join(compiled(), 'dist', path)).href;

/** Counts what is compiled and instantiated, imports the library, and makes a manager. Prints the counts, or the error. */
const program = () => `
  let made = 0;
  for (const name of ['Module', 'Instance', 'Memory']) {
    const Original = globalThis.WebAssembly?.[name];
    if (Original === undefined) continue;
    WebAssembly[name] = class extends Original {
      constructor(...args) {
        super(...args);
        made++;
      }
    };
  }
  const { MemoryManagerDeviceInterface } = await import('${moduleUrl('src/index.js')}');
  const { CachingMemoryManager } = await import('${moduleUrl('managers/index.js')}');
  const atImport = made;
  try {
    new CachingMemoryManager(1, new MemoryManagerDeviceInterface());
    new CachingMemoryManager(2, new MemoryManagerDeviceInterface());
    console.log('made', atImport, made);
  } catch (error) {
    console.log(error.code, error.facts.reason, '|', error.facts.remedy);
  }`;

function run(flags: readonly string[], limitKiB?: number): string {
  const node = [process.execPath, ...flags, '--input-type=module', '-e', program()];
  const command = limitKiB === undefined ? node : ['bash', '-c', `ulimit -v ${limitKiB}; exec "$0" "$@"`, ...node];
  const { stdout, stderr } = spawnSync(command[0]!, command.slice(1), { encoding: 'utf8', timeout: 600_000 });
  // Node itself warns of --jitless there.
  return stdout === '' ? stderr : stdout.trim();
}

const LIMIT_KIB = 4_000_000;

describe('the kernel', () => {
  test('is compiled for the first heap, and once for all', () => expect(run([])).toBe('made 0 2'));

  test('is refused with its reason where there is no WebAssembly', () =>
    expect(run(['--jitless'])).toMatch(/^ERR_MEM_NO_WEBASSEMBLY .*without WebAssembly \| .*--jitless/));

  // From 24 on Node does without the addresses by itself.
  const needsAddresses = Number.parseInt(process.versions.node, 10) < 24;
  test(needsAddresses ? 'is refused with a remedy where addresses are limited' : 'works where addresses are limited', () =>
    expect(run([], LIMIT_KIB)).toMatch(
      needsAddresses ? /^ERR_MEM_NO_WEBASSEMBLY .*address space.* \| .*--disable-wasm-trap-handler/ : /^made 0 2$/,
    ),
  );

  test('works within few addresses by that remedy', () =>
    expect(run(['--disable-wasm-trap-handler'], LIMIT_KIB)).toBe('made 0 2'));
});
