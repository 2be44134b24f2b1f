import { type EventBatch, type OptionalColumns, TraceKind } from '../trace-events.js';

/**
 * Where a writer's output goes, in order. A chunk is overwritten when the call returns, so the sink writes or copies it
 * before that; what it returns is not looked at. A sink that copies for a slow reader grows without bound: `FileLogSink` waits
 * instead.
 */
export interface ByteSink {
  write(chunk: string | Uint8Array): unknown;
}

/** Makes a writer. @param name - of the recorded program */
export type TraceWriterFactory = (sink: ByteSink, name: string) => TraceWriter;

/** The columns that a format may lack. */
export type ColumnName = keyof OptionalColumns;

/** Writes events in one format, as they come. */
export interface TraceWriter {
  /** The kinds of events that the format holds. */
  readonly kinds: readonly TraceKind[];
  /** The optional columns that it holds. */
  readonly columns: readonly ColumnName[];
  /** Events of kinds that the format holds, but that could not be written; by what they are. */
  readonly dropped?: ReadonlyMap<string, number>;
  write(batch: EventBatch): void;
  /** Writes what comes last. */
  end(): void;
}

const KINDS: readonly TraceKind[] = Object.values(TraceKind);
export const ALL_COLUMNS: readonly ColumnName[] = [
  'times',
  'pointers',
  'devices',
  'streams',
  'managers',
  'pools',
  'steps',
  'tags',
  'sites',
  'spaces',
];

/** How a format writes event `i` of a batch, by the kind of the event; a kind that the format lacks is left out. */
export type EventRows<T> = { readonly [K in TraceKind]?: (batch: EventBatch, i: number) => T };

/** A writer that takes its events one by one. */
export abstract class EventWriter<T = void> implements TraceWriter {
  abstract readonly columns: readonly ColumnName[];
  readonly dropped = new Map<string, number>();
  protected abstract readonly rows: EventRows<T>;

  abstract end(): void;

  get kinds(): readonly TraceKind[] {
    return KINDS.filter((kind) => this.rows[kind] !== undefined);
  }

  write(batch: EventBatch): void {
    for (let i = 0; i < batch.length; i++) this.event(batch, i, batch.kinds[i] as TraceKind);
  }

  /** Writes event `i` of a batch. */
  protected event(batch: EventBatch, i: number, kind: TraceKind): T | undefined {
    return this.rows[kind]?.(batch, i);
  }

  /** Counts an event that could not be written. @returns no text */
  protected drop(what: string): '' {
    this.dropped.set(what, (this.dropped.get(what) ?? 0) + 1);
    return '';
  }
}

const CHUNK_CHARACTERS = 64 * 1024;

/** A writer whose rows are texts. It joins many short texts into few long ones. */
export abstract class TextWriter extends EventWriter<string> {
  #text = '';

  constructor(readonly sink: ByteSink) {
    super();
  }

  override end(): void {
    this.#flush();
  }

  protected override event(batch: EventBatch, i: number, kind: TraceKind): undefined {
    this.add(super.event(batch, i, kind) ?? '');
  }

  protected add(text: string): void {
    this.#text += text;
    if (this.#text.length >= CHUNK_CHARACTERS) this.#flush();
  }

  #flush(): void {
    if (this.#text !== '') this.sink.write(this.#text);
    this.#text = '';
  }
}
