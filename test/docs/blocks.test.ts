import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { compiled } from '../fixtures/compiled.js';
import { EXAMPLES } from '../fixtures/compiled-examples.js';
import { faultOf } from './fault-of.js';
import { inlineCalls, inlineSource, NAME_LINES } from './inline-calls.js';
import { NOT_RUN } from './not-run.js';
import { type PageProgram, pages, programsOf } from './page-blocks.js';
import { prepareFor } from './page-files.js';
import { missingFor, standInsFor } from './page-needs.js';
import { runProgram } from './run-program.js';
import { type Compiled, compileStrictly, type Source } from './strict-programs.js';

const ROOT = resolve(import.meta.dirname, '../..');
const programs = pages().flatMap((page) => programsOf(page));
const calls = inlineCalls(pages());
const isListed =
  (program: PageProgram) =>
  ({ page, has }: { readonly page: string; readonly has: string }) =>
    program.page === page && program.code.includes(has);
const toRun = programs.filter((program) => !NOT_RUN.some(isListed(program)));

/** A name for the program's file and folder. */
const nameOf = ({ page, line }: PageProgram) => `${page.replace(/\.md$/, '').replaceAll('/', '-')}-${line}`;
const source = (program: PageProgram): Source => ({
  // Imports of packages are resolved from the root, and two programs do not see each other's.
  path: join(ROOT, `${nameOf(program)}.m${program.language}`),
  code: program.code,
});

const examples = readdirSync(EXAMPLES).filter((name) => name.endsWith('.mts'));
const exampleSource = (name: string): Source => {
  const path = join(EXAMPLES, name);
  return { path, code: readFileSync(path, 'utf8'), isStripped: true };
};

/** What docs/dependency-injection.md adds to README's settings, for decorators. Other programs have none. */
const DECORATORS = { experimentalDecorators: true, emitDecoratorMetadata: true };

/** The text of a page as a pattern, with … for what differs from run to run: in a line, or as many lines as there are. */
function patternOf(shown: string): RegExp {
  const lines = shown.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(/^…$\n/gm, '(?:.*\\n)*?');
  return new RegExp(`^${lines.replaceAll('…', '.*')}$`);
}

/** Blanks at the ends of lines are not seen. */
const trimmed = (lines: string) => lines.replaceAll(/ +$/gm, '');

// All that is compiled stands in this file: the compiler reads the types of Node and of the sources once.
const results = new Map<PageProgram, Compiled>();
const ofExamples = new Map<string, Compiled>();
let ofCalls: Compiled['errors'] = [];
beforeAll(() => {
  const all = compileStrictly([...programs.map(source), ...examples.map(exampleSource), inlineSource(calls)], DECORATORS);
  for (const [n, program] of programs.entries()) results.set(program, all[n]!);
  for (const [n, name] of examples.entries()) ofExamples.set(name, all[programs.length + n]!);
  ofCalls = all.at(-1)!.errors;
});

describe('docs/examples', () => {
  test('those in TypeScript compile with the tsconfig.json of the README, and have types alone to strip', () => {
    expect(ofExamples.size).toBeGreaterThan(20);
    expect([...ofExamples].flatMap(([name, { errors }]) => errors.map(({ line, text }) => `${name}:${line}: ${text}`))).toEqual(
      [],
    );
  });
});

describe('the text of README and docs', () => {
  test('shows calls that compile, where a name is of any type unless it is known', () => {
    expect(calls.length).toBeGreaterThan(70);
    const faults = ofCalls.filter(({ text }) => !/^(?:Cannot find name|No value exists in scope)/.test(text));
    const place = (line: number) => calls[line - NAME_LINES - 1] ?? { place: 'its names', code: line };
    expect(faults.map(({ line, text }) => `${place(line).place}: ${place(line).code}: ${text}`)).toEqual([]);
  });
});

describe('the blocks of README and docs', () => {
  /** The lines to be mended. */
  const errorsOf = (program: PageProgram) =>
    results.get(program)!.errors.map(({ line, text }) => `${program.placeOf(line)}: ${text}`);
  let folder = '';
  beforeAll(() => {
    folder = join(compiled(), 'blocks');
    // Where an app's own packages are.
    mkdirSync(folder, { recursive: true });
    rmSync(join(folder, 'node_modules'), { force: true });
    symlinkSync(join(ROOT, 'test/hosts/node_modules'), join(folder, 'node_modules'));
  });

  test('compile under strict, with the tsconfig.json that README shows', () => {
    // Without a package its types are missing, too.
    const compilable = programs.filter((program) => missingFor(program) === undefined);
    expect(compilable.flatMap(errorsOf)).toEqual([]);
  });

  test.concurrent.for(toRun.map((program) => [`${program.page}:${program.line}`, program] as const))(
    '%s runs, and prints what the page shows',
    async ([, program], { expect, skip }) => {
      const missing = missingFor(program);
      if (missing !== undefined) skip(missing);
      // Those with errors are named above.
      if (errorsOf(program).length > 0) skip('it does not compile');
      const name = nameOf(program);
      const path = join(folder, name, `${name}.mjs`);
      const result = results.get(program)!;
      const ended = await runProgram(path, result.made, (at) => {
        prepareFor(program, at);
        return standInsFor(program, join(at, 'libraries'));
      });
      expect(faultOf(program, ended, result, name)).toBeUndefined();
      for (const [n, piece] of program.pieces.entries()) {
        if (piece.printed !== undefined)
          expect(trimmed(ended.printed[n]!), `${piece.page}:${piece.line}`).toMatch(patternOf(trimmed(piece.printed)));
      }
    },
  );

  test('that do not run are as many as are listed', () => {
    const found = NOT_RUN.map(({ page, has }) => [
      page,
      has,
      programs.filter((program) => isListed(program)({ page, has })).length,
    ]);
    expect(found).toEqual(NOT_RUN.map(({ page, has }) => [page, has, 1]));
  });
});

describe('docs/dependency-injection.md without a setting for decorators', () => {
  const ofPage = programsOf('docs/dependency-injection.md');
  /** Those that need the older decorators. */
  const legacy = ofPage.filter(({ code }) => code.includes('@inject('));
  const withoutSetting = new Map<PageProgram, Compiled>();
  beforeAll(() => {
    for (const [n, result] of compileStrictly(ofPage.map(source)).entries()) withoutSetting.set(ofPage[n]!, result);
  });

  test('has one program with decorators', () => expect(legacy.length).toBe(1));

  test('compiles to the programs that run above, but for that one', () => {
    for (const program of ofPage.filter((one) => !legacy.includes(one))) {
      const { errors, made } = withoutSetting.get(program)!;
      expect(errors).toEqual([]);
      const same = programs.find(({ page, line }) => page === program.page && line === program.line);
      expect(made).toBe(results.get(same!)?.made);
    }
  });

  test('says what the standard decorators refuse', () => {
    const refused = legacy.flatMap((program) => withoutSetting.get(program)!.errors.map(({ text }) => text));
    expect(new Set(refused)).toEqual(new Set(['Decorators are not valid here.']));
  });
});
