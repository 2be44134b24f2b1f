import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';
import { MemoryError } from '../core/errors.js';
import { compareExplanations } from '../explain/compare-explanations.js';
import { EXPLAIN_EVERY_VARIABLE, EXPLAIN_TRIM_VARIABLE, EXPLAIN_VARIABLE } from '../explain/explain-from-environment.js';
import { explainMemory } from '../explain/explain-memory.js';
import { renderExplanation } from '../explain/explanation-page.js';
import type { MemoryExplanation } from '../explain/memory-explanation.js';
import { type Flags, parseNumber } from './arguments.js';
import { readExplanation, writeGrown } from './compared-explanations.js';
import { explanationText, grownText, headline } from './explanation-text.js';
import { OutputFile } from './output-file.js';
import { runProgram } from './run-program.js';
import { complain, jsonText } from './text.js';

const DEFAULT_WATCH_S = 2;
const MS_PER_S = 1000;
const PID = /^\d{1,10}$/;

type ExplainFlags = Flags<never, 'out' | 'html', 'json' | 'all' | 'trim'> &
  Partial<{ readonly watch: true | string; readonly diff: readonly string[] }>;

/** Adds what `stowage explain` takes. @param done - told the exit code */
export function addExplainCommand(command: Command, done: (exitCode: number) => void): void {
  command
    .argument('[pid or program...]', 'the number of a process of this user; or a program and its arguments, behind --')
    .option('--json', 'print JSON instead of a table')
    .option('--all', 'show the smallest categories, too')
    .option(
      '--watch [seconds]',
      `explain again and again, and say what grew since the first time (default: every ${DEFAULT_WATCH_S})`,
    )
    .option('--diff <files...>', 'compare two explanations that were written with --json or --out')
    .option('--trim', 'with a program: at its end try to give memory back, and say what that returned')
    .option('-o, --out <file>', 'write the JSON into a file')
    .option('--html <file>', 'write a page that needs nothing else')
    .addHelpText(
      'after',
      '\nA program is explained from inside at its end, and each Node process that it starts: V8, the memory\n' +
        'managers and the C library are asked there. It needs no change. Of a process by its number the\n' +
        'kernel alone can be asked. End a server with Ctrl-C.\n' +
        '\nJSON: { "version": 1, "pid", "residentBytes", "namedBytes", "categories": [{ kind, name,\n' +
        'residentBytes, reclaimableBytes, advice }] }, reclaimableBytes null where it is not known; of a\n' +
        'program with "children", the same of each.\n' +
        '--diff: { "version": 1, "grown": [{ site, tag, bytes, blocks }] }.\n' +
        '\nExamples:\n  stowage explain 1234\n  stowage explain --watch 5 --out later.json -- node app.js\n' +
        '  stowage explain --diff earlier.json later.json',
    )
    .action(async (words: string[], flags: ExplainFlags) => {
      if (flags.diff !== undefined) return compareFiles(command, words, flags);
      const [first = ''] = words;
      if (first === '') command.error('name a process, or a program: stowage explain -- node app.js');
      const isPid = words.length === 1 && PID.test(first);
      if (isPid && flags.trim) command.error('--trim goes with a program alone: nobody can give back what another process has');
      if (isPid) await explainProcess(Number(first), flags);
      else done(await explainProgram(words, flags));
    });
}

function compareFiles(command: Command, words: readonly string[], { diff = [], json }: ExplainFlags): void {
  const [earlier, later] = diff;
  if (earlier === undefined || later === undefined || diff.length > 2 || words.length > 0)
    command.error('--diff takes two files');
  writeGrown(earlier, later, json === true);
}

async function explainProcess(pid: number, flags: ExplainFlags): Promise<void> {
  const everyMs = watchMs(flags.watch);
  const seen = [explainMemory({ pid })];
  if (everyMs === undefined) show(seen[0] as MemoryExplanation, [], flags);
  else await watch(seen, () => explainMemory({ pid }), everyMs, flags);
  writeFiles(seen, [], flags);
}

/** Explains again and again, until the process has ended or this one is interrupted. The first and the last stay. */
async function watch(
  seen: MemoryExplanation[],
  look: () => MemoryExplanation,
  everyMs: number,
  flags: ExplainFlags,
): Promise<void> {
  const stop = new AbortController();
  const interrupted = () => stop.abort();
  process.once('SIGINT', interrupted);
  try {
    for (;;) {
      showAgain(seen, flags);
      await sleep(everyMs, undefined, { signal: stop.signal });
      seen[1] = look();
    }
  } catch (error) {
    if (stop.signal.aborted) return;
    // It has ended.
    if (!MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) throw error;
  } finally {
    process.off('SIGINT', interrupted);
  }
}

function showAgain([first, last]: readonly MemoryExplanation[], { json }: ExplainFlags): void {
  const latest = (last ?? first) as MemoryExplanation;
  if (json) process.stdout.write(`${JSON.stringify(latest)}\n`);
  else
    process.stdout.write(
      `${new Date().toISOString()} process ${latest.pid}: ${headline(latest)}\n${grownText(compareExplanations(first as MemoryExplanation, latest))}\n`,
    );
}

/** @returns the exit code of the program */
async function explainProgram(words: readonly string[], flags: ExplainFlags): Promise<number> {
  const everyMs = watchMs(flags.watch);
  const folder = mkdtempSync(join(tmpdir(), 'stowage-explain-'));
  const ended = new AbortController();
  try {
    const watching = everyMs === undefined ? undefined : watchFolder(folder, everyMs, ended.signal, flags);
    const { exitCode, hasRun, signal } = await runProgram(words, programEnvironment(folder, everyMs, flags.trim === true));
    ended.abort();
    await watching;
    if (!hasRun) return exitCode;
    const all = readFolder(folder);
    const main = all.shift();
    if (main === undefined) {
      const why =
        signal === undefined ? 'the program ran no Node, or was killed' : `${signal} ended the program, or it ran no Node`;
      complain(`no process explained itself: ${why}`);
    } else {
      show(main, all, flags);
      writeFiles([main], all, flags);
    }
    return exitCode;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function programEnvironment(folder: string, everyMs: number | undefined, tries: boolean): NodeJS.ProcessEnv {
  const entry = pathToFileURL(createRequire(import.meta.url).resolve('stowage/explain')).href;
  // One word: the value of NODE_OPTIONS is split at blanks.
  const code = encodeURIComponent(`import{explainFromEnvironment as e}from${JSON.stringify(entry)};e()`);
  const { NODE_OPTIONS: before = '' } = process.env;
  return {
    ...process.env,
    NODE_OPTIONS: `${before} --import=data:text/javascript,${code}`.trim(),
    [EXPLAIN_VARIABLE]: folder,
    [EXPLAIN_EVERY_VARIABLE]: everyMs === undefined ? '' : String(everyMs),
    [EXPLAIN_TRIM_VARIABLE]: tries ? '1' : '',
  };
}

async function watchFolder(folder: string, everyMs: number, ended: AbortSignal, flags: ExplainFlags): Promise<void> {
  const firsts = new Map<number, MemoryExplanation>();
  while (!ended.aborted) {
    await sleep(everyMs, undefined, { signal: ended }).catch(() => undefined);
    if (ended.aborted) return;
    for (const latest of readFolder(folder)) {
      const first = firsts.get(latest.pid) ?? latest;
      firsts.set(latest.pid, first);
      // The program has the standard output.
      if (flags.json) process.stderr.write(`${JSON.stringify(latest)}\n`);
      else process.stderr.write(`process ${latest.pid}: ${headline(latest)}\n${grownText(compareExplanations(first, latest))}\n`);
    }
  }
}

/** What processes have said of themselves, the one with the most memory first. */
function readFolder(folder: string): MemoryExplanation[] {
  return readdirSync(folder)
    .filter((name) => /^\d+\.json$/.test(name))
    .map((name) => join(folder, name))
    .filter((path) => existsSync(path))
    .map(readExplanation)
    .sort((a, b) => b.residentBytes - a.residentBytes);
}

function show(main: MemoryExplanation, children: readonly MemoryExplanation[], { json, all, out }: ExplainFlags): void {
  if (json) {
    if (out === undefined) process.stdout.write(jsonOf(main, children));
    return;
  }
  for (const one of [main, ...children]) process.stdout.write(explanationText(one, all === true, process.stdout));
}

function jsonOf({ version: _, ...main }: MemoryExplanation, children: readonly MemoryExplanation[]): string {
  return jsonText(children.length === 0 ? main : { ...main, children });
}

/** @param seen - of one process: the first, and the last if there is another one */
function writeFiles(
  seen: readonly MemoryExplanation[],
  children: readonly MemoryExplanation[],
  { out, html }: ExplainFlags,
): void {
  if (out !== undefined) writeText(out, jsonOf(seen.at(-1) as MemoryExplanation, children));
  if (html !== undefined) writeText(html, renderExplanation([...seen, ...children]));
}

function writeText(path: string, text: string): void {
  using file = new OutputFile(path, { isShown: true });
  file.write(Buffer.from(text));
  file.finish();
}

function watchMs(watch: true | string | undefined): number | undefined {
  if (watch === undefined) return undefined;
  const seconds =
    watch === true
      ? DEFAULT_WATCH_S
      : parseNumber('--watch', watch, { form: /^\d+(\.\d+)?$/, from: 0.1, to: 86400 }, 'seconds from 0.1 to 86400');
  return seconds * MS_PER_S;
}
