import { describe, expect, test, vi } from 'vitest';
import { byName, nearest, parseSize } from '../../src/cli/arguments.js';
import { DEVICE_WORDS, DEVICES } from '../../src/cli/choices.js';
import { layOut } from '../../src/cli/text.js';
import { MemoryError } from '../../src/core/errors.js';

describe('parseSize', () => {
  test.each([
    ['1024', 1024],
    ['512MiB', 512 * 2 ** 20],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['1.5 gib', 1.5 * 2 ** 30],
    ['2TiB', 2 ** 41],
    ['7B', 7],
    ['100MB', 100_000_000],
    ['1.5 gb', 1_500_000_000],
    ['2KB', 2000],
    ['1TB', 1e12],
    ['0.3KiB', 307],
    [' 64KiB ', 65_536],
  ])('reads %j as %i bytes', (text, bytes) => {
    expect(parseSize('--capacity', text)).toBe(bytes);
  });

  test.each([
    '',
    '0',
    '-1',
    '1e9',
    'MiB',
    '12XB',
    '5M',
    'NaN',
    '0.0001KiB',
    '9007199254740992',
    '1_000',
    '1..5GiB',
    '__proto__',
    '1constructor',
  ])('refuses %j', (text) => {
    expect(() => parseSize('--capacity', text)).toThrow(
      `--capacity is ${JSON.stringify(text)}, but must be a size above 0 such as 512MiB`,
    );
  });

  test.each([
    ['24', '24GiB'],
    ['24G', '24GiB'],
    ['100 m', '100MiB'],
  ])('asks for the unit of %j', (text, meant) => {
    expect(() => parseSize('--limit', text)).toThrow(`(did you mean ${meant}?)`);
  });

  test('refuses with a code', () => {
    expect.assertions(1);
    try {
      parseSize('--limit', 'x');
    } catch (error) {
      expect(MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')).toBe(true);
    }
  });
});

describe('byName', () => {
  const values = new Map([
    ['caching', 1],
    ['lru', 2],
  ]);

  test('knows the end of a name', () => expect(nearest('3090', ['l4', 'rtx3090', 'rtx3060'])).toBe('rtx3090'));

  test('finds a value', () => {
    expect(byName('--manager', 'lru', values)).toBe(2);
  });

  test('names the values there are, and the nearest one', () => {
    expect(() => byName('--manager', 'cashing', values)).toThrow(
      '--manager is "cashing", but must be one of caching, lru (did you mean caching?)',
    );
    expect(() => byName('--manager', 'zzzzzzzz', values)).toThrow(/one of caching, lru$/);
  });

  test('names what a word may mean that is no name here', () => {
    expect(() => byName('--device', 'GPU', DEVICES, DEVICE_WORDS)).toThrow(
      'one of cpu, cuda, hip, simulated, opencl (did you mean cuda, hip or opencl?)',
    );
  });
});

describe('nearest', () => {
  test.each([
    ['Caching', 'caching'],
    ['defualt', 'default'],
    ['simulatd', 'simulated'],
    ['gpu', 'cpu'],
    ['', undefined],
    ['entirely-other', undefined],
  ])('answers %j with %j', (name, expected) => {
    expect(nearest(name, ['caching', 'default', 'simulated', 'cpu'])).toBe(expected);
  });
});

describe('layOut', () => {
  test('pads each column to its widest cell', () => {
    const columns = [
      { heading: 'name', align: 'left' },
      { heading: 'n', align: 'right' },
    ] as const;
    expect(
      layOut(columns, [
        ['a', '1,000'],
        ['longer', '2'],
      ]),
    ).toEqual(['name        n', 'a       1,000', 'longer      2']);
  });

  test('breaks texts of the last column where a terminal ends', () => {
    const columns = ['name', 'text'].map((heading) => ({ heading, align: 'left' as const }));
    const rows = [
      ['a', 'one two three four five six seven'],
      ['b', ''],
    ];
    const terminal = { isTTY: true, columns: 26 } as unknown as NodeJS.WriteStream;
    vi.stubEnv('NO_COLOR', '1');
    expect(layOut(columns, rows, terminal)).toEqual(['name  text', 'a     one two three four', '      five six seven', 'b']);
    expect(layOut(columns, rows)[1]).toBe('a     one two three four five six seven');
    expect(layOut(columns, rows, Object.assign(terminal, { columns: 12 }))[1]).toBe('a     one two three four five six seven');
    vi.unstubAllEnvs();
  });

  test('gives the headings alone when there are no rows', () => {
    expect(layOut([{ heading: 'name', align: 'left' }], [])).toEqual(['name']);
  });
});
