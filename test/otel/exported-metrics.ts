import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { afterEach, beforeEach } from 'vitest';

/** What the test publishes goes here. */
export let provider: MeterProvider;
let exporter: InMemoryMetricExporter;
let reader: PeriodicExportingMetricReader;

/** Gives each test of a file a provider whose metrics it can read. */
export function useExportedMetrics(): void {
  beforeEach(() => {
    exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
    provider = new MeterProvider({ readers: [reader] });
  });
  afterEach(() => provider.shutdown());
}

/** The metrics that were published, by name. */
export async function collect(): Promise<Map<string, MetricData>> {
  exporter.reset();
  await reader.forceFlush();
  const found = exporter.getMetrics().flatMap((resource) => resource.scopeMetrics.flatMap((scope) => scope.metrics));
  return new Map(found.map((metric) => [metric.descriptor.name, metric]));
}

/** The attributes and value of each point of a metric. */
export function points(metric: MetricData | undefined) {
  return metric?.dataPoints.map(({ attributes, value }) => ({ ...attributes, value })) ?? [];
}
