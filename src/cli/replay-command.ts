import type { Command } from 'commander';
import { MemoryError } from '../core/errors.js';
import type { ReplayResult } from '../trace/replay.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { loadTrace } from '../trace/trace-reader.js';
import { CallLogFile } from './call-log-file.js';
import { complain } from './complain.js';
import { unknownFrees } from './convert-command.js';
import { DEVICES } from './devices.js';
import { limited, MANAGERS } from './managers.js';
import { createProgress } from './progress.js';
import { reportJson, reportText } from './replay-report.js';
import { checkSettings, type NamedManager, type ReplaySettings, replayUnder } from './replay-run.js';
import { parseSize } from './size.js';
import { byName } from './suggest.js';

/** The options as commander gives them. */
interface ReplayFlags {
  readonly manager: string;
  readonly device: string;
  readonly capacity?: string;
  readonly limit?: string;
  readonly json?: true;
  readonly log?: string;
  readonly verify?: true;
  readonly swap?: true;
}

/** Adds `stowage replay`. @param done - told at the end whether the run failed */
export function addReplayCommand(program: Command, done: (failed: boolean) => void): void {
  const command = program
    .command('replay')
    .description('Replay a trace of any format, plain or gzipped, and print what each manager made of it.')
    .argument('<trace>', 'an allocation trace, call log, recording, RMM log, Umpire replay, PyTorch snapshot or Perfetto trace')
    .option('-m, --manager <names>', `managers to compare, by commas: ${[...MANAGERS.keys()].join(', ')}`, 'caching')
    .option('-d, --device <name>', `whose memory: ${[...DEVICES.keys()].join(', ')}`, 'simulated')
    .option('-c, --capacity <size>', 'how much memory the simulated or OpenCL device has, such as 512MiB')
    .option('--limit <size>', 'refuse more live bytes than this, such as 1GiB, on any device')
    .option('--verify', 'write the first and last byte of each block and check both when it is freed')
    .option('--swap', 'at half of the events hand over to the next manager, with live blocks')
    .option('--log <file>', 'write the call log, which can be replayed in turn')
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nJSON: { "version": 1, "results": [{ manager, device, events, allocations, nsPerEvent, nativeAllocs, nativeFrees,\n' +
        'hitRate, peakLiveBytes, peakReservedBytes, utilisation }] }; hitRate and utilisation go from 0 to 1.\n' +
        '\nExamples:\n  stowage replay app.trace.gz --manager caching,default --capacity 512MiB\n' +
        '  stowage replay app.trace.gz --device cpu --verify --log app.log && stowage replay app.log',
    );
  command.action(async (path: string, flags: ReplayFlags) => done(await replay(command, path, flags)));
}

/** @returns whether the run failed */
async function replay(command: Command, path: string, flags: ReplayFlags): Promise<boolean> {
  // All that can be wrong with the input is found before anything is written.
  const limitBytes = flags.limit === undefined ? undefined : parseSize('--limit', flags.limit);
  const managers = flags.manager
    .split(',')
    .map((name) => ({ name: name.trim(), create: limited(byName('--manager', name.trim(), MANAGERS), limitBytes) }));
  const device = byName('--device', flags.device, DEVICES);
  const capacityBytes = flags.capacity === undefined ? undefined : parseSize('--capacity', flags.capacity);
  if (capacityBytes !== undefined && !device.hasCapacity) {
    command.error(`--capacity does not go with --device ${flags.device}, whose capacity is the machine's`);
  }
  if (flags.verify && !device.hasBytes) {
    command.error(`--verify does not go with --device ${flags.device}, whose bytes the host cannot see: use --device cpu`);
  }
  if (flags.log !== undefined && managers.length > 1)
    command.error('--log takes the calls of one manager: name one by --manager');
  checkSettings(managers, device, capacityBytes);
  const events = await load(path);
  const log = flags.log === undefined ? undefined : new CallLogFile(flags.log, path);
  try {
    const settings: ReplaySettings = { device, capacityBytes, verify: flags.verify === true, log };
    const results = replayAll(managers, flags.swap === true, (manager, next) => replayUnder(events, manager, next, settings));
    if (flags.json) process.stdout.write(reportJson(results));
    else if (results.length > 0) {
      const styled = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
      process.stdout.write(reportText({ events, results, verify: settings.verify, swap: flags.swap === true, log }, styled));
    }
    if (log?.failure !== undefined) complain(log.failure);
    return results.length < managers.length || log?.failure !== undefined;
  } finally {
    log?.close();
  }
}

async function load(path: string): Promise<TraceEvents> {
  const progress = createProgress('reading', 'bytes');
  try {
    const events = await loadTrace(path, { onProgress: progress.report });
    progress.stop();
    if (events.cutOff !== undefined) complain(`${path}: ${events.cutOff}`);
    if (events.unknownFrees > 0) complain(`${path}: ${unknownFrees(events.unknownFrees)}`);
    return events;
  } finally {
    progress.stop();
  }
}

/** Replays under one manager after the other; one that fails is reported on stderr and left out. */
function replayAll(
  managers: readonly NamedManager[],
  swap: boolean,
  run: (manager: NamedManager, next: NamedManager | undefined) => ReplayResult,
): ReplayResult[] {
  const results: ReplayResult[] = [];
  managers.forEach((manager, i) => {
    try {
      results.push(run(manager, swap ? managers[(i + 1) % managers.length] : undefined));
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_REPLAY')) throw error;
      complain(`${manager.name}: ${error.message}`);
    }
  });
  return results;
}
