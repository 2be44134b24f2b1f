import { type EventBatch, type EventColumns, type TraceFormat, TraceKind } from '../trace-events.js';

/**
 * Where a writer's output goes, in order. A chunk is overwritten when the call returns, so that the sink writes or copies it
 * before; what it answers is not looked at. A sink that copies for a slow reader grows without bound: `FileLogSink` waits instead.
 */
export interface ByteSink {
  write(chunk: string | Uint8Array): unknown;
}

/** The columns that a format may lack. */
export type ColumnName = keyof Pick<
  EventColumns,
  'times' | 'pointers' | 'devices' | 'streams' | 'managers' | 'tags' | 'sites' | 'spaces'
>;

/** Writes events in one format, as they come. */
export interface TraceWriter {
  readonly format: TraceFormat;
  /** The kinds of events that the format holds. */
  readonly kinds: readonly TraceKind[];
  /** The optional columns that it holds. */
  readonly columns: readonly ColumnName[];
  /** Events of kinds that it holds, but that it could not write; by what they are. */
  readonly dropped?: ReadonlyMap<string, number>;
  write(batch: EventBatch): void;
  /** Writes what comes last. */
  end(): void;
}

export const ALL_KINDS: readonly TraceKind[] = Object.values(TraceKind);
export const ALL_COLUMNS: readonly ColumnName[] = [
  'times',
  'pointers',
  'devices',
  'streams',
  'managers',
  'tags',
  'sites',
  'spaces',
];
