import { type ManagerReading, managerReadings } from '../../core/manager-readings.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { MEMORY_STATISTICS, type MemoryStatsSnapshot } from '../../core/memory-statistics.js';

/** The type of the text that {@link prometheusMetrics} gives. */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** A metric: what it is, and its samples of one manager. */
interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
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
    reading.devices.map(({ device, stats }) => `${name}${labels(reading, ['device', String(device)])} ${read(stats)}`);
  return { name, type, help, samples };
}

function perManager(name: string, help: string, read: (reading: ManagerReading) => number): Metric {
  return { name, type: 'gauge', help, samples: (reading) => [`${name}${labels(reading)} ${read(reading)}`] };
}

/**
 * Writes what a host's managers hold in Prometheus' text format: a sample for each manager and device that has statistics,
 * and for every manager the native memory and blocks that its slot knows of.
 */
export function prometheusMetrics(host: MemoryHost): string {
  const readings = managerReadings(host);
  const lines = METRICS.flatMap(({ name, type, help, samples }) => {
    const rows = readings.flatMap(samples);
    return rows.length === 0 ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...rows];
  });
  return `${lines.join('\n')}\n`;
}

function labels(reading: ManagerReading, ...more: readonly (readonly [string, string])[]): string {
  const pairs = [['manager', reading.name], ['id', String(reading.handle)], ['slot', reading.slot], ...more];
  const escaped = (value: string) => value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  return `{${pairs.map(([name, value = '']) => `${name}="${escaped(value)}"`).join(',')}}`;
}
