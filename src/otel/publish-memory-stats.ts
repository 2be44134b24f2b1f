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
import type { MemoryStatsSnapshot } from '../core/stats.js';

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
 * Gauges: `stowage.memory.{requested,allocated,active,reserved,cached}` in bytes and `stowage.blocks`. Counters:
 * `stowage.allocations`, `.hits`, `.native_allocs`, `.native_frees`, `.retries` and `.ooms`.
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
  const bytes = (name: string, description: string, read: (stats: MemoryStatsSnapshot) => number): Instrument => ({
    instrument: meter.createObservableGauge(`stowage.memory.${name}`, { unit: BYTES, description }),
    read,
  });
  const count = (name: string, description: string, read: (stats: MemoryStatsSnapshot) => number): Instrument => ({
    instrument: meter.createObservableCounter(`stowage.${name}`, { description }),
    read,
  });
  return [
    bytes('requested', 'Bytes that callers asked for and hold', (stats) => stats.requestedBytes.current),
    bytes('allocated', 'Bytes of the blocks that callers hold', (stats) => stats.allocatedBytes.current),
    bytes('active', 'Allocated bytes and those freed that a stream still uses', (stats) => stats.activeBytes.current),
    bytes('reserved', 'Bytes of native memory that the manager holds', (stats) => stats.reservedBytes.current),
    bytes('cached', 'Reserved bytes that no caller and no stream uses', (stats) => stats.cachedBytes.current),
    {
      instrument: meter.createObservableGauge('stowage.blocks', { description: 'Live blocks' }),
      read: (stats) => stats.blocks.current,
    },
    count('allocations', 'Allocations', (stats) => stats.blocks.total),
    count('hits', 'Allocations served without a native call', (stats) => stats.hits),
    count('native_allocs', 'Native allocations, commits of pages included', (stats) => stats.nativeAllocs),
    count('native_frees', 'Native frees, decommits of pages included', (stats) => stats.nativeFrees),
    count('retries', 'Times that cached memory was given back to make room', (stats) => stats.retries),
    count('ooms', 'Allocations refused for want of memory', (stats) => stats.ooms),
  ];
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
