import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MemoryError, type MemoryErrorCode } from '../../src/index.js';
import { stowage, stowageHere } from '../cli/compiled-cli.js';
import { compiled } from '../fixtures/compiled.js';
import { provokedErrors } from './provoked-errors.js';

const PAGE = resolve(import.meta.dirname, '../../docs/errors.md');
const page = readFileSync(PAGE, 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'stowage-errors-'));
afterAll(() => rmSync(folder, { recursive: true }));
const provoked = provokedErrors(folder);
const codes = Object.keys(provoked) as MemoryErrorCode[];

/** A section of the page. */
const sectionOf = (code: string) => page.split(/^## /m).find((section) => section.startsWith(`${code}\n`)) ?? '';
/** A message without what differs from time to time: numbers, units, folders. */
const formOf = (message: string) =>
  message
    .replaceAll(/(file:\/\/)?\/\S*\/(?=[\w.-]+)/g, '')
    .replaceAll(/\d+(\.\d+)?/g, '#')
    .replaceAll(/# (B|KiB|MiB|GiB)\b/g, '# unit');

async function caught(provoke: () => unknown): Promise<unknown> {
  try {
    await provoke();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe('docs/errors.md', () => {
  test('has a section and a row for every code, and for no other', () => {
    expect(Array.from(page.matchAll(/^## (ERR_MEM_\w+)$/gm), ([, code]) => code)).toEqual(codes);
    expect(Array.from(page.matchAll(/^\| \[`(\w+)`\]\(#(\w+)\) \| \S/gm), ([, code, link]) => [code, link])).toEqual(
      codes.map((code) => [code, code.toLowerCase()]),
    );
  });

  test.each(codes)('shows the message of %s as it is, and names its facts', async (code) => {
    const error = await caught(provoked[code]);
    if (!MemoryError.is(error)) throw error;
    expect(error.code).toBe(code);
    const section = sectionOf(code);
    const [, shown = ''] = /^```\n(.*?)\n```$/ms.exec(section) ?? [];
    expect(formOf(error.message)).toBe(formOf(shown));
    const [, facts = ''] = /^Facts: (.*)$/m.exec(section) ?? [];
    for (const name of Object.keys(error.facts)) expect(facts).toContain(`\`${name}\``);
    expect(section).toMatch(/^- \S/m);
  });
});

describe('MemoryError', () => {
  test('is printed with the command that says what to do', async () => {
    const error = await caught(provoked.ERR_MEM_INVALID_SIZE);
    expect(inspect(error)).toMatch(
      /\{\n {2}code: 'ERR_MEM_INVALID_SIZE',\n {2}facts: .*,\n {2}help: 'npx stowage error ERR_MEM_INVALID_SIZE'\n\}$/,
    );
  });
});

describe('stowage error', () => {
  beforeAll(() => {
    mkdirSync(join(compiled(), 'docs'), { recursive: true });
    copyFileSync(PAGE, join(compiled(), 'docs/errors.md'));
  }, 120_000);

  test.each(['ERR_MEM_DISPOSED', 'disposed'])('prints the section of %s, with files in place of links', (code) => {
    const { stdout, stderr, code: status } = stowage(['error', code]);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^ERR_MEM_DISPOSED\n\n {2}this allocation was disposed\n\n/);
    expect(stdout).toContain('see scopes (docs/handles.md#scopes).\n');
    expect(stdout).not.toContain('](');
  });

  test('lists all codes without one', async () => {
    expect((await stowageHere(['error'])).stdout).toBe(`${codes.join('\n')}\n`);
  });

  test('proposes the nearest code', async () => {
    const { stderr, code } = await stowageHere(['error', 'dispoed']);
    expect([code, stderr]).toEqual([
      2,
      'stowage: the error code is dispoed, but must be one of ours: did you mean ERR_MEM_DISPOSED?\n',
    ]);
  });
});
