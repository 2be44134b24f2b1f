import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

/** What axe reports of a rule that a page breaks. */
interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly target: readonly unknown[]; readonly failureSummary?: string }[];
}

const SOURCE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The rules of axe that look at colours. */
export const COLOUR_RULES = ['color-contrast', 'link-in-text-block'] as const;

/**
 * Asks axe what of a page is not accessible.
 *
 * @param rules - the only ones to be asked for; all that axe asks for by itself unless given
 * @returns a line for each rule that is broken, with the elements that break it
 */
export async function violationsOf(page: Page, rules?: readonly string[]): Promise<string[]> {
  if (!(await page.evaluate(() => Reflect.has(globalThis, 'axe')))) await page.evaluate(SOURCE);
  const violations = await page.evaluate(async (values) => {
    const axe = Reflect.get(globalThis, 'axe') as { run: (...args: unknown[]) => Promise<{ violations: Violation[] }> };
    const only = values === undefined ? {} : { runOnly: { type: 'rule', values } };
    return (await axe.run(document, { resultTypes: ['violations'], ...only })).violations;
  }, rules);
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`);
}
