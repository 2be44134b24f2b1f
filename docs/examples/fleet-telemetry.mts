// Budgets as OpenTelemetry metrics, with the host and the pod as what they belong to. The
// SDK for Node reads the variable by itself.
import { detectResources, envDetector } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { defaultRuntime, MemoryBudget, MiB } from 'stowage';
import { publishBudgets } from 'stowage/otel';

// In Kubernetes the pod's yaml sets it.
process.env.OTEL_RESOURCE_ATTRIBUTES ??= 'host.name=node-7,k8s.pod.name=app-0';

const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const provider = new MeterProvider({
  resource: detectResources({ detectors: [envDetector] }),
  readers: [new PeriodicExportingMetricReader({ exporter })],
});
const published = publishBudgets({ meter: provider.getMeter('app') });

const runtime = defaultRuntime();
const budget = new MemoryBudget({ limit: 512 * MiB, name: 'process' });
budget.add(runtime, { name: 'buffers' });
budget.tenant('alice', { limit: 100 * MiB });
const block = runtime.allocate(6 * MiB, { tag: 'alice' });
await provider.forceFlush();

for (const { resource, scopeMetrics } of exporter.getMetrics()) {
  console.log(resource.attributes);
  const metrics = scopeMetrics.flatMap((scope) => scope.metrics);
  const live = metrics.find(({ descriptor }) => descriptor.name === 'stowage.budget.tenant.live');
  for (const { attributes, value } of live?.dataPoints ?? []) console.log(attributes, value);
}

block.dispose();
published.dispose();
budget.dispose();
await provider.shutdown();
