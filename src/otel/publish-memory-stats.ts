import {
  type Attributes,
  type BatchObservableCallback,
  type BatchObservableResult,
  type Meter,
  metrics,
  type Observable,
} from '@opentelemetry/api';
import '../core/disposable.js';
import { type ManagerReading, managerReadings } from '../core/manager-readings.js';
import type { MemoryHost } from '../core/memory-host.js';
import type { MemoryStatsSnapshot } from '../core/memory-statistics.js';
import { MEMORY_STATISTICS } from '../core/memory-statistics.js';

const BYTES = 'By';

/** How to publish. */
export interface OpenTelemetryOptions {
  /** Makes the instruments. @defaultValue the global meter provider's, under the name `stowage` */
  readonly meter?: Meter | undefined;
  /** Set on every measurement, such as the name of the host. @defaultValue none */
  readonly attributes?: Attributes | undefined;
}

/** Statistics that are being published; disposing it ends that. */
export interface PublishedStats {
  /** Takes the callback off the meter. Does nothing the second time. */
  dispose(): void;
  [Symbol.dispose](): void;
}

interface Instrument {
  readonly instrument: Observable;
  readonly read: (stats: MemoryStatsSnapshot) => number;
}

/**
 * Publishes the statistics of a host's managers as OpenTelemetry metrics, until it is disposed. They are read when the
 * meter's reader collects, and cost nothing in between. Attributes: `manager`, `manager.id` (two managers may have one
 * name), `slot` (ordinary or pinned) and `device`.
 *
 * Each level of {@link MEMORY_STATISTICS} is a gauge, `stowage.memory.<name>` for bytes and `stowage.<name>` for counts; each
 * counter is the counter `stowage.<name>`.
 */
export function publishMemoryStats(host: MemoryHost, options: OpenTelemetryOptions = {}): PublishedStats {
  const meter = options.meter ?? metrics.getMeter('stowage');
  const instruments = makeInstruments(meter);
  const observe: BatchObservableCallback = (result) => {
    for (const reading of managerReadings(host)) observeManager(result, reading, instruments, options.attributes);
  };
  const observables = instruments.map(({ instrument }) => instrument);
  meter.addBatchObservableCallback(observe, observables);
  const dispose = (): void => meter.removeBatchObservableCallback(observe, observables);
  return { dispose, [Symbol.dispose]: dispose };
}

function makeInstruments(meter: Meter): Instrument[] {
  return MEMORY_STATISTICS.map(({ name, unit, kind, help, read }) => {
    const description = help.replace(/\.$/, '');
    if (kind === 'counter') return { instrument: meter.createObservableCounter(`stowage.${name}`, { description }), read };
    const instrument =
      unit === 'bytes'
        ? meter.createObservableGauge(`stowage.memory.${name}`, { unit: BYTES, description })
        : meter.createObservableGauge(`stowage.${name}`, { description });
    return { instrument, read };
  });
}

function observeManager(
  result: BatchObservableResult,
  reading: ManagerReading,
  instruments: readonly Instrument[],
  attributes: Attributes | undefined,
): void {
  for (const { device, stats } of reading.devices) {
    const named = { ...attributes, manager: reading.name, 'manager.id': reading.handle, slot: reading.slot, device };
    for (const { instrument, read } of instruments) result.observe(instrument, read(stats), named);
  }
}
