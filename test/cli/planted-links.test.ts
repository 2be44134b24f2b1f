import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { OutputFile } from '../../src/cli/output-file.js';
import { codeOf } from '../fixtures/code-of.js';
import { compiled } from '../fixtures/compiled.js';
import { type Outcome, stowage, stowageHere } from './compiled-cli.js';

const GOLDEN = resolve('test/trace/golden/app.log');
const IS_ROOT = process.geteuid?.() === 0;
const OTHER = (process.geteuid?.() ?? 0) + 1;
/** Who is not root gives nothing away: his own links are another user's for a command that takes itself for one. */
const ENV: Record<string, string> = IS_ROOT ? {} : { NODE_OPTIONS: `--import=data:text/javascript,process.geteuid=()=>${OTHER}` };

describe.skipIf(process.platform === 'win32')('a link in a sticky folder that everyone may write to', () => {
  let own: string;
  let planted: string[];
  let shared: string;
  beforeAll(() => void compiled(), 120_000);
  beforeEach(() => {
    own = mkdtempSync(join(realpathSync(tmpdir()), 'stowage-own-'));
    planted = [];
    // Whose is neither the command's user nor the links' owner.
    shared = IS_ROOT ? join(own, 'shared') : realpathSync('/tmp');
    if (IS_ROOT) mkdirSync(shared);
    if (IS_ROOT) chmodSync(shared, 0o1777);
    expect(statSync(shared).mode & 0o1002).toBe(0o1002);
    writeFileSync(join(own, 'secret'), 'kept', { mode: 0o600 });
  });
  afterEach(() => {
    for (const link of planted) rmSync(link);
    rmSync(own, { recursive: true });
  });

  /** Plants a link as another user does. @returns its path */
  function plant(target: string): string {
    const link = join(shared, `${basename(own)}-${planted.length}`);
    symlinkSync(target, link);
    planted.push(link);
    if (IS_ROOT) lchownSync(link, OTHER, OTHER);
    return link;
  }
  const run = (...args: string[]): Outcome => stowage(args, ENV, own);
  const contents = (): string[] => readdirSync(own, { recursive: true }).map(String).sort();

  test('is refused when another user planted it, wherever in the path, before anything is written', async () => {
    const toFile = plant(join(own, 'secret'));
    const toNothing = plant(join(own, 'fresh'));
    const toFolder = plant(own);
    symlinkSync(toFile, join(own, 'own-link'));
    const before = contents();
    for (const [path, link] of [
      [toFile, toFile],
      [toNothing, toNothing],
      [join(toFolder, 'secret'), toFolder],
      [join(toFolder, 'fresh'), toFolder],
      [`${toFolder}/../fresh`, toFolder],
      ['own-link', toFile],
    ] as const) {
      const reason = "it is another user's link in a folder that everyone may write to, and is not followed";
      const refused = { code: 2, stdout: '', stderr: `stowage: ${link}: ${reason}\n` };
      for (const args of [
        ['convert', GOLDEN, path, '-t', 'umpire'],
        ['replay', GOLDEN, '--report', path],
        ['replay', GOLDEN, '--log', path],
        ['tune', GOLDEN, '--report', path],
        ['record', '-o', path, '--', 'touch', 'started'],
      ]) {
        expect(IS_ROOT ? await stowageHere(args, own) : run(...args)).toEqual(refused);
      }
    }
    expect(contents()).toEqual(before);
    expect(readFileSync(join(own, 'secret'), 'utf8')).toBe('kept');
  }, 120_000);

  test("is followed when it is the user's own, the folder's owner's, or the folder is no such one", async () => {
    const folder = join(own, 'folder');
    const links: string[] = [];
    const link = (mode: number, owners?: { folder: number; link: number }): void => {
      const place = join(own, `folder-${links.length}`);
      mkdirSync(place);
      symlinkSync(folder, join(place, 'link'));
      chmodSync(place, mode);
      if (owners !== undefined) chownSync(place, owners.folder, owners.folder);
      if (owners !== undefined) lchownSync(join(place, 'link'), owners.link, owners.link);
      links.push(join(place, 'link'));
    };
    mkdirSync(folder);
    link(0o1777);
    link(0o755);
    if (IS_ROOT) {
      link(0o1777, { folder: OTHER, link: 0 });
      link(0o1777, { folder: OTHER, link: OTHER });
      link(0o1755, { folder: 0, link: OTHER });
      link(0o777, { folder: 0, link: OTHER });
    }
    for (const [i, path] of links.entries()) {
      expect(await stowageHere(['convert', GOLDEN, join(path, String(i)), '-t', 'rmm'], own)).toMatchObject({ code: 0 });
      expect(statSync(join(folder, String(i))).size).toBeGreaterThan(0);
    }
  });
});

describe.skipIf(process.platform === 'win32')('what comes to the place after the look at it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'stowage-late-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (name: string): string => join(folder, name);

  test.each([
    ['a file', 'victim', true],
    ['a file', 'nothing', true],
    ['nothing', 'victim', false],
    ['nothing', 'nothing', false],
  ])('is not written through when it is a link in place of %s, to %s', (_, target, isThere) => {
    writeFileSync(file('victim'), 'kept');
    rmSync(file('out'), { force: true });
    if (isThere) writeFileSync(file('out'), 'before');
    using output = new OutputFile(file('out'), { inPlace: true });
    rmSync(file('out'), { force: true });
    symlinkSync(target, file('out'));
    expect(codeOf(() => output.write('stolen'))).toBe('ERR_MEM_BAD_INPUT');
    expect(readFileSync(file('victim'), 'utf8')).toBe('kept');
    expect(readdirSync(folder).sort()).toEqual(['out', 'victim']);
  });

  test('is not written to when it is another file', () => {
    rmSync(file('out'), { force: true });
    writeFileSync(file('out'), 'before');
    writeFileSync(file('another'), 'another');
    using output = new OutputFile(file('out'), { inPlace: true });
    renameSync(file('another'), file('out'));
    expect(codeOf(() => output.write('stolen'))).toBe('ERR_MEM_BAD_INPUT');
    expect(readFileSync(file('out'), 'utf8')).toBe('another');
  });
});
