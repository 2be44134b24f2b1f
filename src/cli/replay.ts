import type { Command } from 'commander';
import type { LogSink } from '../core/call-log.js';
import type { Device } from '../core/device.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { MemoryError } from '../core/errors.js';
import type { ManagerFactory } from '../core/memory-host.js';
import { formatBytes } from '../core/units.js';
import '../defaults.js';
import { buildReport } from '../report/build-report.js';
import { observeRecording } from '../report/observe-recording.js';
import { type ObservedRun, observeRun } from '../report/observe-run.js';
import { renderPage } from '../report/render-page.js';
import { tradeOf } from '../report/trade.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';
import { installManager, type ReplayResult, type ReplaySwap, replayTrace } from '../trace/replay.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { loadTrace } from '../trace/trace-reader.js';
import { byName, type Flags, parseSize } from './arguments.js';
import { DEVICE_WORDS, DEVICES, limited, MANAGERS } from './choices.js';
import { timeReplays } from './in-turns.js';
import { inputPath, messageStream, OutputFile } from './output-file.js';
import { createProgress, withProgress } from './progress.js';
import { type Column, complain, complainOfGaps, count, grouped, jsonText, layOut, madeBy } from './text.js';

type ReplayFlags = Flags<'manager' | 'device', 'capacity' | 'limit' | 'swapTo' | 'log' | 'report', 'verify' | 'swap' | 'json'>;

/** Adds what `stowage replay` takes. @param done - told at the end whether the run failed */
export function addReplayCommand(command: Command, done: (failed: boolean) => void): void {
  command
    .argument('<trace>', 'an allocation trace, call log, recording, RMM log, Umpire replay, PyTorch snapshot or Perfetto trace')
    .option('-m, --manager <names>', `managers to compare, by commas: ${[...MANAGERS.keys()].join(', ')}`, 'caching')
    .option('-d, --device <name>', `whose memory: ${[...DEVICES.keys()].join(', ')}`, 'simulated')
    .option('-c, --capacity <size>', 'how much memory the device has, or how much of a card to use, such as 512MiB')
    .option('--limit <size>', 'refuse more live bytes than this, such as 1GiB, on any device')
    .option('--verify', 'write the first and last byte of each block and check both when it is freed')
    .option('--swap', 'at half of the events hand over to the next manager, with live blocks')
    .option('--swap-to <name>', 'at half of the events hand over to this manager, with live blocks')
    .option('--log <file>', 'write the call log, which can be replayed in turn')
    .option('--report <file>', 'write a page that shows each run: memory over time, address map, leaks; opens in a browser')
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nJSON: { "version": 1, "results": [{ manager, device, events, allocations, nsPerEvent,\n' +
        'nativeAllocs, nativeFrees, hitRate, peakLiveBytes, peakReservedBytes, utilisation }] };\n' +
        'hitRate and utilisation go from 0 to 1.\n' +
        '\nExamples:\n  stowage replay app.trace.gz --manager caching,default --capacity 512MiB\n' +
        '  stowage replay app.trace.gz --manager caching,pool,tlsf --report app.html\n' +
        '  stowage replay app.trace.gz --device cpu --verify --log app.log && stowage replay app.log',
    );
  command.action(async (path: string, flags: ReplayFlags) => done(await replay(command, path, flags)));
}

interface NamedManager {
  readonly label: string;
  readonly createManager: ManagerFactory;
}

/** One replay of the trace. Its label names its manager, and the one that takes over. */
interface Run extends NamedManager {
  readonly swaps: readonly ReplaySwap[];
  /** The label of its manager, and of the one that takes over. */
  readonly handover?: readonly [from: string, to: string];
}

/** The result of a run that came to its end, with its time measured in turns with the others. */
interface TimedResult extends ReplayResult {
  readonly run: Run;
}

/** @returns whether the run failed */
async function replay(command: Command, path: string, flags: ReplayFlags): Promise<boolean> {
  // Every fault of the input is found before anything is written.
  const limitBytes = flags.limit === undefined ? undefined : parseSize('--limit', flags.limit);
  const names = flags.manager.split(',').map((name) => name.trim());
  const managers = names.map((label) => namedManager('--manager', label, limitBytes));
  const heir = flags.swapTo === undefined ? undefined : namedManager('--swap-to', flags.swapTo.trim(), limitBytes);
  const device = byName('--device', flags.device, DEVICES, DEVICE_WORDS);
  const capacityBytes = flags.capacity === undefined ? undefined : parseSize('--capacity', flags.capacity);
  if (capacityBytes !== undefined && !device.hasCapacity) {
    command.error(`--capacity does not go with --device ${flags.device}, whose capacity is the machine's`);
  }
  const { verify = false } = flags;
  if (verify && !device.hasBytes) {
    command.error(`--verify does not go with --device ${flags.device}, which has no bytes: use --device cpu`);
  }
  if (flags.log !== undefined && managers.length > 1)
    command.error('--log takes the calls of one manager: name one by --manager');
  const newDevice = () => device.create(capacityBytes);
  // Each device and manager is made once, so that bad settings, those in the environment too, show before a run.
  const { deviceCount } = newDevice();
  for (const { createManager } of heir === undefined ? managers : [...managers, heir]) {
    createManager(deviceCount, new MemoryManagerDeviceInterface());
  }
  const input = inputPath(path);
  using page = flags.report === undefined ? undefined : new OutputFile(flags.report, { input, isShown: true });
  using log = flags.log === undefined ? undefined : new CallLogFile(flags.log, { input, inPlace: true });
  log?.checkOther(page);
  const events = await withProgress('reading', (shown) => loadTrace(input, shown));
  complainOfGaps(path, events.cutOff, events.unknownFrees);
  const swapAt = flags.swap || heir !== undefined ? Math.floor(events.length / 2) : undefined;
  const runs = runsOf(managers, heir, swapAt);
  const complete = runs.flatMap((run, i) => {
    try {
      return [{ run, result: replayed(events, run, newDevice(), verify, log) }];
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_REPLAY')) throw error;
      complain(`${names[i]}: ${error.message}`);
      return [];
    }
  });
  const results = timed(events, complete, newDevice);
  page?.write(replayPage());
  page?.finish();
  const out = messageStream(page, log);
  if (flags.json) out.write(reportJson(results));
  else if (results.length > 0) {
    const notes = results.flatMap((result) => notesOn(result, results.length > 1 ? `${result.manager}: ` : '', verify, swapAt));
    if (log !== undefined) notes.push(`call log  ${log.path} (${formatBytes(log.writtenBytes)})`);
    if (page !== undefined) notes.push(`report    ${page.path}`);
    out.write(reportText(events, results, notes, out));
  }
  if (log?.failure !== undefined) complain(log.failure);
  return results.length < managers.length || log?.failure !== undefined;

  /** Replays once more under each manager, with a watcher, and makes the page of these runs and the recorded one. */
  function replayPage(): string {
    const probe = newDevice();
    const settings = [
      { label: 'trace', value: events.file },
      { label: 'managers', value: names.join(', ') },
      { label: 'device', value: probe.name },
      { label: 'capacity', value: formatBytes(probe.getMaxMemorySize(0)) },
      { label: 'limit of live bytes', value: limitBytes === undefined ? 'none' : formatBytes(limitBytes) },
      { label: 'swap', value: swapAt === undefined ? 'none' : `before event ${grouped(swapAt)}` },
      ...madeBy(),
    ];
    const observedRuns = [...runs.map((run) => observed(events, run, newDevice(), results)), observeRecording(events)];
    return renderPage(
      buildReport(
        events,
        observedRuns.filter((run) => run !== undefined),
        { settings },
      ),
    );
  }
}

/** @throws ERR_MEM_INVALID_ARGUMENT when no manager has that name */
function namedManager(option: string, label: string, limitBytes: number | undefined): NamedManager {
  return { label, createManager: limited(byName(option, label, MANAGERS), limitBytes) };
}

/**
 * The run of each manager.
 * @param heir - takes over from each of them; if undefined, the next one does, and the first after the last
 * @param swapAt - the event before which it takes over; undefined for no swap
 */
function runsOf(managers: readonly NamedManager[], heir: NamedManager | undefined, swapAt: number | undefined): Run[] {
  return managers.map(({ label, createManager }, i) => {
    if (swapAt === undefined) return { label, createManager, swaps: [] };
    const next = heir ?? managers[(i + 1) % managers.length]!;
    const swap = { atEvent: swapAt, createManager: next.createManager };
    return { label: `${label} -> ${next.label}`, createManager, swaps: [swap], handover: [label, next.label] };
  });
}

/** A call log that a run writes. It remembers the first failed write, so that the run can fail with it. */
class CallLogFile extends OutputFile {
  #failure: unknown;

  /** Why the log is not complete; undefined when it is. */
  get failure(): string | undefined {
    const { cause = this.#failure } = (this.#failure ?? {}) as Error;
    if (cause === undefined) return undefined;
    return `${this.path}: the call log is not complete: ${cause instanceof Error ? cause.message : String(cause)}`;
  }

  override writeBytes(bytes: Uint8Array, length: number): void {
    if (this.#failure !== undefined) return;
    try {
      super.writeBytes(bytes, length);
    } catch (error) {
      this.#failure = error;
    }
  }
}

/** Replays a trace once, in a runtime of its own. @throws as {@link replayTrace}; all memory has been given back */
function replayed(
  events: TraceEvents,
  { label, createManager, swaps }: Run,
  device: Device,
  verify: boolean,
  log: LogSink | undefined,
): ReplayResult {
  using runtime = new MemoryRuntime(device);
  using progress = createProgress(label);
  installManager(runtime, logged(createManager, log));
  return replayTrace(events, runtime, {
    label,
    verify,
    swaps: swaps.map((swap) => ({ ...swap, createManager: logged(swap.createManager, log) })),
    onProgress: progress.report,
  });
}

/** Puts the times of replays in turns, unchecked and without a log, into the place of those of the first replays. */
function timed(
  events: TraceEvents,
  complete: readonly { readonly run: Run; readonly result: ReplayResult }[],
  newDevice: () => Device,
): TimedResult[] {
  using progress = createProgress('time', 'rounds');
  const replays = complete.map(({ run: { createManager, swaps } }) => ({ createManager, swaps, device: newDevice() }));
  const times = timeReplays(events, replays, progress.report);
  return complete.map(({ run, result }, i) => ({ ...result, run, nsPerEvent: times[i]! }));
}

function logged(create: ManagerFactory, log: LogSink | undefined): ManagerFactory {
  if (log === undefined) return create;
  return (deviceCount, table) => {
    const manager = create(deviceCount, table);
    manager.setLogStream(log);
    manager.setLoggingEnabled(true);
    return manager;
  };
}

/** Replays a trace once more and watches. @param results - of the replays without a watcher: the page shows their times */
function observed(events: TraceEvents, run: Run, device: Device, results: readonly TimedResult[]): ObservedRun {
  const { label: name, createManager, swaps } = run;
  using progress = createProgress(`report: ${name}`);
  const nsPerEvent = results.find((result) => result.run === run)?.nsPerEvent;
  return observeRun(events, { name, device, createManager, swaps, nsPerEvent, onProgress: progress.report });
}

const COLUMNS: readonly Column[] = [
  { heading: 'manager', align: 'left' },
  { heading: 'device', align: 'left' },
  { heading: 'events/s', align: 'right' },
  { heading: 'native calls', align: 'right' },
  { heading: 'hit rate', align: 'right' },
  { heading: 'peak live', align: 'right' },
  { heading: 'peak reserved', align: 'right' },
  { heading: 'utilisation', align: 'right' },
];

/** The report for people. */
function reportText(
  events: TraceEvents,
  results: readonly ReplayResult[],
  notes: readonly string[],
  out: NodeJS.WriteStream,
): string {
  const title =
    `${events.name} (${events.format}): ${count(events.length, 'event')}${replayedOf(events, results)}, ${count(events.allocations, 'allocation')}, ` +
    `${count(events.liveBlocks, 'block')} live at the end`;
  const table = layOut(COLUMNS, results.map(cells), out);
  return `${[title, '', ...table, '', ...tradeLines(results), ...notes].join('\n').trimEnd()}\n`;
}

/** What the managers trade, where there are several. */
function tradeLines(results: readonly ReplayResult[]): string[] {
  if (results.length < 2) return [];
  const costs = results.map(({ manager, peakReservedBytes, nsPerEvent, nativeAllocs, nativeFrees }) => ({
    name: manager,
    bytes: peakReservedBytes,
    nsPerEvent,
    nativeCalls: nativeAllocs + nativeFrees,
  }));
  return [`${tradeOf(costs).text}.`, ''];
}

/** How many of the events a replay does: the others, such as native calls, are its own. */
function replayedOf(events: TraceEvents, [first]: readonly ReplayResult[]): string {
  return first === undefined || first.events === events.length ? '' : ` (${grouped(first.events)} of them allocations and frees)`;
}

/** The report for programs. */
function reportJson(results: readonly ReplayResult[]): string {
  const shaped = results.map((result) => ({
    manager: result.manager,
    device: result.device,
    events: result.events,
    allocations: result.allocations,
    nsPerEvent: result.nsPerEvent,
    nativeAllocs: result.nativeAllocs,
    nativeFrees: result.nativeFrees,
    hitRate: result.hitRate,
    peakLiveBytes: result.peakLiveBytes,
    peakReservedBytes: result.peakReservedBytes,
    utilisation: result.utilisation,
  }));
  return jsonText({ results: shaped });
}

function cells(result: ReplayResult): string[] {
  return [
    result.manager,
    result.device,
    grouped(Math.round(1e9 / Math.max(result.nsPerEvent, 1e-9))),
    grouped(result.nativeAllocs + result.nativeFrees),
    `${(result.hitRate * 100).toFixed(2)} %`,
    formatBytes(result.peakLiveBytes),
    formatBytes(result.peakReservedBytes),
    result.utilisation.toFixed(3),
  ];
}

function notesOn(result: TimedResult, who: string, verify: boolean, swapAt = 0): string[] {
  const { run, verifiedBlocks, blocksAcrossSwaps } = result;
  const notes = verify ? [`verified  ${who}the first and last byte of ${count(verifiedBlocks, 'block')}`] : [];
  if (run.handover === undefined) return notes;
  const [from, to] = run.handover;
  const blocks = `${count(blocksAcrossSwaps, 'live block')} ${blocksAcrossSwaps === 1 ? 'stays' : 'stay'} with ${from}`;
  return [...notes, `swapped   ${who}to ${from === to ? `another ${to}` : to} before event ${grouped(swapAt)}: ${blocks}`];
}
