import { describe, expect, test } from 'vitest';
import { BlockGroups, GrowthHistory } from '../../src/report/live/growth-history.js';

function groupsOf(...blocks: readonly (readonly [tag: string, site: string, bytes: number])[]): BlockGroups {
  const groups = new BlockGroups();
  for (const block of blocks) groups.add(...block);
  return groups;
}

describe('BlockGroups', () => {
  test('tells a tag from a site of the same text', () => {
    expect([...groupsOf(['a', '', 1], ['', 'a', 2], ['a', '', 4]).values()]).toEqual([
      { tag: 'a', site: '', bytes: 5, blocks: 2 },
      { tag: '', site: 'a', bytes: 2, blocks: 1 },
    ]);
  });
});

describe('GrowthHistory', () => {
  test('ranks what has grown, and leaves out what has not', () => {
    const history = new GrowthHistory(0);
    expect(history.grown(500, groupsOf(['a', '', 1], ['b', 's', 3])).groups.map(({ grownBytes }) => grownBytes)).toEqual([3, 1]);
    expect(history.grown(500, groupsOf()).groups).toEqual([]);
  });

  test('looks back five minutes', () => {
    const history = new GrowthHistory(0);
    for (let ms = 1000; ms <= 400_000; ms += 1000) {
      if (history.isDue(ms)) history.keep(ms, groupsOf(['steady', '', 100], ['grows', '', ms]));
    }
    const { overMs, groups } = history.grown(400_000, groupsOf(['steady', '', 100], ['grows', '', 400_000]));
    expect(overMs).toBe(290_000);
    expect(groups).toEqual([{ tag: 'grows', site: '', bytes: 400_000, blocks: 1, grownBytes: 290_000 }]);
  });
});
