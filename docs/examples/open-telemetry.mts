// Publish statistics as OpenTelemetry metrics. Needs `npm install @opentelemetry/sdk-
// metrics`.
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { defaultRuntime, MiB } from 'stowage';
import { publishMemoryStats } from 'stowage/otel';

const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const provider = new MeterProvider({ readers: [new PeriodicExportingMetricReader({ exporter })] });

const runtime = defaultRuntime();
const published = publishMemoryStats(runtime, { meter: provider.getMeter('app') });
const block = runtime.allocate(1 * MiB);
await provider.forceFlush();

const metrics = exporter
  .getMetrics()
  .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
const requested = metrics.find(({ descriptor }) => descriptor.name === 'stowage.memory.requested');
for (const { attributes, value } of requested?.dataPoints ?? [])
  console.log(attributes.manager, value);

published.dispose();
block.dispose();
await provider.shutdown();
