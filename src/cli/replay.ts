import type { Command } from 'commander';
import type { LogSink } from '../core/call-log.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { MemoryError } from '../core/errors.js';
import type { ManagerFactory } from '../core/memory-host.js';
import { MemoryManagerInstaller } from '../core/memory-manager-installer.js';
import { formatBytes } from '../core/units.js';
import '../defaults.js';
import { buildReport } from '../report/build-report.js';
import { observeRecording } from '../report/observe-recording.js';
import { type ObservedRun, observeRun } from '../report/observe-run.js';
import { renderPage } from '../report/render-page.js';
import type { Fact } from '../report/report-data.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';
import { type ReplayResult, replayTrace } from '../trace/replay.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { loadTrace } from '../trace/trace-reader.js';
import { byName, parseSize } from './arguments.js';
import { DEVICES, type DeviceChoice, limited, MANAGERS } from './choices.js';
import { inputPath, messageStream, OutputFile } from './output-file.js';
import { createProgress } from './progress.js';
import { BOLD, type Column, complain, count, grouped, layOut, madeBy, PLAIN, unknownFrees } from './text.js';

/** The options as commander gives them. */
interface ReplayFlags {
  readonly manager: string;
  readonly device: string;
  readonly capacity?: string;
  readonly limit?: string;
  readonly json?: true;
  readonly log?: string;
  readonly report?: string;
  readonly verify?: true;
  readonly swap?: true;
}

/** Adds what `stowage replay` takes. @param done - told at the end whether the run failed */
export function addReplayCommand(command: Command, done: (failed: boolean) => void): void {
  command
    .argument('<trace>', 'an allocation trace, call log, recording, RMM log, Umpire replay, PyTorch snapshot or Perfetto trace')
    .option('-m, --manager <names>', `managers to compare, by commas: ${[...MANAGERS.keys()].join(', ')}`, 'caching')
    .option('-d, --device <name>', `whose memory: ${[...DEVICES.keys()].join(', ')}`, 'simulated')
    .option('-c, --capacity <size>', 'how much memory the simulated or OpenCL device has, such as 512MiB')
    .option('--limit <size>', 'refuse more live bytes than this, such as 1GiB, on any device')
    .option('--verify', 'write the first and last byte of each block and check both when it is freed')
    .option('--swap', 'at half of the events hand over to the next manager, with live blocks')
    .option('--log <file>', 'write the call log, which can be replayed in turn')
    .option('--report <file>', 'write a page that shows each run: memory over time, address map, leaks; opens in a browser')
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nJSON: { "version": 1, "results": [{ manager, device, events, allocations, nsPerEvent, nativeAllocs, nativeFrees,\n' +
        'hitRate, peakLiveBytes, peakReservedBytes, utilisation }] }; hitRate and utilisation go from 0 to 1.\n' +
        '\nExamples:\n  stowage replay app.trace.gz --manager caching,default --capacity 512MiB\n' +
        '  stowage replay app.trace.gz --manager caching,pool,tlsf --report app.html\n' +
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
    command.error(`--verify does not go with --device ${flags.device}, which has no bytes: use --device cpu`);
  }
  if (flags.log !== undefined && managers.length > 1)
    command.error('--log takes the calls of one manager: name one by --manager');
  checkSettings(managers, device, capacityBytes);
  const input = inputPath(path);
  using page = flags.report === undefined ? undefined : new OutputFile(flags.report, { input });
  using log = flags.log === undefined ? undefined : new CallLogFile(flags.log, { input, inPlace: true });
  log?.checkOther(page);
  const events = await load(path);
  const settings: ReplaySettings = { device, capacityBytes, verify: flags.verify === true, log };
  const swap = flags.swap === true;
  const results = replayAll(managers, swap, (manager, next) => replayUnder(events, manager, next, settings));
  page?.write(replayPage(events, { managers, settings, swap, results, limitBytes }));
  page?.finish();
  const out = messageStream(page, log);
  if (flags.json) out.write(reportJson(results));
  else if (results.length > 0) {
    const styled = out.isTTY && process.env['NO_COLOR'] === undefined;
    out.write(reportText({ events, results, verify: settings.verify, swap, log, report: flags.report }, styled));
  }
  if (log?.failure !== undefined) complain(log.failure);
  return results.length < managers.length || log?.failure !== undefined;
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

async function load(path: string): Promise<TraceEvents> {
  const progress = createProgress('reading', 'bytes');
  try {
    const events = await loadTrace(inputPath(path), { onProgress: progress.report });
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
      results.push(run(manager, swap ? nextOf(managers, i) : undefined));
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_REPLAY')) throw error;
      complain(`${manager.name}: ${error.message}`);
    }
  });
  return results;
}

/** One manager of a run, by its name on the command line. */
export interface NamedManager {
  readonly name: string;
  readonly create: ManagerFactory;
}

/** How each manager is replayed. */
export interface ReplaySettings {
  readonly device: DeviceChoice;
  readonly capacityBytes: number | undefined;
  readonly verify: boolean;
  readonly log: LogSink | undefined;
}

/**
 * Makes the device and each manager once, so that what is bad about them shows before a run writes anything.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT, also for a bad setting in the environment
 */
export function checkSettings(managers: readonly NamedManager[], device: DeviceChoice, capacityBytes: number | undefined): void {
  const { deviceCount } = device.create(capacityBytes);
  for (const manager of managers) manager.create(deviceCount, new MemoryManagerDeviceInterface());
}

/**
 * Replays a trace under one manager, on a device and in a runtime of its own.
 *
 * @param next - the manager that takes over at half of the events, if one does
 * @throws as {@link replayTrace}; all memory has been given back
 */
export function replayUnder(
  events: TraceEvents,
  manager: NamedManager,
  next: NamedManager | undefined,
  settings: ReplaySettings,
): ReplayResult {
  const label = labelOf(manager, next);
  const runtime = new MemoryRuntime(settings.device.create(settings.capacityBytes));
  const progress = createProgress(label);
  try {
    const first = logged(manager.create, settings.log)(runtime.deviceCount, new MemoryManagerDeviceInterface());
    new MemoryManagerInstaller(first, runtime).setAsMemoryManager();
    return replayTrace(events, runtime, {
      label,
      verify: settings.verify,
      swaps: next === undefined ? [] : [{ atEvent: swapEvent(events), createManager: logged(next.create, settings.log) }],
      onProgress: progress.report,
    });
  } finally {
    progress.stop();
    runtime.close();
  }
}

/** The manager that takes over from the one at `place`, at half of a run: the next one, or the first after the last. */
export function nextOf(managers: readonly NamedManager[], place: number): NamedManager | undefined {
  return managers[(place + 1) % managers.length];
}

/** How many events come before a swap: half of them. */
export function swapEvent(events: TraceEvents): number {
  return Math.floor(events.length / 2);
}

/** What a run is called: its manager, and the one that takes over. */
export function labelOf(manager: NamedManager, next: NamedManager | undefined): string {
  return next === undefined ? manager.name : `${manager.name} -> ${next.name}`;
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

/** What a page of replays is made of. */
export interface ReplayPage {
  readonly managers: readonly NamedManager[];
  readonly settings: Pick<ReplaySettings, 'device' | 'capacityBytes'>;
  readonly swap: boolean;
  /** Of the runs that nobody watched: the page has their times. */
  readonly results: readonly ReplayResult[];
  readonly limitBytes: number | undefined;
}

/** Replays once more under each manager, watching, and makes the page; it shows the recorded run itself, too, where the trace has one. */
export function replayPage(events: TraceEvents, page: ReplayPage): string {
  const recorded = observeRecording(events);
  const replays = page.managers.map((manager, place) => observe(events, page, manager, place));
  const runs = recorded === undefined ? replays : [...replays, recorded];
  return renderPage(buildReport(events, runs, { settings: settingsOf(events, page) }));
}

function observe(events: TraceEvents, page: ReplayPage, manager: NamedManager, place: number): ObservedRun {
  const next = page.swap ? nextOf(page.managers, place) : undefined;
  const name = labelOf(manager, next);
  const progress = createProgress(`report: ${name}`);
  try {
    return observeRun(events, {
      name,
      device: page.settings.device.create(page.settings.capacityBytes),
      createManager: manager.create,
      swaps: next === undefined ? [] : [{ atEvent: swapEvent(events), createManager: next.create }],
      nsPerEvent: page.results.find((result) => result.manager === name)?.nsPerEvent,
      onProgress: progress.report,
    });
  } finally {
    progress.stop();
  }
}

function settingsOf(events: TraceEvents, { managers, settings, swap, limitBytes }: ReplayPage): Fact[] {
  const { capacityBytes, device } = settings;
  const probe = device.create(capacityBytes);
  return [
    { label: 'trace', value: events.file },
    { label: 'managers', value: managers.map(({ name }) => name).join(', ') },
    { label: 'device', value: probe.name },
    { label: 'capacity', value: formatBytes(probe.getMaxMemorySize(0)) },
    { label: 'limit of live bytes', value: limitBytes === undefined ? 'none' : formatBytes(limitBytes) },
    { label: 'swap', value: swap ? `before event ${swapEvent(events).toLocaleString('en-US')}` : 'none' },
    ...madeBy(),
  ];
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

/** What a run did, for people. */
export interface ReplayRun {
  readonly events: TraceEvents;
  readonly results: readonly ReplayResult[];
  readonly verify: boolean;
  readonly swap: boolean;
  readonly log: CallLogFile | undefined;
  /** The page that was written. */
  readonly report: string | undefined;
}

/** Writes the report for people. @param styled - true to set the headings in bold, for a terminal */
export function reportText(run: ReplayRun, styled: boolean): string {
  const { events, results } = run;
  const title =
    `${events.name} (${events.format}): ${count(events.length, 'event')}, ${count(events.allocations, 'allocation')}, ` +
    `${count(events.liveBlocks, 'block')} live at the end`;
  const [heading = '', ...rows] = layOut(COLUMNS, results.map(cells));
  const lines = [title, '', styled ? `${BOLD}${heading}${PLAIN}` : heading, ...rows, '', ...notes(run)];
  return `${lines.join('\n').trimEnd()}\n`;
}

/** Writes the report for programs: version 1 of the shape that docs describe. */
export function reportJson(results: readonly ReplayResult[]): string {
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
  return `${JSON.stringify({ version: 1, results: shaped }, null, 2)}\n`;
}

function cells(result: ReplayResult): string[] {
  return [
    result.manager,
    result.device,
    grouped(Math.round(result.eventsPerSecond)),
    grouped(result.nativeAllocs + result.nativeFrees),
    `${(result.hitRate * 100).toFixed(2)} %`,
    formatBytes(result.peakLiveBytes),
    formatBytes(result.peakReservedBytes),
    result.utilisation.toFixed(3),
  ];
}

function notes({ events, results, verify, swap, log, report }: ReplayRun): string[] {
  const lines: string[] = [];
  for (const result of results) {
    const who = results.length > 1 ? `${result.manager}: ` : '';
    if (verify) lines.push(`verified  ${who}the first and last byte of ${count(result.verifiedBlocks, 'block')}`);
    if (swap)
      lines.push(
        `swapped   ${who}before event ${grouped(swapEvent(events))}, with ${count(result.blocksAcrossSwaps, 'live block')}`,
      );
  }
  if (log !== undefined) lines.push(`call log  ${log.path} (${formatBytes(log.writtenBytes)})`);
  if (report !== undefined) lines.push(`report    ${report}`);
  return lines;
}
