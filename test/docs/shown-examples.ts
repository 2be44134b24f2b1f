/**
 * Examples that pages show piece by piece, with what they print: test/docs/blocks.test.ts runs them as programs of the pages, and
 * test/docs/guides.test.ts compares the code.
 */
export const SHOWN_EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  'docs/budget.md': ['budget.mts', 'budget-workers.mjs'],
  'docs/hosts.md': ['c-library.mts'],
  'docs/writing-a-manager.md': ['custom-manager.mts', 'trim-in-parts.mts'],
};
