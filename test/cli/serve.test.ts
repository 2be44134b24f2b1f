import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compiled, moduleUrl } from '../fixtures/compiled.js';
import { parsePrometheus } from '../report/prometheus-parser.js';
import { mainFile, stowage, stowageHere } from './compiled-cli.js';

const RESNET = 'test/traces/resnet.trace.gz';
const folder = mkdtempSync(join(tmpdir(), 'stowage-serve-'));
const app = join(folder, 'app.mjs');
beforeAll(() => {
  compiled();
  writeFileSync(
    app,
    `import { defaultRuntime } from '${moduleUrl('src/index.js')}';
     const runtime = defaultRuntime();
     globalThis.kept = runtime.allocate(5000, { tag: process.argv[2] });
     console.log('allocated');
     process.on('SIGTERM', () => { globalThis.kept.dispose(); process.exit(3); });
     if (process.argv[2] === 'stay') setInterval(() => {}, 1000);`,
  );
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts a command that serves, and waits for the address that it prints. */
async function serving(args: readonly string[]) {
  const child = spawn(process.execPath, [mainFile(), 'serve', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8');
  for await (const chunk of child.stderr) {
    stderr += String(chunk);
    const url = /is at (http:\S+?);?(?:\s|$)/.exec(stderr)?.[1];
    if (url !== undefined) return { child, url };
  }
  throw new Error(`nothing is served: ${stderr}`);
}

async function requestedBytes(url: string): Promise<number | undefined> {
  const samples = parsePrometheus(await (await fetch(new URL('metrics', url))).text());
  return samples.find(({ name }) => name === 'stowage_requested_bytes')?.value;
}

describe('stowage serve', () => {
  test('shows the memory of a program that was not changed, and gives its exit code', async () => {
    const { child, url } = await serving(['--', process.execPath, app, 'stay']);
    expect(await requestedBytes(url)).toBe(5000);
    child.kill('SIGTERM');
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(3);
  });

  test('lets a program end when it is done', () => {
    const { code, stdout, stderr } = stowage(['serve', '--', process.execPath, app, 'go']);
    expect([code, stdout]).toEqual([0, 'allocated\n']);
    expect(stderr).not.toContain('Warning');
  });

  test('replays a trace over and over until it is interrupted', async () => {
    const { child, url } = await serving(['--trace', RESNET, '--rate', '200000', '--manager', 'pool']);
    const seen = new Set<number | undefined>();
    while (seen.size < 3) seen.add(await requestedBytes(url));
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(0);
  });

  test.each([
    [[], 'no program is given'],
    [['--port', '99999', '--', 'node'], '--port is "99999"'],
    [['--trace', RESNET, '--rate', '0'], '--rate is "0"'],
    [['--trace', RESNET, '--', 'node'], '--trace does not go with a program'],
    [['--rate', '5', '--', 'node'], '--rate goes with --trace alone'],
    [['--trace', '/nonexistent'], 'there is no such file'],
    [['--trace', RESNET, '--manager', 'x'], '--manager is "x"'],
  ])('refuses %j', async (args, message) => {
    const { code, stdout, stderr } = await stowageHere(['serve', ...args]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
  });

  test('refuses a bad port in the environment of a program', () => {
    const { status, stderr } = spawnSync(process.execPath, [app, 'go'], {
      encoding: 'utf8',
      env: { ...process.env, STOWAGE_SERVE: 'here' },
    });
    expect(status).toBe(1);
    expect(stderr).toContain('STOWAGE_SERVE is "here", but must be a port, 0 to 65535');
  });
});

describe('stowage replay --report', () => {
  test('writes one page, of managers that fail as well', () => {
    const file = join(folder, 'report.html');
    const { code, stdout } = stowage(['replay', RESNET, '-m', 'caching,pool', '--capacity', '500MiB', '--report', file]);
    expect(code).toBe(1);
    expect(stdout).toContain(`report    ${file}`);
    const page = readFileSync(file, 'utf8');
    expect(page).toContain('"name":"caching"');
    expect(page).toContain('out of memory');
  });

  test('leaves no page behind when it cannot begin', () => {
    const file = join(folder, 'none.html');
    expect(stowage(['replay', '/nonexistent', '--report', file]).code).toBe(2);
    expect(existsSync(file)).toBe(false);
    expect(stowage(['replay', RESNET, '--report', RESNET]).stderr).toContain('it is the input, too: name another file');
  });
});
