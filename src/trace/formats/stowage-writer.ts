import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { StowageEncoder } from './stowage-encoder.js';
import { RECORD } from './stowage-format.js';
import { ALL_COLUMNS, ALL_KINDS, type ByteSink, EventWriter } from './trace-writer.js';

/** Writes this library's binary trace, which holds everything. */
export class StowageWriter extends EventWriter {
  override readonly format = 'stowage';
  override readonly kinds = ALL_KINDS;
  override readonly columns = ALL_COLUMNS;
  readonly #encoder: StowageEncoder;
  readonly #addresses = new BlockAddresses(true);

  constructor(sink: ByteSink, name: string) {
    super();
    this.#encoder = new StowageEncoder({ name }, (bytes) => sink.write(bytes));
  }

  protected override event(batch: EventBatch, i: number, kind: TraceKind): void {
    const { times, pointers, devices, streams, managers, tags, sites, spaces, strings } = batch;
    const bytes = batch.bytes[i]!;
    const encoder = this.#encoder;
    encoder.setTime(times?.[i] ?? 0);
    encoder.setName(RECORD.manager, strings.get(managers?.[i] ?? 0));
    encoder.setName(RECORD.space, strings.get(spaces?.[i] ?? 0));
    encoder.setDevice(devices?.[i] ?? 0);
    encoder.setStream(streams?.[i] ?? 0);
    if (kind === TraceKind.alloc) {
      encoder.setName(RECORD.tag, strings.get(tags?.[i] ?? 0));
      encoder.setName(RECORD.site, strings.get(sites?.[i] ?? 0));
      encoder.sized(kind, this.#addresses.take(batch, i), bytes);
    } else if (kind === TraceKind.free) encoder.free(this.#addresses.give(batch, i));
    else if (kind === TraceKind.outOfMemory) encoder.outOfMemory(bytes);
    else if (kind === TraceKind.swap || kind === TraceKind.cleanup) encoder.mark(kind);
    else encoder.sized(kind, pointers?.[i] ?? 0, bytes);
  }

  end(): void {
    this.#encoder.end();
  }
}
