import { type Column, layOut } from '../../src/cli/text.js';
import { formatBytes } from '../../src/core/units.js';
import { CALL_SIZES, type CallRow } from './calls.js';
import type { Extras, LoggingRow } from './extras.js';
import { type GrowthRow, LIVE_BLOCKS } from './growth.js';
import type { MissingPeer } from './native-peers.js';
import type { Measured } from './rows.js';
import type { PreparedTrace } from './trace-folder.js';

const COLUMNS: readonly Column[] = [
  { heading: 'allocator', align: 'left' },
  ...['ns/event', 'x peer (a)', 'native calls', 'peak reserved', 'utilisation', 'later', 'smallest capacity', 'over live'].map(
    (heading) => ({ heading, align: 'right' as const }),
  ),
];
const LOGGING_COLUMNS: readonly Column[] = [
  { heading: 'manager', align: 'left' },
  { heading: 'trace', align: 'left' },
  { heading: 'sink of', align: 'left' },
  { heading: 'ns a call', align: 'right' },
  { heading: 'garbage, B a call', align: 'right' },
];
const RECORDING_COLUMNS: readonly Column[] = [
  { heading: 'manager', align: 'left' },
  { heading: 'trace', align: 'left' },
  { heading: 'ns an event', align: 'right' },
  { heading: 'file, B an event', align: 'right' },
];
/** What stands above the cells of {@link growthCells}. */
export const GROWTH_HEADINGS: readonly string[] = [
  'allocator',
  'program',
  ...LIVE_BLOCKS.map((count) => `${count.toLocaleString('en-US')} live`),
  'times, per factor 100',
];
const GROWTH_COLUMNS = GROWTH_HEADINGS.map<Column>((heading, i) => ({ heading, align: i < 2 ? 'left' : 'right' }));

/** A row of what logging costs: manager, trace, kind of sink, nanoseconds and bytes of garbage a call. */
export function loggingCells(row: LoggingRow): string[] {
  return [row.manager, row.trace, row.sink, row.nsPerCall.toFixed(1), row.garbageBytesPerCall.toFixed(2)];
}

/** What stands above the cells of {@link callCells}. */
export const CALL_HEADINGS: readonly string[] = ['call', ...CALL_SIZES.map((bytes) => formatBytes(bytes)), 'over'];
const CALL_COLUMNS = CALL_HEADINGS.map<Column>((heading, i) => ({
  heading,
  align: i === 0 || i === CALL_HEADINGS.length - 1 ? 'left' : 'right',
}));

/** A row of what a user's call costs: nanoseconds by size, and in brackets the quotient with the call that it is compared with. */
export function callCells({ call, comparedWith, ns, ratios }: CallRow): string[] {
  const isItself = call === comparedWith;
  const cells = ns.map((value, i) =>
    isItself ? fixed(value, 0) : `${fixed(value, 0)} (${fixed(ratios[i]!, ratios[i]! < 0.1 ? 4 : 2)})`,
  );
  return [call, ...cells, isItself ? '' : comparedWith];
}

/** A row of growth: allocator, program, nanoseconds by live blocks, and how many times as much it is with a hundred times as many. */
export function growthCells({ allocator, program, ns }: GrowthRow): string[] {
  const cells = ns.map((value) => fixed(value, value !== null && value < 10 ? 1 : 0));
  const times = ns.slice(2).map((value, i) => {
    const before = ns[i] ?? null;
    return fixed(value === null || before === null ? null : value / before, 1);
  });
  return [allocator, program, ...cells, times.join(', ')];
}

/** Which figures of growth are not there, and why. */
export function growthFailures(growth: readonly GrowthRow[]): string[] {
  return growth.flatMap(({ allocator, program, failures }) => failures.map((why) => `${allocator}, ${program}, ${why}`));
}

/** What stands in a cell that has no value. */
export const NO_VALUE = '-';

/** One trace's table, with what was out of the ordinary below it. */
export function traceText(trace: PreparedTrace, measured: readonly Measured[]): string {
  const events = trace.length.toLocaleString('en-US');
  const head = `${trace.name}: ${events} events, peak live ${formatBytes(trace.peakLiveBytes)}`;
  const notes = measured.flatMap(({ row, notes: own }) => own.map((note) => `  ${row.allocator}: ${note}`));
  return [head, ...layOut(COLUMNS, measured.map(cells)), ...notes, ''].join('\n');
}

/** Which peers are not here, and why; empty when all are. */
export function missingText(missing: readonly MissingPeer[]): string {
  return missing.map(({ name, reason }) => `missing: ${name}: ${reason}\n`).join('');
}

/** The tables of what was measured beside the traces. */
export function extrasText({ logging, recording, calls, growth }: Extras): string {
  const lines: string[] = [];
  if (logging.length > 0) {
    const rows = logging.map(loggingCells);
    lines.push('logging on, against a sink that does nothing: more than with logging off', ...layOut(LOGGING_COLUMNS, rows), '');
  }
  if (recording.length > 0) {
    const rows = recording.map((row) => [row.manager, row.trace, row.nsPerEvent.toFixed(1), row.bytesPerEvent.toFixed(2)]);
    lines.push('recording into a file: more than without', ...layOut(RECORDING_COLUMNS, rows), '');
  }
  if (calls.length > 0) lines.push('what a user calls: ns a block', ...layOut(CALL_COLUMNS, calls.map(callCells)), '');
  if (growth.length > 0) {
    const notes = growthFailures(growth).map((failure) => `  ${failure}`);
    lines.push(
      'growth: ns per pair of alloc and free, or per random read',
      ...layOut(GROWTH_COLUMNS, growth.map(growthCells)),
      ...notes,
      '',
    );
  }
  return lines.join('\n');
}

/** A number with that many digits behind the point, or {@link NO_VALUE}. */
export function fixed(value: number | null, digits: number): string {
  return value === null ? NO_VALUE : value.toFixed(digits);
}

/** How much more than the peak of live bytes a capacity is. */
export function overLive(capacityBytes: number | null, peakLiveBytes: number): string {
  if (capacityBytes === null || peakLiveBytes === 0) return NO_VALUE;
  return `+${((capacityBytes / peakLiveBytes - 1) * 100).toFixed(1)} %`;
}

function cells({ row, laterPeakReservedBytes }: Measured): string[] {
  const later = laterPeakReservedBytes === null ? null : row.peakLiveBytes / laterPeakReservedBytes;
  return [
    row.allocator,
    fixed(row.nsPerEvent, 1),
    fixed(row.nsRatioToPeerA, 2),
    row.nativeCalls === null ? NO_VALUE : row.nativeCalls.toLocaleString('en-US'),
    row.peakReservedBytes === null ? NO_VALUE : formatBytes(row.peakReservedBytes),
    fixed(row.utilisation, 3),
    fixed(later, 3),
    row.minCapacityBytes === null ? NO_VALUE : formatBytes(row.minCapacityBytes),
    overLive(row.minCapacityBytes, row.peakLiveBytes),
  ];
}
