import fc from 'fast-check';
import { EventBuilder } from '../../src/trace/event-builder.js';
import type { TraceWriter, TraceWriterFactory } from '../../src/trace/formats/trace-writer.js';
import { TraceEvents, TraceKind } from '../../src/trace/trace-events.js';

/** One step of a random recording. */
interface Step {
  readonly kind: number;
  readonly bytes: number;
  readonly pick: number;
  readonly device: number;
  readonly stream: number;
  readonly manager: string;
  readonly tag: string;
  readonly site: string;
  readonly pinned: boolean;
  readonly pool: number;
  readonly step: string;
  readonly pauseNs: number;
}

const BYTES = fc.oneof(fc.constantFrom(0, 1, 512, 2 ** 32 - 1, 2 ** 32, 2 ** 40), fc.nat(2 ** 24));
const TEXT = fc.oneof(fc.constantFrom('', 'weights', '"<b>\\', 'zwölf € 🧠'), fc.string({ maxLength: 12 }));
const SITE = fc.constantFrom('', 'at load (app.mjs:3)\nat main.mjs:9', 'at <anonymous> (file:///x.mjs:1)');
const STEP: fc.Arbitrary<Step> = fc.record({
  kind: fc.nat(13),
  bytes: BYTES,
  pick: fc.nat(1000),
  device: fc.nat(3),
  stream: fc.constantFrom(0, 0, 7, 140_212_345_671_680),
  manager: fc.constantFrom('CachingMemoryManager', 'PoolMemoryManager', ''),
  tag: TEXT,
  site: SITE,
  pinned: fc.boolean(),
  pool: fc.constantFrom(0, 0, 1, 70_000),
  step: fc.constantFrom('', 'step 3', 'step 3 > forward'),
  pauseNs: fc.constantFrom(0, 0, 1, 999, 1_234_567),
});

/** Random recordings with every kind of event, at least one allocation, and every column. */
export const randomTrace: fc.Arbitrary<TraceEvents> = fc
  .array(STEP, { minLength: 1, maxLength: 80 })
  .map((steps) => traceOf([{ ...steps[0]!, kind: 0, bytes: 8 }, ...steps]));

function traceOf(steps: readonly Step[]): TraceEvents {
  const events = new EventBuilder();
  const live: number[] = [];
  const segments: { pointer: number; bytes: number; device: number }[] = [];
  let next = 2 ** 32;
  let time = 0;
  for (const step of steps) {
    time += step.pauseNs;
    events.time = time;
    events.device = step.device;
    events.stream = step.stream;
    events.manager = events.strings.idOf(step.manager);
    events.space = events.strings.idOf(step.pinned ? 'pinned' : '');
    events.tag = events.strings.idOf(step.tag);
    events.site = events.strings.idOf(step.site);
    events.pool = step.pool;
    events.step = events.strings.idOf(step.step);
    switch (step.kind) {
      case 4:
      case 5:
      case 6: {
        const slot = live.splice(step.pick % (live.length + 1), 1)[0];
        if (slot !== undefined) events.free(slot, 0);
        break;
      }
      case 7:
        next += 2 ** 41;
        segments.push({ pointer: next, bytes: step.bytes + 1, device: step.device });
        events.other(TraceKind.nativeAlloc, 0, step.bytes + 1, next);
        break;
      case 8: {
        const segment = segments.splice(step.pick % (segments.length + 1), 1)[0];
        if (segment === undefined) break;
        events.device = segment.device;
        events.other(TraceKind.nativeFree, 0, segment.bytes, segment.pointer);
        break;
      }
      case 9:
        events.other(TraceKind.swap, 0);
        break;
      case 10:
        events.other(TraceKind.cleanup, 0);
        break;
      case 11:
        events.other(TraceKind.outOfMemory, 0, step.bytes + 1);
        break;
      case 12:
        events.refused(0, step.bytes + 1);
        break;
      case 13:
        events.other(TraceKind.freeCompleted, 0, step.bytes + 1, 2 ** 32 + step.pick);
        break;
      default:
        next += 2 ** 41;
        // Empty blocks share the null pointer, so nothing tells which of them a free is of: they lie on one device.
        if (step.bytes === 0) events.device = 0;
        live.push(events.alloc(step.bytes, 0, step.bytes === 0 ? 0 : next));
    }
  }
  return new TraceEvents({ file: 'random', name: 'random', format: 'stowage' }, events.copy(), events);
}

/** Writes a trace in one format. */
export function written(events: TraceEvents, create: TraceWriterFactory): { bytes: Buffer; writer: TraceWriter } {
  const chunks: Buffer[] = [];
  const writer = create({ write: (chunk) => chunks.push(Buffer.from(chunk as Uint8Array)) }, events.name);
  writer.write(events);
  writer.end();
  return { bytes: Buffer.concat(chunks), writer };
}

/** An event with its columns, for comparisons. */
export interface ToldEvent {
  readonly kind: TraceKind;
  readonly bytes: number;
  readonly slot: number;
  readonly times: number;
  readonly pointers: number;
  readonly devices: number;
  readonly streams: number;
  readonly managers: string;
  readonly pools: number;
  readonly steps: string;
  readonly tags: string;
  readonly sites: string;
  readonly spaces: string;
}

/** All events with all their columns. */
export function told(events: TraceEvents): ToldEvent[] {
  return Array.from({ length: events.length }, (_, i) => ({
    kind: events.kindOf(i),
    bytes: events.bytesOf(i),
    slot: events.slotOf(i),
    times: events.timeOf(i),
    pointers: events.pointerOf(i),
    devices: events.deviceOf(i),
    streams: events.streamOf(i),
    managers: events.managerOf(i),
    pools: events.poolOf(i),
    steps: events.stepOf(i),
    tags: events.tagOf(i),
    sites: events.siteOf(i),
    spaces: events.spaceOf(i),
  }));
}
