import { describe, expect, test } from 'vitest';
import { IMPORT_RULES } from './import-rules.js';
import { SOURCE_FILES, SOURCE_IMPORTS } from './source-imports.js';

/** Where files name each other's types: contracts, and a part that is given its owner. Of values there is no circle (Biome). */
const MUTUAL_TYPES = /^src\/shared\/pages\//;

describe('the imports of the sources', () => {
  test('are all in the list of what each folder may import', () => {
    const wrong: string[] = [];
    for (const [file, targets] of SOURCE_IMPORTS) {
      const rule = IMPORT_RULES.find(({ from }) => file.startsWith(from));
      if (rule === undefined) wrong.push(`${file}: no rule is for it`);
      else {
        const own = rule.from.endsWith('/') ? [rule.from] : [];
        const may = (target: string) => [...own, ...rule.may].some((start) => target === start || target.startsWith(start));
        wrong.push(...targets.filter((target) => !may(target)).map((target) => `${file} imports ${target}`));
      }
    }
    expect(wrong).toEqual([]);
  });

  test('leave no rule without a file', () => {
    const rules = new Set(SOURCE_FILES.map((file) => IMPORT_RULES.find(({ from }) => file.startsWith(from))));
    expect(IMPORT_RULES.filter((rule) => !rules.has(rule))).toEqual([]);
  });

  test('run in no circle, be it of types', () => {
    expect(circles(SOURCE_IMPORTS).filter((circle) => !circle.every((file) => MUTUAL_TYPES.test(file)))).toEqual([]);
  });
});

/** Finds files that import each other. @returns each circle's files, sorted (Tarjan) */
function circles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): void => {
    order.set(file, order.size);
    lowest.set(file, order.get(file)!);
    stack.push(file);
    for (const target of edges.get(file) ?? []) {
      if (!edges.has(target)) continue;
      if (!order.has(target)) visit(target);
      if (stack.includes(target)) lowest.set(file, Math.min(lowest.get(file)!, lowest.get(target)!));
    }
    if (lowest.get(file) !== order.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1) found.push(circle.sort());
  };
  for (const file of edges.keys()) if (!order.has(file)) visit(file);
  return found.sort();
}
