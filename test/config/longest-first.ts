import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What needs a browser: one after the other, since those that a process tests share one. */
const IN_BROWSER = ['accessible-pages', 'flame-page', 'page', 'whatif-page', 'live-budgets', 'live-page', 'keys-and-sight'];
/** What takes ten seconds and more: typedoc, the compiler, a browser, many processes. */
const LONGEST = [
  'docs/site',
  'docs/blocks',
  ...IN_BROWSER.map((name) => `report/page/${name}`),
  'conformance/decorators',
  'docs/examples',
  'gpu/gpu',
  'shared/budget/ledger-hammer',
  'cli/serve',
  'conf/configured-runtime',
].map((name) => `/test/${name}.test.ts`);

/** The place of a file in the list; those that are not in it come last. */
const placeOf = ({ moduleId }: TestSpecification) => LONGEST.findIndex((path) => moduleId.endsWith(path)) >>> 0;

/**
 * Begins with the files that take longest: none of them is left at the end, while other processors have nothing to do. Vitest goes
 * by the times of the last run. Where there was none it goes by sizes, which do not tell what a file starts and waits for.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    // Those of a project stay together: a process serves one project.
    const projects = [...new Set(sorted.map(({ project }) => project))];
    return projects.flatMap((of) => sorted.filter(({ project }) => project === of).sort((a, b) => placeOf(a) - placeOf(b)));
  }
}
