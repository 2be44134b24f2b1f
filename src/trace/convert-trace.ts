import { counted } from '../core/counted.js';
import {
  ALL_COLUMNS,
  type ByteSink,
  type ColumnName,
  type TraceWriter,
  type TraceWriterFactory,
} from './formats/trace-writer.js';
import type { TraceKind, TraceTotals } from './trace-events.js';
import { TraceStream } from './trace-reader.js';
import type { ReadOptions } from './trace-source.js';

const NAMES_OF_KINDS = [
  'allocation',
  'free',
  'native allocation',
  'native free',
  'swap',
  'cleanup',
  'refusal',
  'completion of a free',
];
const NAMES_OF_COLUMNS: { readonly [C in ColumnName]: string } = {
  times: 'times',
  pointers: 'addresses',
  devices: 'devices',
  streams: 'streams',
  managers: "managers' names",
  pools: 'private pools',
  steps: 'steps',
  tags: 'tags',
  sites: 'allocation sites',
  spaces: 'spaces',
};

/** The result of a conversion. */
export interface Conversion extends Pick<TraceStream, 'origin' | 'totals'> {
  /** The parts of the trace that the new format cannot hold, for people: `12 swaps`, `tags`. */
  readonly lost: readonly string[];
}

/**
 * Converts a trace of any format into another one, batch by batch. Memory: that of the reader and of the writer.
 *
 * @throws ERR_MEM_BAD_INPUT with file, place and reason
 */
export async function convertTrace(
  path: string,
  sink: ByteSink,
  createWriter: TraceWriterFactory,
  options: ReadOptions = {},
): Promise<Conversion> {
  const stream = new TraceStream(path, options);
  const columns = new Set<ColumnName>();
  let writer: TraceWriter | undefined;
  const theWriter = () => (writer ??= createWriter(sink, stream.origin.name));
  for await (const batch of stream) {
    theWriter().write(batch);
    for (const column of ALL_COLUMNS) if (batch[column] !== undefined) columns.add(column);
  }
  theWriter().end();
  const { origin, totals } = stream;
  return { origin, totals, lost: lossOf(theWriter(), totals, columns) };
}

function lossOf(writer: TraceWriter, totals: TraceTotals, columns: ReadonlySet<ColumnName>): string[] {
  const kinds = totals.counts.flatMap((count, kind) =>
    count > 0 && !writer.kinds.includes(kind as TraceKind) ? [counted(count, NAMES_OF_KINDS[kind]!)] : [],
  );
  const dropped = Array.from(writer.dropped ?? [], ([what, count]) => counted(count, what));
  const missing = ALL_COLUMNS.filter((column) => columns.has(column) && !writer.columns.includes(column));
  return [...kinds, ...dropped, ...missing.map((column) => NAMES_OF_COLUMNS[column])];
}
