import { describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/index.js';
import { HeaviestTexts } from '../../src/report/heaviest-texts.js';
import { buildReport } from '../../src/report/index.js';
import { traceOf } from './reports.js';

describe('HeaviestTexts', () => {
  test('numbers those that hold the most, and the others as one', () => {
    const texts = new HeaviestTexts(2, 'sites');
    for (const [text, bytes] of [
      ['a', 1],
      ['b', 5],
      ['c', 2],
      ['b', 1],
      ['d', 3],
      ['', 99],
    ] as const)
      texts.add(text, bytes * KiB);
    expect(['b', 'd', 'a', 'c', ''].map((text) => texts.idOf(text))).toEqual([1, 2, 3, 3, 0]);
    expect(texts.texts).toEqual(['b', 'd', 'one of 2 more sites: 3.00 KiB together']);
  });

  test('keeps a text that is asked for although it holds little', () => {
    const texts = new HeaviestTexts(1, 'tags');
    for (const [text, bytes] of [
      ['a', 9],
      ['b', 5],
      ['c', 2],
    ] as const)
      texts.add(text, bytes);
    expect([texts.keep('c'), texts.keep('a'), texts.keep('')]).toEqual([3, 1, 0]);
    expect([texts.idOf('c'), texts.idOf('b')]).toEqual([3, 2]);
    expect(texts.texts).toEqual(['a', 'one of 1 more tags: 5 B together', 'c']);
  });

  test('has no others when all are kept', () => {
    const texts = new HeaviestTexts(2, 'tags');
    texts.add('a', 1);
    expect([texts.idOf('a'), texts.idOf('unknown'), texts.texts]).toEqual([1, 0, ['a']]);
  });
});

describe('buildReport', () => {
  test('holds the sites and tags of the blocks that hold the most, and of the leaks that it shows, however many there are', () => {
    const calls = Array.from({ length: 5000 }, (_, i) => ({
      alloc: i === 7 ? MiB : 100 + (i % 1000),
      tag: `request ${i}`,
      site: `at f${i} (/home/somebody/app/src/a-file-of-the-program.js:${i + 1}:1)`,
    }));
    const trace = traceOf(calls);
    const { data } = buildReport(trace, []);
    expect(data.sites.length).toBeLessThan(1300);
    expect(data.sites[0]).toContain('at f7 ');
    expect(data.sites).toContainEqual(expect.stringMatching(/^one of 4,000 more sites: [\d.]+ MiB together$/));
    expect(data.tags).toContainEqual(expect.stringMatching(/^one of 4,000 more tags: [\d.]+ MiB together$/));
    expect(JSON.stringify(data).length).toBeLessThan(500_000);
    expect([data.leaks.groups.length, data.leaks.omittedGroups]).toEqual([200, 4800]);
    const [first] = data.leaks.groups;
    expect([data.sites[first!.site - 1], data.tags[first!.tag - 1]]).toEqual([calls[7]!.site, 'request 7']);
  });
});
