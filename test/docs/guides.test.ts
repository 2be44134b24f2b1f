import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { MemoryBudget } from '../../src/budget/memory-budget.js';
import { MemoryRuntime, MiB } from '../../src/index.js';
import { prometheusMetrics } from '../../src/report/live/prometheus.js';
import { stowageHere } from '../cli/compiled-cli.js';
import { compiledExamples, EXAMPLES } from '../fixtures/compiled-examples.js';
import { ggufBytes } from '../fixtures/gguf-bytes.js';
import { type PageProgram, programsOf } from './page-blocks.js';
import { SHOWN_EXAMPLES } from './shown-examples.js';

const ROOT = resolve(import.meta.dirname, '../..');
const example = (name: string) => readFileSync(join(EXAMPLES, name), 'utf8');

/** The code of a page in one language, '' for what programs print. */
function blocksOf(page: string, language: string): string[] {
  const text = readFileSync(join(ROOT, 'docs', page), 'utf8');
  return Array.from(text.matchAll(/^```(\w*)\n(.*?)^```$/gms), ([, of, code]) => [of, code] as const).flatMap(([of, code]) =>
    of === language ? [code as string] : [],
  );
}

/** A program of a page, without the comments that say which blocks continue one. */
const textOf = ({ pieces }: PageProgram) =>
  pieces.map(({ code }) => code.replace('// Continues the block above.\n', '')).join('\n');

let folder = '';
beforeAll(() => {
  folder = compiledExamples('guides');
}, 120_000);

/** Runs an example and gives what it prints. */
function run(name: string, ...args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(process.execPath, [join(folder, name), ...args], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return stdout;
}

test.each(Object.entries(SHOWN_EXAMPLES))('%s shows %j, piece by piece, with what they print', (page, names) => {
  const printing = programsOf(page).filter(({ pieces }) => pieces.some(({ printed }) => printed !== undefined));
  expect(printing.map(textOf)).toEqual(expect.arrayContaining(names.map(example)));
});

const HIDDEN = 2048;
const LAYERS = 22;

/** A model of a billion parameters whose data is a hole in a file. */
function writeModel(path: string): void {
  const u32 = (value: number) => ({ type: 4, value }) as const;
  const rows = [32_000, ...new Array<number>(LAYERS).fill(21_504)];
  const q4 = (count: number) => ((HIDDEN * count) / 32) * 18;
  let bytes = 0;
  const tensors = rows.map((count, n) => {
    const offset = bytes;
    bytes += q4(count);
    return { name: n === 0 ? 'token_embd.weight' : `blk.${n - 1}.ffn_up.weight`, ne: [HIDDEN, count], type: 2, offset };
  });
  const header = ggufBytes({
    metadata: [
      ['general.architecture', { type: 8, value: 'llama' }],
      ['llama.embedding_length', u32(HIDDEN)],
      ['llama.block_count', u32(LAYERS)],
      ['llama.feed_forward_length', u32(5632)],
      ['llama.context_length', u32(2048)],
      ['llama.attention.head_count', u32(32)],
      ['llama.attention.head_count_kv', u32(4)],
      ['llama.vocab_size', u32(32_000)],
    ],
    tensors,
  });
  writeFileSync(path, header);
  truncateSync(path, header.length + bytes);
}

/** The labels of each metric that Prometheus is given. */
function metricLabels(): Map<string, Set<string>> {
  const runtime = new MemoryRuntime(new CpuDevice());
  const budget = new MemoryBudget({ limit: 64 * MiB, watchV8: false });
  budget.add(runtime);
  budget.tenant('alice');
  const block = runtime.allocate(1 * MiB, { tag: 'alice' });
  const samples = prometheusMetrics(runtime).matchAll(/^(\w+)\{(.*)\} /gm);
  const labels = Array.from(samples, ([, name = '', pairs = '']) => {
    return [name, new Set(Array.from(pairs.matchAll(/(\w+)="/g), ([, label = '']) => label))] as const;
  });
  block.dispose();
  budget.dispose();
  runtime.close();
  return new Map(labels);
}

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
}

describe('docs/beyond-one-machine.md', () => {
  const printed = blocksOf('beyond-one-machine.md', '');
  const work = mkdtempSync(join(tmpdir(), 'stowage-guides-'));
  afterAll(() => rmSync(work, { recursive: true }));

  test("shows yaml of examples' files", () => {
    for (const block of blocksOf('beyond-one-machine.md', 'yaml')) expect(example('pod.yaml')).toContain(block);
  });

  test('shows what its commands make of a recording and a model', async () => {
    const [record = '', ...commands] = (printed[0] as string).split('\n').filter((line) => line !== '');
    expect(record).toMatch(/^\$ stowage record --out app\.stowtrace -- /);
    cpSync(join(ROOT, 'test/traces/sqlite.trace.gz'), join(work, 'app.stowtrace'));
    writeModel(join(work, 'model.gguf'));
    const last = commands.pop() as string;
    for (const command of commands) {
      const [, args = '', file = ''] = /^\$ stowage (.*) > (\S+)$/.exec(command) ?? [];
      const { code, stdout, stderr } = await stowageHere(args.split(' '), work);
      expect([code, stderr]).toEqual([0, '']);
      writeFileSync(join(work, file), stdout);
    }
    const args = last.split(' ').slice(3);
    const yaml = run('kubernetes.mjs', ...args.map((arg) => (arg.endsWith('.json') ? join(work, arg) : arg)));
    expect(yaml).toBe(printed[1]);
    const { resources, env } = parse(yaml);
    const [container] = parse(example('pod.yaml')).spec.containers;
    expect(container.resources).toEqual(resources);
    expect(container.env).toEqual(expect.arrayContaining(env));
  });

  test('shows where host, pod and tenant arrive in OpenTelemetry', () => {
    expect(run('fleet-telemetry.mjs')).toBe(printed[2]);
  });

  test('the pod has the port that Prometheus looks for', () => {
    const [{ relabel_configs: relabelled }] = parse(example('prometheus.yaml')).scrape_configs;
    const [container] = parse(example('pod.yaml')).spec.containers;
    expect(container.ports.map(({ name }: { name: string }) => name)).toContain(relabelled[0].regex);
    expect(relabelled.map(({ target_label: label }: { target_label?: string }) => label)).toEqual([undefined, 'host', 'pod']);
    expect(example('metrics-endpoint.mts')).toContain('process.env.METRICS_PORT');
  });

  test('every metric and label of the rules is one that Prometheus is given', () => {
    const rules: Rule[] = parse(example('prometheus-rules.yaml')).groups.flatMap(({ rules }: { rules: Rule[] }) => rules);
    expect(rules.length).toBeGreaterThan(10);
    const known = metricLabels();
    for (const { record, expr } of rules) {
      const names = expr.match(/[\w:]*stowage_[\w:]+/g) ?? [];
      const labels = new Set(names.flatMap((name) => [...(known.get(name) ?? [])]).concat('host', 'pod'));
      expect(names.filter((name) => !known.has(name))).toEqual([]);
      const grouped = Array.from(expr.matchAll(/by \(([^)]*)\)/g), ([, list = '']) => list.split(', ')).flat();
      expect(grouped.filter((label) => !labels.has(label))).toEqual([]);
      // The next rules may build on it.
      if (record !== undefined) known.set(record, labels);
    }
    const page = readFileSync(join(ROOT, 'docs/beyond-one-machine.md'), 'utf8');
    const recorded = rules.flatMap(({ record }) => (record === undefined ? [] : [`\`${record}\``]));
    expect(recorded.filter((record) => !page.includes(record))).toEqual([]);
  });
});
