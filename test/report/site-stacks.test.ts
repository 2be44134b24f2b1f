import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { siteStacks } from '../../src/report/site-stacks.js';

const amount = (site: string, bytes: number, blocks = 1) => ({ site, bytes, blocks });

describe('siteStacks', () => {
  test('gives each frame once, the innermost first, without the words of a stack around it', () => {
    const stacks = siteStacks(
      {
        live: [
          amount('at inner (file:///app/a.js:10:5)\nat main (app.js:1:1)', 70, 2),
          amount('at app.js:3:1\nat main (app.js:1:1)', 30),
        ],
      },
      9,
    );
    expect(stacks).toEqual({
      measures: ['live'],
      frames: [
        ['inner', '/app/a.js', 10],
        ['main', 'app.js', 1],
        ['(anonymous)', 'app.js', 3],
      ],
      sites: [
        { stack: [0, 1], bytes: [70], blocks: [2] },
        { stack: [2, 1], bytes: [30], blocks: [1] },
      ],
      others: { bytes: [0], blocks: [0] },
      unknown: { bytes: [0], blocks: [0] },
      siteCount: 2,
    });
  });

  test('keeps lines that name no file, such as those of built-in functions', () => {
    expect(siteStacks({ live: [amount('at Array.map (<anonymous>)', 1)] }, 1)?.frames).toEqual([
      ['Array.map (<anonymous>)', '', 0],
    ]);
  });

  test('takes a function that has waited for the same function', () => {
    const site = 'at async load (/app/a.js:1:1)\nat async file:///app/main.mjs:3:1\nat async Promise.all (index 0)';
    expect(siteStacks({ live: [amount(site, 1)] }, 1)?.frames).toEqual([
      ['load', '/app/a.js', 1],
      ['(anonymous)', '/app/main.mjs', 3],
      ['async Promise.all (index 0)', '', 0],
    ]);
  });

  test('gives null when no site is known', () => {
    expect(siteStacks({ live: [] }, 9)).toBeNull();
    expect(siteStacks({ live: [amount('', 100)], peak: [] }, 9)).toBeNull();
  });

  test('keeps the heaviest of each measure, and adds the others and the blocks without a site up', () => {
    const names = fc.constantFrom('', ...Array.from({ length: 12 }, (_, i) => `at f${i} (x.js:${i + 1}:1)`));
    const amounts = fc.uniqueArray(fc.record({ site: names, bytes: fc.nat(1000), blocks: fc.integer({ min: 1, max: 9 }) }), {
      selector: ({ site }) => site,
    });
    fc.assert(
      fc.property(amounts, amounts, fc.integer({ min: 1, max: 5 }), (live, peak, most) => {
        const stacks = siteStacks({ peak, live }, most);
        if (stacks === null) {
          expect([...live, ...peak].every(({ site }) => site === '')).toBe(true);
          return;
        }
        const { measures, sites, others, unknown, siteCount } = stacks;
        expect(measures).toEqual(['live', 'peak']);
        expect(siteCount).toBe(new Set([...live, ...peak].map(({ site }) => site).filter((site) => site !== '')).size);
        expect(sites.length).toBeLessThanOrEqual(2 * most);
        for (const [place, all] of [live, peak].entries()) {
          const sum = (key: 'bytes' | 'blocks') => all.reduce((total, one) => total + one[key], 0);
          for (const key of ['bytes', 'blocks'] as const) {
            expect([others, unknown, ...sites].reduce((total, one) => total + one[key][place]!, 0)).toBe(sum(key));
          }
          expect(unknown.bytes[place]).toBe(all.find(({ site }) => site === '')?.bytes ?? 0);
          const known = all.filter(({ site }) => site !== '').map(({ bytes }) => bytes);
          const heaviest = known.sort((a, b) => b - a).slice(0, most);
          const kept = sites.map(({ bytes }) => bytes[place]!).sort((a, b) => b - a);
          expect(kept.slice(0, heaviest.length)).toEqual(heaviest);
        }
      }),
    );
  });

  test('cuts texts and stacks that have no end', () => {
    const long = 'x'.repeat(100_000);
    const stack = Array.from({ length: 70 }, (_, i) => `at f (${long}${i}.js:1:1)`);
    const stacks = siteStacks({ live: [amount(stack.join('\n'), 1), amount(`at ${long} (a.js:1:1)`, 1)] }, 9);
    expect(stacks?.sites[0]?.stack).toHaveLength(64);
    expect(stacks?.frames[0]?.[1]).toMatch(/^…x+0\.js$/);
    expect(Math.max(...stacks!.frames.map(([name, file]) => name.length + file.length))).toBeLessThan(310);
  });
});
