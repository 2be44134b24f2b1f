import { type EventBatch, type OptionalColumns, type TraceFormat, TraceKind } from '../trace-events.js';

/**
 * Where a writer's output goes, in order. A chunk is overwritten when the call returns, so that the sink writes or copies it
 * before; what it answers is not looked at. A sink that copies for a slow reader grows without bound: `FileLogSink` waits instead.
 */
export interface ByteSink {
  write(chunk: string | Uint8Array): unknown;
}

/** The columns that a format may lack. */
export type ColumnName = keyof OptionalColumns;

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

/** A writer that takes its events one by one. */
export abstract class EventWriter implements TraceWriter {
  abstract readonly format: TraceFormat;
  abstract readonly kinds: readonly TraceKind[];
  abstract readonly columns: readonly ColumnName[];
  readonly dropped = new Map<string, number>();

  abstract end(): void;
  /** Writes event `i` of a batch; one of a kind that the format lacks is passed over. */
  protected abstract event(batch: EventBatch, i: number, kind: TraceKind): void;

  write(batch: EventBatch): void {
    for (let i = 0; i < batch.length; i++) this.event(batch, i, batch.kinds[i] as TraceKind);
  }

  /** Counts an event that could not be written. @returns no text */
  protected drop(what: string): '' {
    this.dropped.set(what, (this.dropped.get(what) ?? 0) + 1);
    return '';
  }
}

const CHUNK_CHARACTERS = 64 * 1024;

/** A writer of text: it joins many short texts into few long ones. */
export abstract class TextWriter extends EventWriter {
  readonly #sink: ByteSink;
  #text = '';

  constructor(sink: ByteSink) {
    super();
    this.#sink = sink;
  }

  /** The text of event `i` of a batch; '' for one of a kind that the format lacks. */
  protected abstract textOf(batch: EventBatch, i: number, kind: TraceKind): string;

  end(): void {
    this.#flush();
  }

  protected override event(batch: EventBatch, i: number, kind: TraceKind): void {
    this.add(this.textOf(batch, i, kind));
  }

  protected add(text: string): void {
    this.#text += text;
    if (this.#text.length >= CHUNK_CHARACTERS) this.#flush();
  }

  #flush(): void {
    if (this.#text !== '') this.#sink.write(this.#text);
    this.#text = '';
  }
}
