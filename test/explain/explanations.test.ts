import { describe, expect, test } from 'vitest';
import { compareExplanations, type MemoryExplanation, parseExplanation, renderExplanation } from '../../src/explain/index.js';
import { FoundCategories } from '../../src/explain/memory-explanation.js';
import { codeOf } from '../fixtures/code-of.js';

const MiB = 2 ** 20;
const category = (name: string, residentBytes: number, kind = 'binary') => ({
  kind,
  name,
  residentBytes,
  reclaimableBytes: null,
  advice: 'none',
});

function explanation(...categories: ReturnType<typeof category>[]): MemoryExplanation {
  const residentBytes = categories.reduce((sum, one) => sum + one.residentBytes, 0);
  return {
    version: 1,
    pid: 7,
    residentBytes,
    namedBytes: residentBytes,
    categories,
    view: 'inside',
    program: 'node app.js',
    giveBack: [{ step: 'V8', bytes: 5 * MiB, how: 'estimated' }],
  } as MemoryExplanation;
}

describe('compareExplanations', () => {
  test('names what grew, the most grown first, and what is new', () => {
    const earlier = explanation(category('a', 10), category('b', 100), category('c', 50));
    const later = explanation(category('a', 30), category('b', 90), category('c', 55), category('d', 7));
    expect(compareExplanations(earlier, later)).toEqual({
      version: 1,
      grown: [
        { site: 'a', tag: 'binary', bytes: 20, blocks: null },
        { site: 'd', tag: 'binary', bytes: 7, blocks: null },
        { site: 'c', tag: 'binary', bytes: 5, blocks: null },
      ],
    });
  });

  test('takes categories of one name and other kinds for different ones', () => {
    const { grown } = compareExplanations(explanation(category('a', 10, 'shared')), explanation(category('a', 10, 'unknown')));
    expect(grown).toEqual([{ site: 'a', tag: 'unknown', bytes: 10, blocks: null }]);
  });

  test('names nothing where nothing grew', () => {
    const same = explanation(category('a', 10));
    expect(compareExplanations(same, same).grown).toEqual([]);
  });
});

describe('parseExplanation', () => {
  test('reads what was written', () => {
    const written = explanation(category('/a "path" <b>', 10));
    expect(parseExplanation(JSON.stringify(written), 'a.json')).toEqual(written);
  });

  test('leaves out what it does not know', () => {
    const written = explanation(category('a', 10));
    const text = JSON.stringify({
      ...written,
      later: 1,
      giveBack: [...written.giveBack, { step: 'moon', bytes: -1, how: 'asked' }, null],
    });
    expect(parseExplanation(text, 'a.json')).toEqual(written);
  });

  const whole = explanation(category('a', 10));
  test.each([
    ['', 'no JSON'],
    ['null', 'version'],
    ['{"version":2}', 'version'],
    [JSON.stringify({ ...whole, pid: -1 }), 'pid'],
    [JSON.stringify({ ...whole, residentBytes: 1e300 }), 'residentBytes'],
    [JSON.stringify({ ...whole, categories: {} }), 'categories'],
    [JSON.stringify({ ...whole, categories: [category('a', 1, 'no kind')] }), 'category 0'],
    [JSON.stringify({ ...whole, categories: [category('a', 1, '__proto__')] }), 'category 0'],
    [JSON.stringify({ ...whole, categories: [null] }), 'category 0'],
    [JSON.stringify({ ...whole, categories: [{ ...category('a', 1), reclaimableBytes: 'all' }] }), 'category 0'],
  ])('refuses %s', (text, reason) => {
    expect(() => parseExplanation(text, 'a.json')).toThrow(reason);
    expect(codeOf(() => parseExplanation(text, 'a.json'))).toBe('ERR_MEM_BAD_INPUT');
  });
});

describe('renderExplanation', () => {
  const NASTY = '/tmp/<script>alert("1")</script>&\'.so';

  test('escapes names, programs and titles', () => {
    const page = renderExplanation([{ ...explanation(category(NASTY, 10 * MiB)), program: NASTY }], { title: NASTY });
    expect(page).not.toContain('<script');
    expect(page.split('/tmp/&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;.so')).toHaveLength(5);
  });

  test('loads nothing and runs nothing', () => {
    const page = renderExplanation([explanation(category('a', MiB))]);
    expect(page).toContain('default-src &#39;none&#39;; style-src &#39;sha256-');
    expect(page).not.toMatch(/<(?:script|link|img|iframe)|https?:|\bon\w+=/);
  });

  test('says what grew between two moments of one process', () => {
    const page = renderExplanation([explanation(category('a', MiB)), explanation(category('a', 3 * MiB))]);
    expect(page).toContain('<h2>What grew</h2>');
    expect(page).toMatch(/>2\.00 MiB<\/td><td [^>]*>binary<\/td><th [^>]*>a<\/th>/);
    expect(renderExplanation([explanation(category('a', MiB))])).not.toContain('What grew');
  });
});

describe('FoundCategories', () => {
  test('sums up what has one kind and name, and gives the largest first', () => {
    const found = new FoundCategories();
    found.add('binary', 'a', 10);
    found.add('shared', 'b', 15, null);
    found.add('binary', 'a', 20);
    found.add('stack', 'nothing', 0);
    const list = found.list((kind) => `about ${kind}`);
    expect(list).toEqual([
      { kind: 'binary', name: 'a', residentBytes: 30, reclaimableBytes: 0, advice: 'about binary' },
      { kind: 'shared', name: 'b', residentBytes: 15, reclaimableBytes: null, advice: 'about shared' },
    ]);
  });

  test('says of a sum with an unknown part that what can be given back is unknown', () => {
    const found = new FoundCategories();
    found.add('v8-heap', 'a', 10, 5);
    found.add('v8-heap', 'a', 10, null);
    expect(found.list(() => '')[0]?.reclaimableBytes).toBeNull();
  });

  test('takes bytes from the largest of a kind first, and no more than there are', () => {
    const found = new FoundCategories();
    found.add('c-heap-live', 'small', 10);
    found.add('c-heap-live', 'large', 30);
    expect(found.take('c-heap-live', 35)).toBe(35);
    expect(found.list(() => '').map(({ name, residentBytes }) => [name, residentBytes])).toEqual([['small', 5]]);
    expect(found.take('c-heap-live', 100)).toBe(5);
  });
});
