import { writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/core/units.js';
import { DEFAULT_MEM_CONTEXT } from '../../src/shared/allocators/shared-allocator.js';
import { PosixShmBackend } from '../../src/shared/backends/named-backends.js';
import { MemoryRegistry } from '../../src/shared/memory-registry.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';
import { expectNothingLeft, freshName, pathOfName } from '../shared/names.js';
import { stowage, stowageHere } from './compiled-cli.js';

beforeAll(() => void compiled(), 120_000);
expectNothingLeft();

/** Leaves a segment whose creator was killed. */
function leaveStale(name: string): void {
  runChild(`
    const { PosixShmBackend } = await import(${JSON.stringify(moduleUrl('src/shared/backends/named-backends.js'))});
    PosixShmBackend.create('${name}', { id: 1, bytes: 4096 });
    process.kill(process.pid, 'SIGKILL');`);
}

/** The line of a segment. */
async function lineOf(name: string): Promise<string | undefined> {
  const { code, stdout, stderr } = await stowageHere(['shm', 'ls']);
  expect([code, stderr]).toEqual([0, '']);
  return stdout.split('\n').find((line) => line.startsWith(`${name} `));
}

describe.skipIf(process.platform !== 'linux')('stowage shm', () => {
  describe('ls', () => {
    test('shows a live segment, and who uses it', async () => {
      const name = freshName();
      using _backend = PosixShmBackend.create(name, { id: 1, bytes: MiB - 4 * KiB });
      expect(await lineOf(name)).toMatch(new RegExp(`^${name} +live +1\\.00 MiB +4\\.00 KiB +${process.pid} alive +1 +-`));
    });

    test('shows how full the region is', async () => {
      const name = freshName();
      const registry = new MemoryRegistry();
      registry.createBackend('posix-shm', 1, 16 * MiB, name);
      const allocator = registry.createAllocator('scalable-page', 1, { major: 1, minor: 0 });
      allocator.allocateOffset(DEFAULT_MEM_CONTEXT, 4 * MiB);
      expect(await lineOf(name)).toMatch(/ scalable-page +4\.00 MiB +1\d\.\d\d MiB$/);
      registry.getBackend(1).region.uint8.fill(0xa5, 0, 4096);
      expect(await lineOf(name)).toMatch(/ damaged .* scalable-page +- +-$/);
      registry.getBackend(1).destroy();
    });

    test('prints JSON', () => {
      const name = freshName();
      using _backend = PosixShmBackend.create(name, { id: 1, bytes: MiB - 4 * KiB });
      const { version, segments } = JSON.parse(stowage(['shm', 'ls', '--json']).stdout);
      expect(version).toBe(1);
      expect(segments).toContainEqual(
        expect.objectContaining({
          name,
          state: 'live',
          type: 'posix-shm',
          bytes: MiB,
          creatorPid: process.pid,
          users: [process.pid],
        }),
      );
    });

    test('tells stale, orphaned and damaged ones apart', async () => {
      const [stale, orphaned, damaged] = [freshName(), freshName(), freshName()] as const;
      leaveStale(stale);
      leaveStale(orphaned);
      writeFileSync(pathOfName(damaged), Buffer.alloc(10_000, 7));
      using _attached = PosixShmBackend.attach(orphaned);
      expect(await lineOf(stale)).toMatch(/ stale .* dead +0 /);
      expect(await lineOf(orphaned)).toMatch(/ orphaned .* dead +1 /);
      expect(await lineOf(damaged)).toMatch(/ damaged /);
      const { code, stdout, stderr } = stowage(['shm', 'rm', stale, orphaned, damaged, '--force']);
      expect([code, stderr]).toEqual([0, '']);
      for (const name of [stale, orphaned])
        expect(stdout).toMatch(new RegExp(`^removed ${name}, \\d+ bytes \\(.* [KM]iB\\)$`, 'm'));
      expect(stdout).toContain(`removed ${damaged}, 10000 bytes (9.77 KiB)\n3 segments removed, `);
    });
  });

  describe('rm', () => {
    test('removes stale ones by name, and with --stale all whose names begin so', async () => {
      const [first, second, third] = [freshName(), `${freshName()}-a`, `${freshName()}-a`] as const;
      for (const name of [first, second, third]) leaveStale(name);
      const { code, stdout, stderr } = stowage(['shm', 'rm', first]);
      expect([code, stderr]).toEqual([0, '']);
      expect(stdout).toMatch(new RegExp(`^removed ${first}, \\d+ bytes \\(.*iB\\)\n$`));
      expect((await stowageHere(['shm', 'rm', '--stale', second])).stdout).toMatch(new RegExp(`^removed ${second}, .*\n$`));
      expect(await lineOf(second)).toBeUndefined();
      expect(await lineOf(third)).toMatch(/ stale /);
      expect((await stowageHere(['shm', 'rm', third])).code).toBe(0);
    });

    test('refuses a live one without --force', async () => {
      const name = freshName();
      using _backend = PosixShmBackend.create(name, { id: 1, bytes: MiB });
      expect(stowage(['shm', 'rm', name])).toEqual({
        code: 1,
        stdout: '',
        stderr: `stowage: ${name} was not removed: it is in use by process ${process.pid}\n`,
      });
      expect(await stowageHere(['shm', 'rm', '--stale', name])).toEqual({
        code: 0,
        stdout: `no stale segment whose name begins with "${name}"\n`,
        stderr: '',
      });
      expect((await stowageHere(['shm', 'rm', name, '--force'])).code).toBe(0);
    });

    test.each([
      [['shm', 'rm'], 2, 'name segments, or use --stale'],
      [['shm', 'rm', '../x'], 2, 'the url of a shared segment is "../x", but must be'],
      [['shm', 'rm', 'no-such-segment'], 1, 'no-such-segment was not removed: there is no such segment'],
      [['shm', 'sl'], 2, "unknown command 'sl' (did you mean ls?)"],
    ])('%j fails in one line', async (args, code, message) => {
      const outcome = await stowageHere(args);
      expect(outcome.stderr).toMatch(/^stowage: [^\n]+\n$/);
      expect(outcome.stderr).toContain(message);
      expect(outcome.code).toBe(code);
    });
  });
});
