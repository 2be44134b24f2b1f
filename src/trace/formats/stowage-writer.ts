import { type EventBatch, TraceKind } from '../trace-events.js';
import { BlockAddresses } from './block-addresses.js';
import { StowageEncoder } from './stowage-encoder.js';
import { ALL_COLUMNS, ALL_KINDS, type ByteSink, type TraceWriter } from './trace-writer.js';

/** Writes this library's binary trace, which holds everything. */
export class StowageWriter implements TraceWriter {
  readonly format = 'stowage';
  readonly kinds = ALL_KINDS;
  readonly columns = ALL_COLUMNS;
  readonly #encoder: StowageEncoder;
  readonly #addresses = new BlockAddresses(true);

  constructor(sink: ByteSink, name: string) {
    this.#encoder = new StowageEncoder({ name }, (bytes) => sink.write(bytes));
  }

  write(batch: EventBatch): void {
    const { kinds, bytes, times, pointers, devices, streams, managers, tags, sites, spaces, strings, length } = batch;
    const encoder = this.#encoder;
    for (let i = 0; i < length; i++) {
      encoder.setTime(times?.[i] ?? 0);
      encoder.setManager(strings.get(managers?.[i] ?? 0));
      encoder.setSpace(strings.get(spaces?.[i] ?? 0));
      encoder.setDevice(devices?.[i] ?? 0);
      encoder.setStream(streams?.[i] ?? 0);
      const kind = kinds[i] as TraceKind;
      switch (kind) {
        case TraceKind.alloc:
          encoder.setTag(strings.get(tags?.[i] ?? 0));
          encoder.setSite(strings.get(sites?.[i] ?? 0));
          encoder.sized(kind, this.#addresses.take(batch, i), bytes[i]!);
          break;
        case TraceKind.free:
          encoder.free(this.#addresses.give(batch, i));
          break;
        case TraceKind.outOfMemory:
          encoder.outOfMemory(bytes[i]!);
          break;
        case TraceKind.nativeAlloc:
        case TraceKind.nativeFree:
          encoder.sized(kind, pointers?.[i] ?? 0, bytes[i]!);
          break;
        default:
          encoder.mark(kind);
      }
    }
  }

  end(): void {
    this.#encoder.end();
  }
}
