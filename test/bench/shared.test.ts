import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { compiled } from '../fixtures/compiled.js';
import { main } from './shared-main.js';
import { sharedMarkdown } from './shared-report.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-bench-shared-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function bench(args: readonly string[]) {
  const run = join(import.meta.dirname, 'run.mjs');
  return spawnSync(process.execPath, [run, '--dist', join(compiled(), 'dist'), '--main', 'shared-main', ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}

describe.skipIf(process.platform !== 'linux')('npm run bench:shared', () => {
  test('measures every heap, and writes between the marks of a document', () => {
    const document = join(folder, 'document.md');
    writeFileSync(document, 'before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n');
    const { status, stdout, stderr } = bench([
      '--processes',
      '1,2',
      '--rounds',
      '1',
      '--ms',
      '5',
      '--handover',
      '1MiB',
      '--markdown',
      document,
    ]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    for (const heap of ['scalable-page', 'thread-local', 'malloc by koffi']) {
      expect(stdout).toMatch(new RegExp(`^\\| ${heap} \\| \\d+\\.\\d\\d \\| \\d+\\.\\d\\d \\|$`, 'm'));
    }
    for (const way of ['token', 'structured clone'])
      expect(stdout).toMatch(new RegExp(`^\\| ${way} \\| \\d+\\.\\d\\d \\|$`, 'm'));
    expect(readFileSync(document, 'utf8')).toBe(`before\n<!-- bench: begin -->\n\n${stdout}<!-- bench: end -->\nafter\n`);
  });
});

describe('main', () => {
  test.each([
    [['--rounds', '0'], 'bench: --rounds is "0", but must be a whole number above 0\n'],
    [['--handover', 'much'], /^bench: --handover is "much", but must be a size [^\n]*\n$/],
    [['--markdown', join(folder, 'none.md')], /^bench: .*none\.md: it cannot be read\n$/],
    [['--no-such-option'], /^bench: Unknown option '--no-such-option'[^\n]*\n$/],
  ])('refuses %j in one line', async (args, message) => {
    let complaint = '';
    const write = vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
      complaint += chunk.toString();
      return true;
    });
    expect(await main('', args)).toBe(2);
    write.mockRestore();
    expect(complaint).toMatch(message);
  });
});

describe('sharedMarkdown', () => {
  test('has a row for each heap and a column for each number of processes', () => {
    const throughput = [1, 4].map((processes) => ({
      heap: 'thread-local' as const,
      processes,
      operationsPerSecond: processes * 1e6,
    }));
    const text = sharedMarkdown({
      throughput,
      handover: [{ way: 'token', ms: 1.234 }],
      handoverBytes: 2 ** 30,
      rounds: 3,
      machine: 'a machine',
    });
    expect(text).toContain('|  | 1 process | 4 processes |\n| --- | ---: | ---: |\n| thread-local | 1.00 | 4.00 |');
    expect(text).toContain('| token | 1.23 |');
  });
});
