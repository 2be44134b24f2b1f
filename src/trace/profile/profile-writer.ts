import type { ByteSink, ColumnName, TraceWriter } from '../formats/trace-writer.js';
import type { Frame } from '../site-frames.js';
import { type EventBatch, TraceKind } from '../trace-events.js';
import { SiteProfile } from './site-profile.js';

/** Writes what sites have allocated in one format, once all events have come. */
export abstract class ProfileWriter implements TraceWriter {
  readonly kinds: readonly TraceKind[] = [TraceKind.alloc, TraceKind.free];
  readonly columns: readonly ColumnName[] = ['sites'];
  protected readonly profile = new SiteProfile();

  /**
   * @param name - of the recorded program
   * @param framesOf - which frames of a site are written: those of the program, or all
   */
  constructor(
    readonly sink: ByteSink,
    readonly name: string,
    protected readonly framesOf: (site: string) => Frame[],
  ) {}

  write(batch: EventBatch): void {
    this.profile.add(batch);
  }

  end(): void {
    this.sink.write(this.encode());
  }

  /** The whole file. */
  protected abstract encode(): string | Uint8Array;
}
