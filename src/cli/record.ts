import { lstatSync, rmSync, statSync, truncateSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { checkArgument, MemoryError } from '../core/errors.js';
import { formatBytes } from '../core/units.js';
import { OWNER_VARIABLE, SITES_VARIABLE, TRACE_VARIABLE } from '../trace/recording/record-from-environment.js';
import { programLines } from '../trace/site-frames.js';
import { TraceKind } from '../trace/trace-events.js';
import { summariseTrace, type TraceSummary } from '../trace/trace-summary.js';
import { sitesSetting } from './arguments.js';
import { OutputFile } from './output-file.js';
import { withProgress } from './progress.js';
import { runProgram } from './run-program.js';
import { complain, count, grouped, printable } from './text.js';

const DEFAULT_FILE = 'stowage.stowtrace';
const SHOWN_GROUPS = 5;
const NS_PER_S = 1e9;

type RecordFlags = Readonly<Record<'out', string> & Partial<Record<'sites', true | string>>>;

/** Adds what `stowage record` takes. @param done - told the exit code of the program */
export function addRecordCommand(record: Command, done: (exitCode: number) => void): void {
  record
    .argument('<command...>', 'the program and its arguments, behind --')
    .option('-o, --out <file>', 'the recording', DEFAULT_FILE)
    .option('-s, --sites [frames]', 'record where each allocation is made: slower, some tens of µs each')
    .addHelpText(
      'after',
      "\nThe exit code is that of the program. The summary goes to stderr: the output is all the program's.\n" +
        `The same without this command: ${TRACE_VARIABLE}=file node app.js, and ${SITES_VARIABLE}=1 for sites.\n` +
        '\nExample:\n  stowage record --sites -- node app.js && stowage replay stowage.stowtrace',
    )
    .action(async (command: string[], flags: RecordFlags) => done(await recordProgram(command, flags)));
}

/** @returns the exit code of the program */
async function recordProgram(command: readonly string[], { out, sites }: RecordFlags): Promise<number> {
  const settings = { [OWNER_VARIABLE]: undefined, [TRACE_VARIABLE]: resolve(out), [SITES_VARIABLE]: sitesSetting(sites) };
  const file = new OutputFile(out);
  checkArgument(!file.isStandardOutput, '--out', JSON.stringify(out), "a file: standard output is the program's");
  // The file of an earlier run must not be mistaken for this one's.
  if (file.isRegularFile) emptyOld(out);
  const { exitCode, hasRun, signal } = await runProgram(command, { ...process.env, ...settings });
  if (!hasRun || !file.isRegularFile) return exitCode;
  if (!(Number(statSync(out, { throwIfNoEntry: false })?.size) > 0)) {
    complain(`${out}: nothing was recorded: the program used no memory of stowage`);
    return exitCode;
  }
  try {
    process.stderr.write(summaryText(out, await withProgress('reading', (shown) => summariseTrace(out, shown)), signal));
  } catch (error) {
    if (!MemoryError.is(error)) throw error;
    // The program has run: its exit code is what its caller waits for.
    complain(error.message);
  }
  return exitCode;
}

/** Removes the file, or empties what a link leads to. */
function emptyOld(out: string): void {
  if (lstatSync(out, { throwIfNoEntry: false })?.isSymbolicLink() !== true) rmSync(out, { force: true });
  else if (statSync(out, { throwIfNoEntry: false }) !== undefined) truncateSync(out);
}

/** The summary of a recording, for people. @param signal - what ended the program before its time */
function summaryText(
  file: string,
  { origin, totals, durationNs, live }: TraceSummary,
  signal: NodeJS.Signals | undefined,
): string {
  const of = (kind: TraceKind) => totals.counts[kind]!;
  const events = totals.counts.reduce((sum, events) => sum + events, 0);
  const liveText = `${count(totals.liveBlocks, 'block')}, ${formatBytes(totals.liveBytes)}`;
  const lines = [
    `${file}: ${count(events, 'event')} of ${origin.name} in ${(durationNs / NS_PER_S).toFixed(3)} s`,
    `  allocations   ${grouped(of(TraceKind.alloc))}, ${count(of(TraceKind.outOfMemory), 'refusal')}`,
    `  peak live     ${formatBytes(totals.peakLiveBytes)} in at most ${count(totals.peakBlocks, 'block')}`,
    `  peak reserved ${formatBytes(totals.peakReservedBytes)}`,
    `  native calls  ${grouped(of(TraceKind.nativeAlloc))} to get, ${grouped(of(TraceKind.nativeFree))} to give back`,
    `  managers      ${count(of(TraceKind.swap), 'installation')}, ${count(of(TraceKind.cleanup), 'cleanup')}`,
    signal === undefined
      ? `  leaks         ${totals.liveBlocks === 0 ? 'none' : `${liveText}, live at the end`}`
      : `  live          ${totals.liveBlocks === 0 ? 'nothing' : liveText}, when ${signal} ended it: whether any of it leaks cannot be told`,
  ];
  for (const group of live.slice(0, SHOWN_GROUPS)) {
    const tag = group.tag === '' ? '' : ` tagged ${JSON.stringify(group.tag)}`;
    lines.push(
      `    ${formatBytes(group.bytes)} in ${count(group.blocks, 'block')}${tag}${group.manager === '' ? '' : ` of ${group.manager}`}`,
    );
    for (const frame of group.site === '' ? [] : programLines(group.site).lines) lines.push(`      ${printable(frame)}`);
  }
  if (live.length > SHOWN_GROUPS) lines.push(`    and ${count(live.length - SHOWN_GROUPS, 'more group')}`);
  if (totals.unknownFrees > 0)
    lines.push(`  left out      ${count(totals.unknownFrees, 'free')} of blocks from before the recording`);
  if (origin.cutOff !== undefined)
    lines.push(`  ${origin.cutOff}: ${signal === undefined ? 'the program was killed' : `${signal} ended the program`}`);
  return `${lines.map(printable).join('\n')}\n`;
}
