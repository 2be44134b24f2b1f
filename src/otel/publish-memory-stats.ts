import { type Attributes, type BatchObservableCallback, type Meter, metrics } from '@opentelemetry/api';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import '../core/disposable.js';
import type { Releasable } from '../core/disposable.js';
import { managerReadings } from '../core/manager-readings.js';
import type { MemoryHost } from '../core/memory-host.js';
import { MEMORY_STATISTICS } from '../core/memory-statistics.js';

const BYTES = 'By';

/** How to publish. */
export interface OpenTelemetryOptions {
  /** Makes the instruments. @defaultValue the global meter provider's, under the name `stowage` */
  readonly meter?: Meter | undefined;
  /** Set on every measurement, such as the name of the host. @defaultValue none */
  readonly attributes?: Attributes | undefined;
}

/** Their names. */
export const OPEN_TELEMETRY_OPTIONS: OptionNames<OpenTelemetryOptions> = { meter: true, attributes: true };

/** Statistics that are being published; disposing it ends that. */
export interface PublishedStats extends Releasable {
  /** Takes the callback off the meter. Does nothing the second time. */
  dispose(): void;
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
  checkOptionNames('publishMemoryStats', options, OPEN_TELEMETRY_OPTIONS);
  const { meter = metrics.getMeter('stowage'), attributes } = options;
  const instruments = MEMORY_STATISTICS.map(({ name, unit, kind, help, read }) => {
    const description = help.replace(/\.$/, '');
    if (kind === 'counter') return { instrument: meter.createObservableCounter(`stowage.${name}`, { description }), read };
    const instrument =
      unit === 'bytes'
        ? meter.createObservableGauge(`stowage.memory.${name}`, { unit: BYTES, description })
        : meter.createObservableGauge(`stowage.${name}`, { description });
    return { instrument, read };
  });
  const observe: BatchObservableCallback = (result) => {
    for (const { name, handle, slot, devices } of managerReadings(host)) {
      for (const { device, stats } of devices) {
        const named = { ...attributes, manager: name, 'manager.id': handle, slot, device };
        for (const { instrument, read } of instruments) result.observe(instrument, read(stats), named);
      }
    }
  };
  const observables = instruments.map(({ instrument }) => instrument);
  meter.addBatchObservableCallback(observe, observables);
  const dispose = (): void => meter.removeBatchObservableCallback(observe, observables);
  return { dispose, [Symbol.dispose]: dispose };
}
