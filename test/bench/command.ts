import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { byName } from '../../src/cli/arguments.js';
import { MemoryError } from '../../src/core/errors.js';
import { lineUp, managerNames } from './contestants.js';
import { type Extras, measureExtras } from './extras.js';
import { hostTables, writeMarkdown } from './markdown-report.js';
import { checkMarks } from './marked-document.js';
import { measureTrace } from './measure.js';
import { buildNativePeers } from './native-peers.js';
import { createProgress } from './progress.js';
import { type Measured, rowsJson } from './rows.js';
import { writeChart } from './svg-chart.js';
import { extrasText, missingText, traceText } from './text-report.js';
import { prepareTraces } from './trace-folder.js';

/** Where the benchmark finds what it needs. */
export interface BenchPlaces {
  /** The repository. */
  readonly root: string;
  /** Sources of the native peers. */
  readonly peers: string;
  /** Where compiled peers are kept. */
  readonly cache: string;
  /** The folder of the compiled benchmark; parsed traces are put there. */
  readonly compiled: string;
}

interface Flags {
  readonly traces: string;
  readonly json?: true;
  readonly rounds: string;
  readonly warm: string;
  readonly managers?: string;
  readonly extras: boolean;
  readonly markdown?: string;
  readonly svg?: string;
}

const MIN_ROUNDS = 7;
const DEFAULT_ROUNDS = 9;
/** Then V8 has compiled what it has seen often. */
const DEFAULT_WARM_MS = 300;
const EXIT_OK = 0;
const EXIT_BAD_INPUT = 2;

/** Runs the benchmark. What is wrong goes to stderr in one line, `bench: …`. @returns the exit code */
export async function runBench(args: readonly string[], places: BenchPlaces): Promise<number> {
  const program = createProgram(places);
  try {
    await program.parseAsync(args, { from: 'user' });
    return EXIT_OK;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_BAD_INPUT;
    if (!MemoryError.is(error)) throw error;
    complain(error.message);
    return EXIT_BAD_INPUT;
  }
}

function createProgram(places: BenchPlaces): Command {
  return new Command('bench')
    .description('Replay allocation traces under every manager and under what one would pick instead, in turns.')
    .option('--traces <folder>', 'its traces and call logs', join(places.root, 'test/traces'))
    .option('--rounds <number>', `rounds, from ${MIN_ROUNDS} on; the median counts`, String(DEFAULT_ROUNDS))
    .option('--warm <milliseconds>', 'what each process replays at least before it is measured', String(DEFAULT_WARM_MS))
    .option('--managers <names>', `managers, by commas: ${managerNames().join(', ')}`)
    .option('--json', 'print { rows } instead of tables')
    .option(
      '--no-extras',
      'leave out what logging and recording cost, and how costs grow with live blocks (--json leaves them out)',
    )
    .option('--markdown <file>', 'put the tables between the marks of a document')
    .option('--svg <file>', 'draw time and memory')
    .exitOverride()
    .configureOutput({ outputError: (text) => complain(text.replace(/^error: /, '')) })
    .action((flags: Flags) => bench(flags, places));
}

async function bench(flags: Flags, places: BenchPlaces): Promise<void> {
  // All that can be wrong with the input is found before anything is measured.
  const rounds = parseInteger('--rounds', flags.rounds, MIN_ROUNDS);
  const warmMs = parseInteger('--warm', flags.warm, 0);
  const managers = parseManagers(flags.managers);
  if (flags.markdown !== undefined) checkMarks(flags.markdown);
  const progress = createProgress();
  try {
    const traces = await prepareTraces(flags.traces, places.compiled);
    progress.show('compiling the peers');
    const field = lineUp(managers, buildNativePeers(places.peers, places.cache));
    const all: Measured[] = [];
    for (const trace of traces) {
      const measured = await measureTrace({
        trace: trace.name,
        events: trace,
        eventFile: trace.eventFile,
        contestants: field.contestants,
        rounds,
        warmMs,
        main: join(places.compiled, 'contestant-main.js'),
        onProgress: (what) => progress.show(`${trace.name}: ${what}`),
      });
      all.push(...measured);
      progress.clear();
      if (flags.json !== true) process.stdout.write(`${traceText(trace, measured)}\n`);
    }
    let extras: Extras = { growth: [], logging: [], recording: [], calls: [], hosts: undefined };
    if (flags.extras && (flags.json !== true || flags.markdown !== undefined)) {
      const { contestants } = field;
      const { compiled, root } = places;
      extras = await measureExtras({ contestants, traces, rounds, root, compiled, onProgress: (what) => progress.show(what) });
      progress.clear();
    }
    if (flags.json === true) process.stdout.write(rowsJson(all));
    else
      process.stdout.write(
        `${[extrasText(extras), ...(extras.hosts === undefined ? [] : hostTables(extras.hosts))].join('\n\n')}\n`,
      );
    // With JSON on standard output there is no other place to name them.
    (flags.json === true ? process.stderr : process.stdout).write(missingText(field.missing));
    if (flags.markdown !== undefined) {
      writeMarkdown(flags.markdown, { traces, measured: all, extras, missing: field.missing, rounds });
    }
    if (flags.svg !== undefined) writeChart(flags.svg, all);
  } finally {
    progress.clear();
  }
}

function parseInteger(name: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  const expected = `an integer from ${least} on`;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: JSON.stringify(text), expected });
}

function parseManagers(text: string | undefined): readonly string[] {
  const known = new Map(managerNames().map((name) => [name, name]));
  return text === undefined ? [...known.keys()] : text.split(',').map((name) => byName('--managers', name.trim(), known));
}

function complain(message: string): void {
  process.stderr.write(`bench: ${message.trim().replace(/\s*[\r\n]+\s*/g, ' ')}\n`);
}
