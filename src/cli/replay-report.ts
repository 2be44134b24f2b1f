import { formatBytes } from '../core/units.js';
import type { ReplayResult } from '../trace/replay.js';
import type { TraceEvents } from '../trace/trace-events.js';
import type { CallLogFile } from './call-log-file.js';
import { count, grouped } from './counts.js';
import { swapEvent } from './replay-run.js';
import { type Column, layOut } from './table.js';

const BOLD = '\u001b[1m';
const PLAIN = '\u001b[22m';
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

function notes({ events, results, verify, swap, log }: ReplayRun): string[] {
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
  return lines;
}
