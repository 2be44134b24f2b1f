/** A metric in Prometheus' text format: what it is, and its samples. */
export interface MetricText {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  /** One sentence. */
  readonly help: string;
  readonly samples: readonly string[];
}

/** Writes a metric's lines; none without samples. */
export function metricLines({ name, type, help, samples }: MetricText): string[] {
  return samples.length === 0 ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples];
}

/** Writes one sample. Values of labels may be any text. */
export function metricSample(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}{${pairs.join(',')}} ${value === Number.POSITIVE_INFINITY ? '+Inf' : value}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
