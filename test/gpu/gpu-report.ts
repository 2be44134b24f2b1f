import { readFileSync, writeFileSync } from 'node:fs';
import { MemoryError } from '../../src/core/errors.js';
import { formatBytes } from '../../src/core/units.js';
import type { AllocationRow } from './allocation-table.js';
import type { BandwidthRow } from './bandwidth-table.js';
import type { ExampleResult } from './examples-run.js';
import type { FillRow } from './fill-table.js';

/** Everything that a run found out. */
export interface GpuReport {
  /** The card, the versions, the machine, the date. */
  readonly facts: readonly string[];
  readonly conformance: string;
  /** Which PyTorch was measured, or why none was; of CUDA alone. */
  readonly peer?: string | undefined;
  /** Of CUDA; HIP has none. */
  readonly examples: readonly ExampleResult[];
  readonly events: number;
  readonly rounds: number;
  readonly allocations: readonly AllocationRow[];
  readonly fills: readonly FillRow[];
  readonly bandwidths: readonly BandwidthRow[];
}

/** Between these two lines a document holds what a run on a card wrote. */
const BEGIN = '<!-- gpu: begin -->';
const END = '<!-- gpu: end -->';

/** Finds the marks. @throws ERR_MEM_BAD_INPUT when the document is not there or lacks one */
export function checkMarks(path: string): void {
  partsOf(path);
}

/** Puts a report between the marks of a document. @throws as {@link checkMarks} */
export function writeReport(path: string, report: GpuReport): void {
  const [before, after] = partsOf(path);
  writeFileSync(path, `${before}${BEGIN}\n\n${markdown(report)}\n\n${END}${after}`);
}

/** The report as Markdown. */
export function markdown({
  facts,
  conformance,
  peer,
  examples,
  events,
  rounds,
  allocations,
  fills,
  bandwidths,
}: GpuReport): string {
  return [
    facts.map((fact) => `- ${fact}`).join('\n'),
    conformance,
    ...(examples.length === 0 ? [] : [examples.map(({ name, text }) => `- \`${name}\`: ${text}`).join('\n')]),
    ...(peer === undefined ? [] : [peer]),
    '### Allocating and freeing',
    `Microseconds an event (an allocation or a free) over the first ${events.toLocaleString('en-US')} events of each trace: the median of ${rounds} replays, and in brackets the first one, on a new allocator. A replay ends when what it left live is freed and the card is idle.`,
    table(
      'allocator',
      allocations,
      ({ allocator }) => allocator,
      ({ trace }) => trace,
      ({ laterUsPerEvent, firstUsPerEvent }) => `${laterUsPerEvent.toFixed(2)} (${firstUsPerEvent.toFixed(2)})`,
    ),
    '### Filling the card',
    'Milliseconds until a new manager has filled what is free with blocks of one size and one more is refused; in brackets those blocks again, once all were freed.',
    table(
      'manager',
      fills,
      ({ manager }) => manager,
      ({ blockBytes }) => `blocks of ${formatBytes(blockBytes)}`,
      ({ blocks, ms, againMs }) => `${ms.toFixed(1)} (${againMs.toFixed(1)}) for ${blocks}`,
    ),
    '### Copying',
    `GiB/s of one copy after the other, the median of ${rounds} rounds; "pinned" is \`pinnedAlloc\`: pages of our own, registered.`,
    table(
      'host memory',
      bandwidths,
      ({ memory, direction }) => `${memory}, ${direction}`,
      ({ bytes }) => formatBytes(bytes),
      ({ gibPerSecond }) => gibPerSecond.toFixed(2),
    ),
  ].join('\n\n');
}

function table<R>(
  corner: string,
  rows: readonly R[],
  head: (row: R) => string,
  column: (row: R) => string,
  cell: (row: R) => string,
): string {
  const columns = [...new Set(rows.map(column))];
  const lines = [...new Set(rows.map(head))].map((name) => {
    const own = rows.filter((row) => head(row) === name);
    return [name, ...columns.map((each) => own.filter((row) => column(row) === each).map(cell)[0] ?? '-')];
  });
  return [[corner, ...columns], [corner, ...columns].map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function partsOf(path: string): [string, string] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason: 'it cannot be read' }, error);
  }
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin >= 0 && end > begin) return [text.slice(0, begin), text.slice(end + END.length)];
  throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason: `it lacks the lines '${BEGIN}' and '${END}'` });
}
