import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compiled } from '../fixtures/compiled.js';
import { LeakingProgram } from '../trace/leaking-programs.js';
import { stowage, stowageHere } from './compiled-cli.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-diff-cli-'));
beforeAll(() => void compiled(), 120_000);
afterAll(() => rmSync(folder, { recursive: true }));
const [before, after, bad] = ['before', 'after', 'bad'].map((name) => join(folder, name)) as [string, string, string];
const leaking = new LeakingProgram(3, { kind: 'slow', blocks: 100, own: true });
new LeakingProgram(3).record(before, 1, 5000);
leaking.record(after, 2, 5000);
writeFileSync(bad, 'initialize \nunlock 4096 1 \n');

describe('stowage diff', () => {
  test('prints a table of what grew, with sites', () => {
    const { code, stdout, stderr } = stowage(['diff', before, after]);
    expect([code, stderr]).toEqual([0, '']);
    const [first, second, , headings, row, site] = stdout.split('\n');
    expect(first).toMatch(/before: [\d,]+ allocations in 0\.005 s, .* live at the end in [\d,]+ blocks$/);
    expect(second).toMatch(/after: /);
    expect(headings).toMatch(/^ *grown by +blocks +sizes +oldest +tag$/);
    expect(row).toMatch(/ 100 .* 0\.00\d s /);
    expect(site).toBe(`    ${leaking.leakSite}`);
  });

  test('prints JSON', async () => {
    const { code, stdout } = await stowageHere(['diff', before, after, '--json']);
    const { version, grown } = JSON.parse(stdout);
    expect([code, version, grown.length]).toEqual([0, 1, 1]);
    expect(grown[0]).toEqual({ site: leaking.leakSite, tag: expect.any(String), bytes: expect.any(Number), blocks: 100 });
  });

  test('compares two explanations by their categories', async () => {
    const explained = (bytes: number) =>
      JSON.stringify({
        version: 1,
        pid: 7,
        residentBytes: 4096,
        namedBytes: 4096,
        categories: [{ kind: 'stack', name: 'main thread', residentBytes: bytes, reclaimableBytes: null }],
      });
    const [monday, friday] = ['monday.json', 'friday.json'].map((name) => join(folder, name)) as [string, string];
    writeFileSync(monday, explained(1024));
    writeFileSync(friday, explained(3072));
    const { code, stdout } = await stowageHere(['diff', monday, friday, '--json']);
    const grown = [{ site: 'main thread', tag: 'stack', bytes: 2048, blocks: null }];
    expect([code, JSON.parse(stdout)]).toEqual([0, { version: 1, grown }]);
    const mixed = await stowageHere(['diff', monday, after]);
    expect([mixed.code, mixed.stdout]).toEqual([2, '']);
    expect(mixed.stderr).toContain('after:1: it is no JSON');
  });

  test('says that nothing grew', async () => {
    const { code, stdout } = await stowageHere(['diff', before, before]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/\n\nNothing grew beyond what chance explains\.\n$/);
    expect(JSON.parse((await stowageHere(['diff', before, before, '--json'])).stdout)).toEqual({ version: 1, grown: [] });
  });

  test('refuses a bad file in one line, with its place', async () => {
    const { code, stdout, stderr } = await stowageHere(['diff', before, bad]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^stowage: .*bad:2: .*\n$/);
  });

  test.each([
    ['a folder', folder],
    ['nothing', join(folder, 'none')],
    ['too long a name', join(folder, 'n'.repeat(300))],
  ])('refuses %s in one line', async (_, path) => {
    for (const files of [
      [path, before],
      [before, path],
    ]) {
      const { code, stdout, stderr } = await stowageHere(['diff', ...files]);
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(
        /^stowage: .*: (?:it is a folder, not a file|there is no such file|.*ENAMETOOLONG.*|.*too long.*)\n$/,
      );
    }
  });
});
