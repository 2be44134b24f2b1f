import { describe, expect, test } from 'vitest';
import { parseMappings, processMappings } from '../../adapters/os/process-mappings.js';
import { codeOf } from '../fixtures/code-of.js';

const HEAP = `3a4f2000-3a887000 rw-p 00000000 00:00 0                                  [heap]
Size:               3668 kB
Rss:                3412 kB
Pss:                3412 kB
Shared_Dirty:          4 kB
Private_Dirty:      3400 kB
Anonymous:          3412 kB
VmFlags: rd wr mr mw me ac
`;

describe('parseMappings', () => {
  test('reads ranges, rights, names and accounts', () => {
    expect(parseMappings(HEAP)).toEqual([
      {
        start: 0x3a4f2000,
        end: 0x3a887000,
        rights: 'rw-p',
        name: '[heap]',
        residentBytes: 3412 * 1024,
        privateDirtyBytes: 3400 * 1024,
        dirtyBytes: 3404 * 1024,
        anonymousBytes: 3412 * 1024,
        proportionalBytes: 3412 * 1024,
      },
    ]);
  });

  test('keeps names with blanks and odd characters', () => {
    const text = '1000-2000 r--p 00000000 fe:00 1    /a folder/\u001b[31m<b>.so (deleted)\nRss: 4 kB\n';
    expect(parseMappings(text)[0]).toMatchObject({ name: '/a folder/\u001b[31m<b>.so (deleted)', residentBytes: 4096 });
  });

  test('counts no more resident bytes than a range has', () => {
    expect(parseMappings('1000-2000 rw-p 0 00:00 0\nRss: 999 kB\n')[0]?.residentBytes).toBe(0x1000);
  });

  test.each([
    'nonsense',
    '2000-1000 rw-p 0 00:00 0\nRss: 4 kB',
    '1000-ffffffffffffffff rw-p 0 00:00 0\nRss: 4 kB',
    '1000-2000 rw-q 0 00:00 0\nRss: 4 kB',
    'Rss: 4 kB',
    '',
  ])('leaves out what makes no sense: %j', (text) => {
    expect(parseMappings(text)).toEqual([]);
  });

  test('leaves out accounts that make no sense', () => {
    expect(parseMappings('1000-2000 rw-p 0 00:00 0\nRss: -4 kB\nRss: 99999999999999999999 kB')[0]?.residentBytes).toBe(0);
  });
});

describe.skipIf(process.platform !== 'linux')('processMappings', () => {
  test('reads those of this process', () => {
    const names = processMappings('self').map(({ name }) => name);
    expect(names).toContain('[stack]');
    expect(names.some((name) => name === process.execPath)).toBe(true);
  });

  test('refuses a process that is not there', () => {
    expect(codeOf(() => processMappings(2 ** 31 - 2))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });
});
