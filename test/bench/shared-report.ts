import { formatBytes } from '../../src/core/units.js';
import type { HandoverRow } from './shared-handover.js';
import type { ThroughputRow } from './shared-throughput.js';

/** What a run measured. */
export interface SharedReport {
  readonly throughput: readonly ThroughputRow[];
  readonly handover: readonly HandoverRow[];
  readonly handoverBytes: number;
  readonly rounds: number;
  readonly machine: string;
}

/** Writes the report as Markdown. */
export function sharedMarkdown({ throughput, handover, handoverBytes, rounds, machine }: SharedReport): string {
  const counts = [...new Set(throughput.map(({ processes }) => processes))];
  const heaps = [...new Set(throughput.map(({ heap }) => heap))];
  const rateOf = (heap: string, processes: number) =>
    throughput.find((row) => row.heap === heap && row.processes === processes)?.operationsPerSecond ?? 0;
  return [
    `Measured on ${machine}, median of ${rounds} rounds.`,
    'Million operations (an allocation of 16 B to 8 KiB, or a free) a second, of all processes together:',
    table(
      ['', ...counts.map((count) => (count === 1 ? '1 process' : `${count} processes`))],
      heaps.map((heap) => [heap, ...counts.map((count) => (rateOf(heap, count) / 1e6).toFixed(2))]),
    ),
    `${formatBytes(handoverBytes)} handed to a worker, until it has read the first and the last byte and answered:`,
    table(
      ['way', 'ms'],
      handover.map(({ way, ms }) => [way, ms.toFixed(2)]),
    ),
  ].join('\n\n');
}

function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(headings), line(headings.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}
