import { processState } from '../../core/process-state.js';
import { StowageEncoder } from '../formats/stowage-encoder.js';
import { RECORD, type StowageHeader } from '../formats/stowage-format.js';
import { NS_PER_MS, TraceKind } from '../trace-events.js';
import type { RareEvent } from './rare-ring.js';
import type { SiteSample } from './site-samples.js';
import type { SlotFlight } from './slot-flight.js';

/** How far the made-up addresses of blocks without one lie apart. */
const APART = 2 ** 20;

/** Whether events reserve native memory or give it back. */
const SIGNS: ReadonlyMap<TraceKind, number> = new Map([
  [TraceKind.nativeAlloc, 1],
  [TraceKind.nativeFree, -1],
]);

/** Writes what the rings of some slots hold as a recording. @param out - receives the file's bytes, which are overwritten after it returns */
export function writeFlight(flights: readonly SlotFlight[], header: StowageHeader, out: (bytes: Uint8Array) => void): void {
  const encoder = new StowageEncoder(header, out);
  const cursors = flights.map((flight) => new FlightCursor(flight, encoder));
  const startMs = Math.min(...cursors.map(({ ms }) => ms));
  for (const cursor of cursors) cursor.writeBase();
  for (;;) {
    const next = cursors.reduce<FlightCursor | undefined>(
      (one, other) => (other.ms < (one?.ms ?? Number.POSITIVE_INFINITY) ? other : one),
      undefined,
    );
    if (next === undefined) break;
    encoder.setNumber(RECORD.clock, Math.max(0, Math.round((next.ms - startMs) * NS_PER_MS)));
    next.writeNext();
  }
  encoder.end();
}

/** Goes through the events of one slot in their order. */
class FlightCursor {
  /** When the next event was, as `performance.now` counts; infinite at the end. */
  ms = 0;
  readonly #flight: SlotFlight;
  readonly #encoder: StowageEncoder;
  readonly #first: number;
  readonly #end: number;
  readonly #kept: Uint8Array;
  readonly #rare: readonly RareEvent[];
  readonly #samples: ReadonlyMap<number, SiteSample>;
  #event: number;
  #rareAt = 0;
  #reachedMs = 0;
  #manager: string;

  constructor(flight: SlotFlight, encoder: StowageEncoder) {
    const { ring, live, gone } = flight.samples;
    ring.lookThrough();
    this.#flight = flight;
    this.#encoder = encoder;
    this.#first = ring.first;
    this.#end = ring.next;
    this.#event = this.#first;
    this.#kept = flight.keptBlocks();
    this.#rare = flight.rare.since(this.#first);
    this.#samples = new Map([...live.values(), ...gone].map((sample) => [sample.event, sample]));
    const swap = this.#rare.find(({ kind }) => kind === TraceKind.swap);
    this.#manager = swap === undefined ? (flight.slot.active?.name ?? '') : '';
    this.#find();
  }

  /** Writes what was live before the first event. */
  writeBase(): void {
    const encoder = this.#encoder;
    const { space, slot } = this.#flight;
    const earlier = space === '' ? 'earlier' : `${space}, earlier`;
    let made = APART;
    const native = this.#rare.reduce((sum, { kind, bytes }) => sum - (SIGNS.get(kind) ?? 0) * bytes, slot.reservedBytes);
    if (native > 0) {
      encoder.setName(RECORD.manager, this.#manager);
      encoder.setName(RECORD.space, earlier);
      encoder.sized(TraceKind.nativeAlloc, made, native);
      made += native;
    }
    for (const { ptr, bytes, site, tag } of this.#flight.base(this.#kept)) {
      encoder.setName(RECORD.manager, this.#manager);
      // What has no address gets one in a space of its own, where it is nobody else's.
      encoder.setName(RECORD.space, ptr === 0 ? earlier : space);
      encoder.setName(RECORD.tag, tag);
      encoder.setName(RECORD.site, site);
      encoder.sized(TraceKind.alloc, ptr === 0 ? (made += APART) : ptr, bytes);
    }
  }

  /** Writes the next event. */
  writeNext(): void {
    const rare = this.#rare[this.#rareAt];
    this.#encoder.setName(RECORD.space, this.#flight.space);
    if (rare !== undefined && rare.before <= this.#event) {
      this.#rareAt++;
      this.#writeRare(rare);
    } else this.#writeEvent(this.#event++);
    this.#find();
  }

  #writeEvent(event: number): void {
    const { ring } = this.#flight.samples;
    if (this.#kept[event - this.#first] === 1) return;
    const encoder = this.#encoder;
    const ptr = ring.pointerOf(event);
    encoder.setName(RECORD.manager, this.#manager);
    if (ptr < 0) {
      encoder.free(-ptr);
      return;
    }
    const sample = this.#samples.get(event);
    encoder.setNumber(RECORD.device, 0);
    encoder.setNumber(RECORD.stream, 0);
    encoder.setName(RECORD.tag, sample?.tag ?? '');
    encoder.setName(RECORD.site, sample?.site ?? '');
    encoder.sized(TraceKind.alloc, ptr, ring.bytesOf(event));
  }

  #writeRare({ kind, manager, ptr, bytes, device, stream }: RareEvent): void {
    const encoder = this.#encoder;
    const name = processState().managers.get(manager)?.deref()?.name ?? '';
    if (kind === TraceKind.swap) this.#manager = name;
    encoder.setName(RECORD.manager, name);
    encoder.setNumber(RECORD.device, device);
    encoder.setNumber(RECORD.stream, stream);
    if (kind === TraceKind.swap || kind === TraceKind.cleanup) encoder.mark(kind);
    else if (kind === TraceKind.outOfMemory) encoder.outOfMemory(bytes);
    else encoder.sized(kind, ptr, bytes);
  }

  /** Finds the time of the next event. */
  #find(): void {
    const rare = this.#rare[this.#rareAt];
    const isRare = rare !== undefined && rare.before <= this.#event;
    if (!isRare && this.#event >= this.#end) {
      this.ms = Number.POSITIVE_INFINITY;
      return;
    }
    const ms = isRare ? rare.ms : (this.#samples.get(this.#event)?.ms ?? this.#flight.samples.ring.timeOf(this.#event));
    this.#reachedMs = Math.max(this.#reachedMs, ms);
    this.ms = this.#reachedMs;
  }
}
