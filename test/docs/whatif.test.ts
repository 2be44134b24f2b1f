import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stowageHere } from '../cli/compiled-cli.js';

const SNAPSHOTS = {
  'snapshot.pickle': 'test/whatif/snapshots/default.pickle.gz',
  'oom.pickle': 'test/trace/snapshots/oom-frames.pickle.gz',
};

const page = readFileSync('docs/whatif.md', 'utf8');
/** The commands that the page shows, and what they print there. */
const shown = Array.from(
  page.matchAll(/^```\n\$ stowage (whatif .*)\n([^`]*)^```$/gm),
  ([, command = '', output = '']) => [command, output] as const,
);

describe('docs/whatif.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'stowage-whatif-docs-'));
  beforeAll(() => {
    for (const [name, path] of Object.entries(SNAPSHOTS)) writeFileSync(join(folder, name), gunzipSync(readFileSync(path)));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('shows commands', () => expect(shown.length).toBeGreaterThanOrEqual(4));

  test.each(shown)('shows what stowage %s prints', async (command, output) => {
    const args = command.split(' ').map((word) => (word === '""' ? '' : word));
    expect(await stowageHere(args, folder)).toEqual({ code: 0, stdout: output, stderr: '' });
  });
});
