import { spawn } from 'node:child_process';
import { rmSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { MemoryError } from '../core/errors.js';
import { OWNER_VARIABLE, SITES_VARIABLE, TRACE_VARIABLE } from '../trace/recording/record-from-environment.js';
import { summariseTrace } from '../trace/trace-summary.js';
import { complain } from './complain.js';
import { createProgress } from './progress.js';
import { summaryText } from './record-summary.js';

const DEFAULT_FILE = 'stowage.stowtrace';
/** What a shell adds to a signal's number. */
const EXIT_SIGNAL = 128;
/** What a shell answers for a command that it cannot find or start. */
const EXIT_NO_COMMAND = 127;
const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT'];

interface RecordFlags {
  readonly out: string;
  readonly sites?: true | string;
}

/** Adds `stowage record`. @param done - told the exit code of the program */
export function addRecordCommand(program: Command, done: (exitCode: number) => void): void {
  program
    .command('record')
    .description(
      'Run a program and record what its memory managers do. It needs no change; children that use stowage write files of their own.',
    )
    .argument('<command...>', 'the program and its arguments, behind --')
    .option('-o, --out <file>', 'the recording', DEFAULT_FILE)
    .option('-s, --sites [frames]', 'record where each allocation is made: slower, some microseconds each')
    .addHelpText(
      'after',
      "\nThe exit code is that of the program. The summary goes to stderr, so that the output stays the program's.\n" +
        `The same without this command: ${TRACE_VARIABLE}=file node app.js, and ${SITES_VARIABLE}=1 for sites.\n` +
        '\nExample:\n  stowage record --sites -- node app.js && stowage replay stowage.stowtrace',
    )
    .action(async (command: string[], flags: RecordFlags) => done(await record(command, flags)));
}

/** @returns the exit code of the program */
async function record(command: readonly string[], { out, sites }: RecordFlags): Promise<number> {
  const { [OWNER_VARIABLE]: _owner, ...inherited } = process.env;
  const env = { ...inherited, [TRACE_VARIABLE]: resolve(out), [SITES_VARIABLE]: sitesSetting(sites) };
  // A file of a run before must not be taken for this one's.
  removeOld(out);
  const exitCode = await run(command, env);
  if (statSync(out, { throwIfNoEntry: false }) === undefined) {
    complain(`${out}: nothing was recorded: the program used no memory of stowage`);
    return exitCode;
  }
  const progress = createProgress('reading', 'bytes');
  try {
    const summary = await summariseTrace(out, { onProgress: progress.report });
    progress.stop();
    process.stderr.write(summaryText(out, summary));
  } catch (error) {
    if (!MemoryError.is(error)) throw error;
    // The program has run: its exit code is what its caller waits for.
    complain(error.message);
  } finally {
    progress.stop();
  }
  return exitCode;
}

function sitesSetting(sites: true | string | undefined): string {
  if (sites === undefined) return '0';
  if (sites === true) return '1';
  if (/^[1-9]\d{0,2}$/.test(sites)) return sites;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
    name: '--sites',
    value: JSON.stringify(sites),
    expected: 'a number of frames from 1 to 999',
  });
}

function removeOld(out: string): void {
  try {
    if (statSync(out, { throwIfNoEntry: false })?.isFile() === true) rmSync(out);
  } catch (error) {
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: out, line: 0, reason: (error as Error).message }, error);
  }
}

/** Runs a program on this terminal, and hands signals on to it. @returns its exit code, as a shell tells it */
async function run([file = '', ...args]: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(file, args, { stdio: 'inherit', env });
  // The terminal sends an interrupt to both; this process stays for the summary.
  const forward = (signal: NodeJS.Signals) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    return await new Promise<number>((ended) => {
      child.once('error', (error) => {
        complain(`${file}: the program cannot be run: ${error.message}`);
        ended(EXIT_NO_COMMAND);
      });
      child.once('exit', (code, signal) => ended(code ?? EXIT_SIGNAL + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}
