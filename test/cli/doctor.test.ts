import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { maxMemoryBytes } from '../../adapters/os/memory-limits.js';
import { CHECKS, examine, type Finding, limitText } from '../../src/cli/doctor.js';
import { formatBytes, MemoryBudget } from '../../src/index.js';
import { compiled } from '../fixtures/compiled.js';
import { requireLibrary } from '../fixtures/requires.js';
import { needed as onnxRuntime } from '../hosts/onnxruntime.js';
import { stowage, stowageHere } from './compiled-cli.js';

const sqlite = requireLibrary('SQLite', SQLITE_NAMES);
const HOSTS = join(import.meta.dirname, '../hosts');

/** What `stowage doctor --json` says here. */
let report: { readonly version: number; readonly findings: readonly Finding[] };
beforeAll(() => {
  compiled();
  report = JSON.parse(stowage(['doctor', '--json']).stdout);
}, 120_000);

describe('stowage doctor', () => {
  test('prints a line for every check', () => {
    const { code, stdout, stderr } = stowage(['doctor']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    for (const { kind, name } of CHECKS) expect(stdout).toMatch(new RegExp(`^${kind} +${name} +(yes|no) +\\S`, 'm'));
  });

  test('finds the CPU and the simulated device at work', () => {
    const { findings, version } = report;
    expect(version).toBe(1);
    for (const name of ['cpu', 'simulated']) expect(findings).toContainEqual(expect.objectContaining({ name, works: true }));
  });

  test.skipIf(sqlite.missing)(`finds ${sqlite.title} at work`, () => {
    const { findings } = report;
    expect(findings).toContainEqual(expect.objectContaining({ kind: 'host', name: 'sqlite', works: true }));
  });

  test.skipIf(onnxRuntime.missing)(
    `finds ${onnxRuntime.title} where the working folder has it, else says that it is absent`,
    () => {
      const found = (cwd: string) =>
        JSON.parse(stowage(['doctor', '--json'], {}, cwd).stdout).findings.find(({ name }: Finding) => name === 'onnxruntime');
      expect(found(HOSTS)).toMatchObject({ works: true, detail: expect.stringMatching(/^ONNX Runtime 1\.\d+\.\d+ /) });
      expect(found(tmpdir())).toMatchObject({
        works: false,
        detail: expect.stringContaining('onnxruntime-node is not installed'),
      });
    },
  );

  test('tells why a thing does not work', () => {
    const broken = { kind: 'host' as const, name: 'broken', run: () => fail('no such library') };
    expect(examine([broken])).toEqual([{ kind: 'host', name: 'broken', works: false, detail: 'no such library' }]);
  });

  test('names the limit of memory, and what a budget takes of it when it is told nothing', () => {
    using budget = new MemoryBudget();
    const found = report.findings.filter(({ kind }) => kind === 'budget');
    expect(found.map(({ name, works }) => [name, works])).toEqual([
      ['memory limit', true],
      ['default budget', true],
    ]);
    expect(found[0]!.detail).toMatch(
      new RegExp(`^${formatBytes(maxMemoryBytes())}: (no limit of a container|the container's limit)`),
    );
    expect(found[1]!.detail).toBe(`${formatBytes(budget.limitBytes)}: new MemoryBudget() takes 80% of the memory limit`);
  });

  test.each([
    ['/sys/fs/cgroup/memory.max', "512.00 MiB: the container's limit, in /sys/fs/cgroup/memory.max"],
    [undefined, "512.00 MiB: no limit of a container, the machine's memory"],
  ])('names the file of a limit: %s', (file, text) => {
    expect(limitText({ bytes: 2 ** 29, file })).toBe(text);
  });

  test('refuses unknown options in one line', async () => {
    const { code, stderr } = await stowageHere(['doctor', '--jsn']);
    expect(stderr).toBe("stowage: unknown option '--jsn' (did you mean --json?)\n");
    expect(code).toBe(2);
  });
});

function fail(message: string): never {
  throw new Error(message);
}
