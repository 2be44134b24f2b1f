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

const metrics = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
const requested = metrics.find(({ descriptor }) => descriptor.name === 'stowage.memory.requested');
console.log(requested.dataPoints[0].attributes.manager, requested.dataPoints[0].value);

published.dispose();
block.dispose();
await provider.shutdown();
