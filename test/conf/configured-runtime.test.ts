import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { CHECKS, examine } from '../../src/cli/doctor.js';
import { MANAGER_KINDS } from '../../src/conf/manager-kinds.js';
import { summariseTrace } from '../../src/trace/index.js';
import { stowage } from '../cli/compiled-cli.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-conf-'));
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(() => void compiled(), 120_000);

const STOWAGE = () => moduleUrl('src/index.js');
const USE = `
  const runtime = defaultRuntime();
  const block = runtime.allocate(64 * 1024);
  console.log(runtime.slot.active.name);
  block.dispose();`;

/** Runs a program under a configuration. */
function run(conf: string, code = USE, env: NodeJS.ProcessEnv = {}) {
  const source = `import { defaultRuntime, MemoryError } from ${JSON.stringify(STOWAGE())};\nprocess.chdir(${JSON.stringify(folder)});\n${code}`;
  return runChild(source, { env: { STOWAGE_CONF: conf, STOWAGE_CONF_OWNER: undefined, ...env } });
}

describe('the default runtime with STOWAGE_CONF', () => {
  test.each([...MANAGER_KINDS.values()].filter(({ name }) => name !== 'slab'))('has $name for its manager', ({ name, type }) => {
    expect(run(`manager:${name}`)).toMatchObject({ status: 0, stdout: `${type}\n`, stderr: '' });
  });

  test('gives the manager its settings', () => {
    const { stdout } = run('manager:slab,cell:64KiB', `${USE} console.log(runtime.slot.allocated(runtime.allocate(100).ptr));`);
    expect(stdout).toBe('SlabMemoryManager\n65536\n');
  });

  test('loads managers before those who import them get their turn', () => {
    const managers = JSON.stringify(moduleUrl('managers/index.js'));
    const code = `${USE}\nconst { PoolMemoryManager } = await import(${managers});\nconsole.log(runtime.slot.active.constructor === PoolMemoryManager);`;
    expect(run('manager:pool', code).stdout).toBe('PoolMemoryManager\ntrue\n');
  });

  test('takes the settings of PyTorch from its variable', () => {
    const code = `console.log(defaultRuntime().createDefaultManager().settings.maxSplitSizeBytes);`;
    expect(run('manager:pytorch', code, { PYTORCH_ALLOC_CONF: 'max_split_size_mb:128' }).stdout).toBe('134217728\n');
  });

  test('keeps a limit', () => {
    const code = `
      const runtime = defaultRuntime();
      try { runtime.allocate(64 * 2 ** 20); } catch (error) { console.log(error.code, error.facts.budget.name, error.facts.budget.limitBytes); }
      runtime.allocate(2 ** 20).dispose();`;
    const { stdout, stderr } = run('limit:32MiB', code);
    expect(stdout).toBe('ERR_MEM_OUT_OF_MEMORY STOWAGE_CONF 33554432\n');
    expect(stderr).toMatch(/^stowage: budget "STOWAGE_CONF" \(host\): .*1 refusal/);
  });

  test('leaves a manager that the program installs alone', () => {
    const code = `
      import { MemoryManagerInstaller, MemoryManagerDeviceInterface } from ${JSON.stringify(STOWAGE())};
      import { TlsfMemoryManager } from ${JSON.stringify(moduleUrl('managers/index.js'))};
      new MemoryManagerInstaller(new TlsfMemoryManager(1, new MemoryManagerDeviceInterface())).setAsMemoryManager();${USE}`;
    expect(run('manager:pool', code).stdout).toBe('TlsfMemoryManager\n');
  });

  test('logs and records, in the folder in which the program started', () => {
    const start = mkdtempSync(join(folder, 'files-'));
    const source = `import { defaultRuntime } from ${JSON.stringify(STOWAGE())};\nprocess.chdir('/');${USE}`;
    const env = { STOWAGE_CONF: 'log:calls.log,trace:app.stowtrace', STOWAGE_CONF_OWNER: undefined };
    const { status, stderr } = runChild(source, { env, shell: `cd ${start}` });
    expect([status, stderr]).toEqual([0, '']);
    expect(readFileSync(join(start, 'calls.log'), 'utf8')).toMatch(
      /^initialize \nnativeAlloc \d+ \d+ \nalloc 65536 1 (\d+) \nunlock \1 1 \nshutdown \n/,
    );
    expect(readdirSync(start).sort()).toEqual(['app.stowtrace', 'calls.log']);
  });

  test('records what a replay can read', async () => {
    const file = join(folder, 'whole.stowtrace');
    expect(run(`trace:${file}`).stderr).toBe('');
    expect(await summariseTrace(file)).toMatchObject({ totals: { peakBlocks: 1, peakLiveBytes: 65_536, liveBlocks: 0 } });
  });

  test('gives children and threads files of their own', () => {
    const start = mkdtempSync(join(folder, 'children-'));
    const code = `
      import { execFileSync } from 'node:child_process';
      import { Worker } from 'node:worker_threads';
      const program = 'import(' + JSON.stringify(${JSON.stringify(STOWAGE())}) + ').then(({ defaultRuntime }) => defaultRuntime().allocate(8).dispose())';
      execFileSync(process.execPath, ['-e', program]);
      const worker = new Worker(program, { eval: true });
      await new Promise((resolve) => worker.on('exit', resolve));${USE}`;
    expect(run(`log:${start}/calls.log`, code)).toMatchObject({ status: 0, stderr: '' });
    // The thread has the number of its process, too.
    const names = readdirSync(start).sort((a, b) => a.split('.').length - b.split('.').length);
    expect(names).toEqual([
      'calls.log',
      expect.stringMatching(/^calls\.log\.\d+$/),
      expect.stringMatching(/^calls\.log\.\d+\.1$/),
    ]);
    expect(readFileSync(join(start, 'calls.log'), 'utf8')).toContain('alloc 65536 ');
  });

  test('is in force again after the program closed it, and keeps the log', () => {
    const file = join(folder, 'twice.log');
    const { status, stdout } = run(
      `manager:tlsf,limit:1GiB,log:${file}`,
      `${USE.replace('block.dispose();', 'block.dispose(); runtime.close();')}
      const again = defaultRuntime();
      again.allocate(8).dispose();
      console.log(again.slot.active.name);`,
    );
    expect([status, stdout]).toEqual([0, 'TlsfMemoryManager\nTlsfMemoryManager\n']);
    expect(readFileSync(file, 'utf8').match(/^initialize /gm)).toHaveLength(2);
  });

  test('reads it when it is first used, not before', () => {
    const code = `process.env.STOWAGE_CONF = 'manager:buddy';${USE}`;
    expect(run('nonsense', code).stdout).toBe('BuddyMemoryManager\n');
    expect(run('nonsense', '')).toMatchObject({ status: 0, stderr: '' });
  });

  test.each([
    ['manager:pol', 'STOWAGE_CONF, character 9 is "pol"'],
    ['manager:arena,alignment:48,', 'STOWAGE_CONF, character 25 is "48"'],
    ['manager:buddy,region:1000000', 'STOWAGE_CONF, character 22 is "1000000"'],
    ['manager:slab,alignment:48', 'STOWAGE_CONF, character 24 is "48"'],
    ['log:/no/such/folder/a.log', '/no/such/folder/a.log'],
  ])('is refused each time for %j', (conf, message) => {
    const code = `
      for (let i = 0; i < 2; i++) try { defaultRuntime(); } catch (error) { console.log(error.message); }`;
    const lines = run(conf, code).stdout.trim().split('\n');
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(line).toContain(message);
  });

  test('leaves no file open behind a failure', () => {
    const log = join(folder, 'failed.log');
    const code = `
      import { readdirSync, readlinkSync } from 'node:fs';
      try { defaultRuntime(); } catch (error) { console.log(error.code); }
      const open = readdirSync('/proc/self/fd').flatMap((fd) => { try { return [readlinkSync('/proc/self/fd/' + fd)]; } catch { return []; } });
      console.log(open.includes(${JSON.stringify(log)}));`;
    expect(run(`log:${log},trace:/no/such/folder/b`, code).stdout).toBe('ERR_MEM_BAD_INPUT\nfalse\n');
  });

  test('refuses a trace beside STOWAGE_TRACE', () => {
    const code = 'try { defaultRuntime(); } catch (error) { console.log(error.message); }';
    const { stdout } = run('trace:a.stowtrace', code, { STOWAGE_TRACE: join(folder, 'b.stowtrace') });
    expect(stdout).toMatch(/^STOWAGE_CONF is trace:a\.stowtrace, but must be without trace while STOWAGE_TRACE is set/);
  });
});

describe('the exit report with STOWAGE_CONF', () => {
  const LEAK = 'globalThis.kept = defaultRuntime().allocate(100).move();';

  test('says what is in force when blocks are live', () => {
    expect(run('manager:pool,slack:0.02', LEAK).stderr).toBe(
      'stowage: STOWAGE_CONF: manager pool (slack 0.02)\n' +
        'stowage: 1 block, 112 bytes, of PoolMemoryManager (ordinary) was live at exit and is freed now\n',
    );
    expect(run('manager:pool').stderr).toBe('');
  });

  test('says what the managers did with report_at_exit:True', () => {
    const { stderr } = run('manager:pool,report_at_exit:True');
    expect(stderr).toMatch(
      /^stowage: STOWAGE_CONF: manager pool; report at exit\nstowage: PoolMemoryManager: 1 allocation, peak 65536 bytes \(64\.00 KiB\) allocated, \d+ bytes \(.*\) reserved; \d+ native allocations?\nstowage: no block was live at exit\n$/,
    );
    expect(run('report_at_exit:True', 'defaultRuntime();').stderr).toMatch(/\nstowage: nothing was allocated\n$/);
    expect(run('report_at_exit:True', `${LEAK} defaultRuntime().close();`).stderr).toMatch(
      /the program closed the default runtime\n$/,
    );
    expect(run('report_at_exit:True', LEAK).stderr).toMatch(/1 allocation, .*\nstowage: 1 block, .* is freed now\n$/);
    expect(run('report_at_exit:True', '').stderr).toBe('');
  });

  test('is silent with report_at_exit:False', () => {
    expect(run('report_at_exit:False', LEAK).stderr).toBe('');
  });
});

describe('stowage doctor', () => {
  const isSetting = ({ kind }: { kind: string }) => kind === 'setting';
  afterEach(() => void vi.unstubAllEnvs());

  test('shows what STOWAGE_CONF has in force', () => {
    // The managers that it names are loaded at the start of a process.
    const finding = (conf: string) =>
      JSON.parse(stowage(['doctor', '--json'], { STOWAGE_CONF: conf }).stdout).findings.find(isSetting);
    expect(finding('manager:pool,slack:0.02,limit:1GiB')).toEqual({
      kind: 'setting',
      name: 'STOWAGE_CONF',
      works: true,
      detail: 'manager pool (slack 0.02); limit 1.00 GiB',
    });
    expect(finding('manager:arena,alignment:48')).toMatchObject({
      works: false,
      detail: expect.stringContaining('character 25 is "48"'),
    });
  });

  test('says that STOWAGE_CONF is not set, or why it cannot be in force', () => {
    const finding = (conf: string) => {
      vi.stubEnv('STOWAGE_CONF', conf);
      return examine(CHECKS.filter(isSetting))[0];
    };
    expect(finding('')).toMatchObject({ works: true, detail: expect.stringMatching(/^not set: /) });
    expect(finding('manager:pol')).toMatchObject({ works: false, detail: expect.stringContaining('did you mean "pool"?') });
  });
});
