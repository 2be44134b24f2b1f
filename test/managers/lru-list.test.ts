import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LruList } from '../../src/blocks/lru-list.js';

describe('LruList', () => {
  test('has no oldest entry while it is empty', () => {
    const list = new LruList();
    expect([list.oldest, list.newest, list.count]).toEqual([-1, -1, 0]);
    expect([list.has(0), list.has(-1), list.has(1e6)]).toEqual([false, false, false]);
  });

  test('keeps the order of use as a model does', () => {
    const command = fc.record({ remove: fc.boolean(), entry: fc.integer({ min: 0, max: 300 }) });
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const list = new LruList();
        let model: number[] = [];
        for (const { remove, entry } of commands) {
          model = model.filter((other) => other !== entry);
          if (remove) list.remove(entry);
          else {
            list.touch(entry);
            model.push(entry);
          }
          list.checkInvariants();
          expect([...list]).toEqual(model);
          expect(list.count).toBe(model.length);
          expect(list.oldest).toBe(model[0] ?? -1);
          expect(list.newest).toBe(model.at(-1) ?? -1);
          expect(list.has(entry)).toBe(!remove);
        }
      }),
      { numRuns: 100 },
    );
  });
});
