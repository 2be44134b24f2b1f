import { type ManagerReading, managerReadings } from '../../core/manager-readings.js';
import type { MemoryHost } from '../../core/memory-host.js';
import type { MemoryStat, MemoryStatsSnapshot } from '../../core/stats.js';

/** The type of the text that {@link prometheusMetrics} gives. */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly read: (stats: MemoryStatsSnapshot) => number;
}

const BYTES: readonly (readonly [name: string, help: string, read: (stats: MemoryStatsSnapshot) => MemoryStat])[] = [
  ['requested', 'Bytes that callers asked for and hold.', (stats) => stats.requestedBytes],
  ['allocated', 'Bytes of the blocks that callers hold.', (stats) => stats.allocatedBytes],
  ['active', 'Allocated bytes and those freed that a stream still uses.', (stats) => stats.activeBytes],
  ['reserved', 'Bytes of native memory that the manager holds.', (stats) => stats.reservedBytes],
  ['cached', 'Reserved bytes that no caller and no stream uses.', (stats) => stats.cachedBytes],
];

const METRICS: readonly Metric[] = [
  ...BYTES.flatMap(([name, help, read]): Metric[] => [
    { name: `stowage_${name}_bytes`, type: 'gauge', help, read: (stats) => read(stats).current },
    {
      name: `stowage_${name}_peak_bytes`,
      type: 'gauge',
      help: `The most that stowage_${name}_bytes has been.`,
      read: (stats) => read(stats).peak,
    },
  ]),
  { name: 'stowage_blocks', type: 'gauge', help: 'Live blocks.', read: (stats) => stats.blocks.current },
  { name: 'stowage_allocations_total', type: 'counter', help: 'Allocations.', read: (stats) => stats.blocks.total },
  {
    name: 'stowage_hits_total',
    type: 'counter',
    help: 'Allocations served without a native call.',
    read: (stats) => stats.hits,
  },
  {
    name: 'stowage_native_allocs_total',
    type: 'counter',
    help: 'Native allocations, commits of pages included.',
    read: (stats) => stats.nativeAllocs,
  },
  {
    name: 'stowage_native_frees_total',
    type: 'counter',
    help: 'Native frees, decommits of pages included.',
    read: (stats) => stats.nativeFrees,
  },
  {
    name: 'stowage_retries_total',
    type: 'counter',
    help: 'Times that cached memory was given back to make room for an allocation.',
    read: (stats) => stats.retries,
  },
  {
    name: 'stowage_ooms_total',
    type: 'counter',
    help: 'Allocations that the manager refused for want of memory.',
    read: (stats) => stats.ooms,
  },
];

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
