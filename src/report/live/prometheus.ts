import { type ManagerReading, managerReadings } from '../../core/manager-readings.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { MEMORY_STATISTICS, type MemoryStatsSnapshot } from '../../core/memory-statistics.js';
import { budgetMetrics } from './budget-metrics.js';
import { type MetricText, metricLines, metricSample } from './metric-text.js';

/** The type of the text that {@link prometheusMetrics} gives. */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** A metric: what it is, and its samples of one manager. */
interface Metric extends Omit<MetricText, 'samples'> {
  readonly samples: (reading: ManagerReading) => string[];
}

const STATISTICS = MEMORY_STATISTICS.flatMap(({ name, unit, kind, help, read, readPeak }): Metric[] => {
  if (kind === 'counter') return [perDevice(`stowage_${name}_total`, 'counter', help, read)];
  const suffix = unit === 'bytes' ? '_bytes' : '';
  const level = perDevice(`stowage_${name}${suffix}`, 'gauge', help, read);
  if (readPeak === undefined) return [level];
  return [level, perDevice(`stowage_${name}_peak${suffix}`, 'gauge', `The most that ${level.name} has been.`, readPeak)];
});
const METRICS: readonly Metric[] = [
  ...STATISTICS,
  perManager(
    'stowage_slot_reserved_bytes',
    'Native memory that a manager got through its slot, all devices together.',
    (reading) => reading.reservedBytes,
  ),
  perManager('stowage_slot_blocks', 'Live blocks of a manager, all devices together.', (reading) => reading.liveBlocks),
  perManager('stowage_manager_active', '1 for the manager that serves allocations, 0 for one that drains.', (reading) =>
    Number(reading.active),
  ),
];

function perDevice(name: string, type: Metric['type'], help: string, read: (stats: MemoryStatsSnapshot) => number): Metric {
  const samples = (reading: ManagerReading) =>
    reading.devices.map(({ device, stats }) => metricSample(name, { ...labelsOf(reading), device: String(device) }, read(stats)));
  return { name, type, help, samples };
}

function perManager(name: string, help: string, read: (reading: ManagerReading) => number): Metric {
  return { name, type: 'gauge', help, samples: (reading) => [metricSample(name, labelsOf(reading), read(reading))] };
}

/**
 * Writes what a host's managers hold in Prometheus' text format: a sample for each manager and device that has statistics,
 * and for every manager the native memory and blocks that its slot knows of. Behind it come the budgets of this isolate, their members
 * and tenants.
 */
export function prometheusMetrics(host: MemoryHost): string {
  const readings = managerReadings(host);
  const ofManagers = METRICS.map((metric) => ({ ...metric, samples: readings.flatMap(metric.samples) }));
  return `${[...ofManagers, ...budgetMetrics()].flatMap(metricLines).join('\n')}\n`;
}

function labelsOf({ name, handle, slot }: ManagerReading): Readonly<Record<string, string>> {
  return { manager: name, id: String(handle), slot };
}
