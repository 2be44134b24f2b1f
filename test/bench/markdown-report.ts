import { formatBytes } from '../../src/core/units.js';
import { AHEAD_HEADINGS, aheadCells } from './ahead.js';
import { CALL_SIZES, HANDLE, MALLOC, VIEWED, VIEWED_HANDLE } from './calls.js';
import { PEER_A, POOL } from './contestants.js';
import type { Extras } from './extras.js';
import type { HostFigures } from './hosts.js';
import { machineText } from './machine.js';
import { writeBetweenMarks } from './marked-document.js';
import type { MissingPeer } from './native-peers.js';
import { ROW_BYTES } from './random-reads.js';
import type { BenchRow, Measured } from './rows.js';
import { geomean } from './statistics.js';
import {
  CALL_HEADINGS,
  callCells,
  fixed,
  GROWTH_HEADINGS,
  growthCells,
  growthFailures,
  loggingCells,
  NO_VALUE,
  overLive,
} from './text-report.js';
import type { PreparedTrace } from './trace-folder.js';

/** Everything that a run measured. */
export interface BenchReport {
  readonly traces: readonly PreparedTrace[];
  readonly measured: readonly Measured[];
  readonly extras: Extras;
  readonly missing: readonly MissingPeer[];
  readonly rounds: number;
}

/** Puts the tables of a run between the marks of a document. @throws as `checkMarks` */
export function writeMarkdown(path: string, report: BenchReport): void {
  writeBetweenMarks(path, markdown(report));
}

function markdown(report: BenchReport): string {
  const { traces, measured, missing, rounds } = report;
  const notes = measured.flatMap(({ row, notes: own }) => own.map((note) => `- ${row.allocator} on ${row.trace}: ${note}`));
  return [
    ...summary(report),
    `Measured on ${machineText()}, median of ${rounds} rounds.`,
    ...missing.map(({ name, reason }) => `Missing: ${name}: ${reason}.`),
    ...callsPart(report.extras),
    '### Time',
    'Nanoseconds an event (an allocation or a free), and in brackets the quotient with peer (a) in the same round.',
    tableBy(
      report,
      ({ row }) => (row.nsPerEvent === null ? NO_VALUE : `${fixed(row.nsPerEvent, 1)} (${fixed(row.nsRatioToPeerA, 2)})`),
      {
        heading: 'geomean',
        cell: (rows) => fixed(geomeanOf(rows), 2),
      },
    ),
    ...(notes.length === 0 ? [] : [notes.join('\n')]),
    '### Memory',
    `Utilisation: peak live bytes over peak reserved bytes of a first replay; in brackets after further replays in the same manager, where that differs. Peak live: ${traces.map((t) => `${t.name} ${formatBytes(t.peakLiveBytes)}`).join(', ')}.`,
    tableBy(report, utilisationCell),
    '### Native calls',
    'On a first replay, commits and decommits included.',
    tableBy(report, ({ row }) => row.nativeCalls?.toLocaleString('en-US') ?? NO_VALUE),
    '### Smallest device',
    'The smallest capacity on which the trace completes, over its peak of live bytes; found to 0.5 % or 64 KiB.',
    tableBy(report, ({ row }) => overLive(row.minCapacityBytes, row.peakLiveBytes)),
    ...extrasParts(report.extras),
    '### Where a peer is ahead',
    table(AHEAD_HEADINGS, aheadCells(measured)),
  ].join('\n\n');
}

/** What a user wants to know first. */
function summary({ measured, extras, traces }: BenchReport): string[] {
  const size = 1;
  const call = (name: string) => extras.calls.find((row) => row.call === name);
  const [handle, viewed] = [call(HANDLE), call(VIEWED_HANDLE)];
  const lines: string[] = [];
  if (handle !== undefined && viewed !== undefined) {
    lines.push(
      `A handle of ${formatBytes(CALL_SIZES[size]!)}, \`runtime.allocate(bytes).dispose()\`, takes **${fixed(handle.ns[size]!, 0)} ns**: ${fixed(handle.ratios[size]!, 2)} times ${MALLOC}. With a view and a write ${fixed(viewed.ratios[size]!, 2)} times ${VIEWED}.`,
    );
  }
  const pool = measured.filter(({ row }) => row.allocator === POOL).map(({ row }) => row);
  if (pool.length === traces.length && pool.length > 0) {
    const [ns, ratio] = [geomean(pool.map(({ nsPerEvent }) => nsPerEvent ?? Number.NaN)), geomeanOf(pool)];
    lines.push(
      `An allocation or a free in traces of real programs takes **${fixed(ns, 0)} ns** under a pool, ${fixed(ratio, 2)} times a caching allocator in C++ (peer a).`,
      `**${fixed(Math.min(...pool.map(({ utilisation }) => utilisation ?? Number.NaN)) * 100, 0)} %** and more of what the pool reserves at its peak is live; of what caching allocators reserve, ${fixed(Math.min(...utilisationsOf(PEER_A, measured)) * 100, 0)} % and more.`,
    );
  }
  return lines.length === 0 ? [] : [lines.map((line) => `- ${line}`).join('\n')];
}

function utilisationsOf(allocator: string, measured: readonly Measured[]): number[] {
  return measured.flatMap(({ row }) => (row.allocator === allocator && row.utilisation !== null ? [row.utilisation] : []));
}

function callsPart({ calls }: Extras): string[] {
  if (calls.length === 0) return [];
  return [
    '### What a user calls',
    'Nanoseconds of processor time to get a block of CPU memory and to give it back, under the default manager; in brackets the quotient with the call named last. Each call is a process of its own, with the time of its collector. The processes take turns, and three follow each other: the figures are medians over the rounds, the quotients of those in the same round.',
    table(CALL_HEADINGS, calls.map(callCells)),
  ];
}

/** What callbacks cost, and engines under a manager, as parts of a document. */
export function hostTables({ callbacks, engines, missing }: HostFigures): string[] {
  const empty = callbacks[0]?.ns ?? Number.NaN;
  const costs = callbacks.map(({ call, ns }) => [call, fixed(ns, 0), fixed(ns / empty, 2)]);
  const rows = engines.map(({ engine, ownMs, oursMs, allocations }) => [
    engine,
    fixed(ownMs, 2),
    fixed(oursMs, 2),
    fixed(oursMs / ownMs, 2),
    allocations.toLocaleString('en-US'),
  ]);
  return [
    ...(costs.length === 0 ? [] : [table(['C calls', 'ns a call', 'ratio'], costs)]),
    table(['engine and work', 'its own allocator, ms', 'CachingMemoryManager, ms', 'ratio', 'allocations'], rows),
    ...missing.map((what) => `Missing: ${what}.`),
  ];
}

function extrasParts({ logging, recording, hosts, growth }: Extras): string[] {
  const parts: string[] = [];
  if (logging.length > 0) {
    parts.push(
      '### Logging on',
      'Against a sink that does nothing: more than with logging off, a call. A sink of bytes has `writeBytes`. One of text gets strings, and these are the garbage: they are as long as the log.',
      table(['manager', 'trace', 'sink of', 'ns', 'garbage, B'], logging.map(loggingCells)),
    );
  }
  if (recording.length > 0) {
    const rows = recording.map((row) => [row.manager, row.trace, row.nsPerEvent.toFixed(1), row.bytesPerEvent.toFixed(2)]);
    parts.push(
      '### Recording',
      'Into a file, the writes included: more than without a recorder, an event.',
      table(['manager', 'trace', 'ns', 'file, B'], rows),
    );
  }
  if (hosts !== undefined) {
    parts.push(
      '### Engines under a manager',
      'What a call takes that C makes in a loop, and what an engine takes for its work with its own allocator and with ours: the least of all rounds, by turns, in processor time.',
      ...hostTables(hosts),
    );
  }
  if (growth.length > 0) {
    const failures = growthFailures(growth).map((failure) => `- ${failure}`);
    parts.push(
      '### Growth',
      `Nanoseconds a pair of alloc and free while that many blocks are live, a tenth of which is freed and allocated again. Last, what a random read costs on this machine: of one of as many rows of ${ROW_BYTES} B, each of which tells where the next one lies.`,
      table(GROWTH_HEADINGS, growth.map(growthCells)),
      ...(failures.length === 0 ? [] : [failures.join('\n')]),
    );
  }
  return parts;
}

function utilisationCell({ row, laterPeakReservedBytes: later }: Measured): string {
  const first = fixed(row.utilisation, 3);
  if (later === null || later === row.peakReservedBytes) return first;
  const laterText = fixed(row.peakLiveBytes / later, 3);
  return laterText === first ? first : `${first} (${laterText})`;
}

/** A table with a row an allocator and a column a trace. */
function tableBy(
  { traces, measured }: BenchReport,
  cell: (measured: Measured) => string,
  last?: { readonly heading: string; readonly cell: (rows: readonly BenchRow[]) => string },
): string {
  const rows = allocatorsOf(measured).map((allocator) => {
    const own = measured.filter(({ row }) => row.allocator === allocator);
    const cells = traces.map(({ name }) => {
      const found = own.find(({ row }) => row.trace === name);
      return found === undefined ? NO_VALUE : cell(found);
    });
    return [allocator, ...cells, ...(last === undefined ? [] : [last.cell(own.map(({ row }) => row))])];
  });
  // A peer that knows nothing of a quantity has no row there.
  const known = rows.filter(([, ...cells]) => cells.some((text) => text !== NO_VALUE));
  return table(['allocator', ...traces.map(({ name }) => name), ...(last === undefined ? [] : [last.heading])], known);
}

function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(headings), line(headings.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

function allocatorsOf(measured: readonly Measured[]): string[] {
  return [...new Set(measured.map(({ row }) => row.allocator))];
}

function geomeanOf(rows: readonly BenchRow[]): number | null {
  const ratios = rows.flatMap(({ nsRatioToPeerA }) => (nsRatioToPeerA === null ? [] : [nsRatioToPeerA]));
  return ratios.length === 0 ? null : geomean(ratios);
}
