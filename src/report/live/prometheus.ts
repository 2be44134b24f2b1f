import { type ManagerReading, managerReadings } from '../../core/manager-readings.js';
import type { MemoryHost } from '../../core/memory-host.js';
import type { MemoryStatsSnapshot } from '../../core/memory-statistics.js';
import { MEMORY_STATISTICS } from '../../core/memory-statistics.js';

/** The type of the text that {@link prometheusMetrics} gives. */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly read: (stats: MemoryStatsSnapshot) => number;
}

const METRICS: readonly Metric[] = MEMORY_STATISTICS.flatMap(({ name, unit, kind, help, read, readPeak }): Metric[] => {
  if (kind === 'counter') return [{ name: `stowage_${name}_total`, type: 'counter', help, read }];
  const suffix = unit === 'bytes' ? '_bytes' : '';
  const metric: Metric = { name: `stowage_${name}${suffix}`, type: 'gauge', help, read };
  if (readPeak === undefined) return [metric];
  const peakHelp = `The most that ${metric.name} has been.`;
  return [metric, { name: `stowage_${name}_peak${suffix}`, type: 'gauge', help: peakHelp, read: readPeak }];
});

/**
 * Writes what a host's managers hold in Prometheus' text format: a sample for each manager and device that has statistics,
 * and for every manager the native memory and blocks that its slot knows of.
 */
export function prometheusMetrics(host: MemoryHost): string {
  const readings = managerReadings(host);
  const lines: string[] = [];
  const add = (name: string, type: string, help: string, samples: readonly string[]): void => {
    if (samples.length > 0) lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples);
  };
  for (const { name, type, help, read } of METRICS) {
    const samples = readings.flatMap((reading) =>
      reading.devices.map(({ device, stats }) => `${name}${labels(reading, ['device', String(device)])} ${read(stats)}`),
    );
    add(name, type, help, samples);
  }
  const bySlot = (name: string, help: string, read: (reading: ManagerReading) => number): void =>
    add(
      name,
      'gauge',
      help,
      readings.map((reading) => `${name}${labels(reading)} ${read(reading)}`),
    );
  bySlot(
    'stowage_slot_reserved_bytes',
    'Native memory that a manager got through its slot, all devices together.',
    (reading) => reading.reservedBytes,
  );
  bySlot('stowage_slot_blocks', 'Live blocks of a manager, all devices together.', (reading) => reading.liveBlocks);
  bySlot('stowage_manager_active', '1 for the manager that serves allocations, 0 for one that drains.', (reading) =>
    Number(reading.active),
  );
  return `${lines.join('\n')}\n`;
}

function labels(reading: ManagerReading, ...more: readonly (readonly [string, string])[]): string {
  const pairs = [['manager', reading.name], ['id', String(reading.handle)], ['slot', reading.slot], ...more];
  return `{${pairs.map(([name, value = '']) => `${name}="${escapeLabel(value)}"`).join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
