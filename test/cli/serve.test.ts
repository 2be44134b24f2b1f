import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LiveHello } from '../../src/report/live/live-data.js';
import { compiled, moduleUrl } from '../fixtures/compiled.js';
import { parsePrometheus } from '../report/prometheus-parser.js';
import { mainFile, stowage, stowageHere } from './compiled-cli.js';

const RESNET = 'test/traces/resnet.trace.gz';
const POLL = { interval: 100, timeout: 20_000 };
const folder = mkdtempSync(join(tmpdir(), 'stowage-serve-'));
const app = join(folder, 'app.mjs');
const growing = join(folder, 'growing.mjs');
const later = join(folder, 'later.mjs');
beforeAll(() => {
  compiled();
  writeFileSync(
    app,
    `import { defaultRuntime } from '${moduleUrl('src/index.js')}';
     const runtime = defaultRuntime();
     globalThis.kept = runtime.allocate(5000, { tag: process.argv[2] });
     console.log('allocated');
     process.on('SIGTERM', () => { globalThis.kept.dispose(); process.exit(3); });
     if (process.argv[2] === 'soon') setTimeout(() => { process.exitCode = 4; }, 500);
     if (process.argv[2] === 'stay') setInterval(() => {}, 1000);`,
  );
  writeFileSync(
    later,
    `import { defaultRuntime } from '${moduleUrl('src/index.js')}';
     const runtime = defaultRuntime();
     runtime.allocate(1).dispose();
     setTimeout(function load() { globalThis.kept = runtime.allocate(5000); }, 1000);
     process.on('SIGTERM', () => { globalThis.kept?.dispose(); process.exit(0); });
     setInterval(() => {}, 1000);`,
  );
  writeFileSync(
    growing,
    `import { defaultRuntime } from '${moduleUrl('src/index.js')}';
     const runtime = defaultRuntime();
     const kept = [];
     const grow = () => kept.push(runtime.allocate(1000, { tag: 'grows' }));
     let times = 0;
     const timer = setInterval(() => {
       grow();
       if (++times < 30) return;
       if (process.argv[2] === 'kill') process.kill(process.pid, 'SIGKILL');
       if (process.argv[2] === 'end') { clearInterval(timer); process.exitCode = 4; }
     }, 100);`,
  );
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts a command that serves, and waits for the address that it prints. */
async function serving(args: readonly string[]) {
  const child = spawn(process.execPath, [mainFile(), 'serve', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8');
  // The pipe stays open: the command says more when the program has ended.
  for await (const chunk of child.stderr.iterator({ destroyOnReturn: false })) {
    stderr += String(chunk);
    const url = /is at (http:\S+?);?(?:\s|$)/.exec(stderr)?.[1];
    if (url !== undefined) {
      child.stderr.resume();
      return { child, url };
    }
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

  /** What the page is told first. */
  async function helloOf(url: string): Promise<LiveHello> {
    const response = await fetch(new URL('events', url));
    let text = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const data = /^event: hello\ndata: (.*)\n\n/m.exec(text)?.[1];
      if (data !== undefined) return JSON.parse(data) as LiveHello;
    }
    throw new Error('the page is told nothing');
  }

  test.each([
    [['--sites'], 'later.mjs', 8],
    [['--sites', '2'], 'later.mjs', 2],
    [[], undefined, 0],
  ] as const)('shows where memory is allocated with %j', async (flags, file, mostFrames) => {
    const { child, url } = await serving([...flags, '--', process.execPath, later, 'stay']);
    // What was allocated before the dashboard was there is not seen.
    await expect.poll(async () => (await helloOf(url)).map.blockCount, POLL).toBeGreaterThan(0);
    const { stacks } = (await helloOf(url)).map;
    expect(stacks?.frames[0]?.[1].split('/').at(-1)).toBe(file);
    expect(stacks?.sites[0]?.bytes[0]).toBe(file && 5000);
    expect(stacks?.sites[0]?.stack.length ?? 0).toBeLessThanOrEqual(mostFrames);
    child.kill('SIGTERM');
    await once(child, 'exit');
  });

  test('shows the sites of a trace that is replayed', async () => {
    const trace = join(folder, 'sites.stowtrace');
    const recorded = join(folder, 'sites.mjs');
    writeFileSync(
      recorded,
      `import { defaultRuntime } from '${moduleUrl('src/index.js')}';
       const kept = [];
       function weights() { kept.push(defaultRuntime().allocate(7000)); }
       function nothing() { defaultRuntime().allocate(0).dispose(); }
       nothing(); weights(); weights(); nothing();
       kept.push(defaultRuntime().allocate(10));
       for (const block of kept) block.dispose();`,
    );
    expect(stowage(['record', '--sites', '-o', trace, '--', process.execPath, recorded]).code).toBe(0);
    const { child, url } = await serving(['--trace', trace, '--rate', '200']);
    const allocated = async () => {
      const { stacks } = (await helloOf(url)).map;
      const isOfWeights = ({ stack }: { stack: readonly number[] }) => stacks?.frames[stack[0]!]?.[0] === 'weights';
      const bytes = stacks?.sites.filter(isOfWeights).map((site) => site.bytes[1]! % 7000);
      expect(bytes?.every((rest) => rest === 0) ?? true).toBe(true);
      return stacks?.sites.find(isOfWeights)?.bytes[1] ?? 0;
    };
    await expect.poll(allocated, POLL).toBeGreaterThan(0);
    child.kill('SIGINT');
    await once(child, 'exit');
  });

  test('lets a program end when it is done', () => {
    const { code, stdout, stderr } = stowage(['serve', '--', process.execPath, app, 'go']);
    expect([code, stdout]).toEqual([0, 'allocated\n']);
    expect(stderr).not.toContain('Warning');
  });

  test('shows what grows, with sites when it is asked for', async () => {
    const { child, url } = await serving(['--sites', '1', '--', process.execPath, growing]);
    const tags = async () => (await helloOf(url)).map.growth.groups.map(({ tag }) => tag);
    await expect.poll(tags, POLL).toEqual(['grows']);
    const [group] = (await helloOf(url)).map.growth.groups;
    expect(group!.site).toMatch(/^at grow \(.*growing\.mjs:4:\d+\)$/m);
    expect(group!.grownBytes).toBe(group!.bytes);
    child.kill('SIGTERM');
    await once(child, 'exit');
  });

  test.each(['end', 'kill'])('keeps the page until it is interrupted (%s)', async (way) => {
    const { child, url } = await serving(['--stay', '--', process.execPath, growing, way]);
    await expect.poll(async () => (await helloOf(url)).map.blockCount, POLL).toBeGreaterThan(0);
    // The command asks once a second what a killed program will not tell.
    await expect
      .poll(async () => (await helloOf(url).catch(() => undefined))?.ended, POLL)
      .toBe(way === 'end' ? 'the program has ended with exit code 4' : 'the program has ended by SIGKILL');
    expect((await helloOf(url)).map.blockCount).toBeGreaterThan(0);
    expect(await (await fetch(url)).text()).toContain('growing.mjs');
    expect((await fetch(new URL('metrics', url))).status).toBe(404);
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([way === 'end' ? 4 : 128 + 9, null]);
  });

  test('says that a program made no runtime, or ended too soon', () => {
    const none = stowage(['serve', '--', process.execPath, '-e', 'process.exitCode = 3']);
    expect([none.code, none.stderr]).toEqual([3, 'stowage: the program made no runtime of stowage: there was nothing to show\n']);
    const program = `import('${moduleUrl('src/index.js')}').then(({ defaultRuntime }) => { defaultRuntime(); process.exit(); })`;
    const soon = stowage(['serve', '--', process.execPath, '-e', program]);
    expect(soon.stderr).toContain('the program ended before its page could be served');
  });

  test('refuses a taken port in one line, before the program runs', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const line = `stowage: port is ${port}, but must be one that nobody listens on: 0 takes any\n`;
    for (const what of [
      ['--', process.execPath, app, 'go'],
      ['--trace', 'test/trace/golden/app.log'],
    ]) {
      expect(await stowageHere(['serve', '--port', `${port}`, ...what])).toEqual({ code: 2, stdout: '', stderr: line });
    }
    const { status, stderr } = spawnSync(process.execPath, [app, 'soon'], {
      encoding: 'utf8',
      env: { ...process.env, STOWAGE_SERVE: `${port}` },
    });
    expect(status).toBe(4);
    expect(stderr).toMatch(
      /^stowage: the dashboard of process \d+ cannot be served: port is .* nobody listens on: 0 takes any\n/,
    );
    taken.close();
  });

  test('replays a trace over and over until it is interrupted', async () => {
    const { child, url } = await serving(['--trace', RESNET, '--rate', '200000', '--manager', 'pool']);
    const seen = new Set<number | undefined>();
    await expect.poll(async () => seen.add(await requestedBytes(url)).size, POLL).toBeGreaterThanOrEqual(3);
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(0);
  });

  test.each([
    [[], 'no program is given'],
    [['--port', '99999', '--', 'node'], '--port is "99999"'],
    [['--trace', RESNET, '--rate', '0'], '--rate is "0"'],
    [['--trace', RESNET, '--', 'node'], '--trace does not go with a program'],
    [['--trace', RESNET, '--stay'], '--stay and --no-stay go with a program'],
    [['--sites', '0', '--', 'node'], '--sites is "0"'],
    [['--trace', RESNET, '--sites'], '--sites goes with a program'],
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

  test('refuses a bad number of frames in the environment of a program', () => {
    const { status, stderr } = spawnSync(process.execPath, [app, 'go'], {
      encoding: 'utf8',
      env: { ...process.env, STOWAGE_SERVE: '0', STOWAGE_SERVE_SITES: 'all' },
    });
    expect(status).toBe(1);
    expect(stderr).toContain('STOWAGE_SERVE_SITES is "all", but must be 1 for allocation sites');
  });
});

describe('stowage replay --report', () => {
  test('writes one page, of managers that fail as well', async () => {
    const file = join(folder, 'report.html');
    const { code, stdout } = await stowageHere([
      'replay',
      RESNET,
      '-m',
      'caching,pool',
      '--capacity',
      '500MiB',
      '--report',
      file,
    ]);
    expect(code).toBe(1);
    expect(stdout).toContain(`report    ${file}`);
    const page = readFileSync(file, 'utf8');
    expect(page).toContain('"name":"caching"');
    expect(page).toContain('out of memory');
  });

  test('leaves no page behind when it cannot begin', async () => {
    const file = join(folder, 'none.html');
    expect((await stowageHere(['replay', '/nonexistent', '--report', file])).code).toBe(2);
    expect(existsSync(file)).toBe(false);
    expect((await stowageHere(['replay', RESNET, '--report', RESNET])).stderr).toContain(
      'it is the input, too: name another file',
    );
  });
});
