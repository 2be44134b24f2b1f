import type { Command } from 'commander';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { maxMemoryBytes } from '../../adapters/os/memory-limits.js';
import { formatBytes } from '../core/units.js';
import type { LoadProgress } from '../model/loader/model-loader.js';
import { ModelSet } from '../model/loader/model-set.js';
import {
  estimateModelMemory,
  type FitProposal,
  fitToMemory,
  type MemoryEstimate,
} from '../model/sizing/estimate-model-memory.js';
import { hparamsOf } from '../model/sizing/model-hparams.js';
import type { TensorManager } from '../model/tensors/tensor-manager.js';
import '../defaults.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';
import { type Flags, parseSize } from './arguments.js';
import { createProgress } from './progress.js';
import { count, jsonText, layOut } from './text.js';

/** The facts about a model. */
type Report = Awaited<ReturnType<typeof examine>>;

/** Adds what `stowage model` takes. */
export function addModelCommand(command: Command): void {
  command
    .argument('<file>', 'a model, any part of one, or model.safetensors.index.json; its data is not read')
    .option('-m, --memory <size>', 'fit it into so much, a GPU say, such as 8GiB (default: what this machine has available)')
    .option('--load', 'load all of it into memory, with a progress bar, and say how long that took')
    .option('--json', 'print JSON instead of tables')
    .addHelpText(
      'after',
      '\nThe fit makes smaller what it must, in this order: the context, the layers that lie in the memory,\n' +
        'the batch. It needs hyper-parameters, which GGUF files name.',
    )
    .action(async (path: string, flags: Flags<never, 'memory', 'load' | 'json'>) => {
      // What a process can allocate now, without swapping and within its limits.
      const availableBytes = Math.floor(Math.min(process.availableMemory(), maxMemoryBytes()));
      const memoryBytes = flags.memory === undefined ? availableBytes : parseSize('--memory', flags.memory);
      const report = await examine(path, memoryBytes, flags.load === true);
      process.stdout.write(flags.json === true ? jsonText(report) : text(report));
    });
}

async function examine(path: string, memoryBytes: number, load: boolean) {
  using set = await ModelSet.open(path);
  const hparams = hparamsOf(set);
  return {
    path,
    format: set.format,
    fileBytes: set.fileBytes,
    /** How many files that is. */
    files: set.loaders.length,
    /** Which part of a model the file is, when others are missing; null for a whole one. */
    part: set.part ?? null,
    /** The names of the other parts that are not there. */
    missing: set.missing,
    usage: set.usage(),
    layers: set.usageByLayer(),
    /** Null when the file does not tell its hyper-parameters, or is not all of the model. */
    estimate: hparams === undefined ? null : estimateModelMemory(hparams),
    fit: hparams === undefined ? null : fitToMemory(hparams, memoryBytes),
    /** Null unless it was asked for. */
    loadMs: load ? await timeLoad(set) : null,
  };
}

async function timeLoad(set: ModelSet): Promise<number> {
  using runtime = new MemoryRuntime(new CpuDevice());
  using progress = createProgress('loading', 'bytes');
  const total = set.usage().bytes;
  const start = performance.now();
  const loaded: TensorManager[] = [];
  try {
    let before = 0;
    for (const loader of set.loaders) {
      const onProgress = ({ doneBytes }: LoadProgress) => progress.report(before + doneBytes, total);
      loaded.push(await loader.load({ runtime, onProgress }));
      before += loader.usage().bytes;
    }
    return performance.now() - start;
  } finally {
    for (const tensors of loaded) tensors.dispose();
  }
}

function text(report: Report): string {
  const { path, format, fileBytes, files, usage, layers, estimate, fit, loadMs } = report;
  const types = usage.byDType.map(({ dtype, tensors, bytes, share }) => [
    dtype,
    `${tensors}`,
    formatBytes(bytes),
    `${(100 * share).toFixed(1)} %`,
  ]);
  const rows = layers.map(({ layer, tensors, bytes, byDType }) => [
    `${layer}`,
    `${tensors}`,
    formatBytes(bytes),
    byDType.map(({ dtype }) => dtype).join(' '),
  ]);
  const columns = (first: string, last: string) => [
    { heading: first, align: 'left' as const },
    { heading: 'tensors', align: 'right' as const },
    { heading: 'size', align: 'right' as const },
    { heading: last, align: 'left' as const },
  ];
  return [
    `${path}: ${format}, ${files > 1 ? `${files} files of ` : ''}${formatBytes(fileBytes)}, ${count(usage.tensors, 'tensor')} of ${formatBytes(usage.bytes)}`,
    '',
    ...layOut(columns('type', 'share'), types),
    '',
    ...layOut(columns('layer', 'types'), rows),
    '',
    ...(estimate === null || fit === null ? [whyNoFit(report)] : fitLines(estimate, fit)),
    ...(loadMs === null ? [] : ['', `loaded in ${loadMs.toFixed(0)} ms`]),
    '',
  ].join('\n');
}

function whyNoFit({ part, missing, usage }: Report): string {
  if (part !== null) {
    const others = missing.length > 0 ? `${missing.join(', ')} not found` : 'its name does not tell where the others are';
    return `this is part ${part.number} of ${part.count} of a model, and nothing can be said of a fit: ${others}`;
  }
  return usage.tensors === 0
    ? 'the file has no tensors, a vocabulary alone say: there is nothing to fit'
    : 'the file names no hyper-parameters to fit it by';
}

function fitLines(estimate: MemoryEstimate, fit: FitProposal): string[] {
  return [
    `all of it needs ${formatBytes(estimate.totalBytes)}: weights ${formatBytes(estimate.weightBytes)}, ` +
      `cache ${formatBytes(estimate.cacheBytes)}, compute ${formatBytes(estimate.computeBytes)}, ` +
      `overhead ${formatBytes(estimate.overheadBytes)}`,
    `${formatBytes(fit.availableBytes)} available: ${fit.fits ? 'it fits' : 'it does not fit'} with a context of ` +
      `${fit.contextLength}, ${count(fit.gpuLayers, 'layer')} there, batches of ${fit.batchSize}: ${formatBytes(fit.requiredBytes)}`,
    ...fit.steps.map(({ setting, from, to, reason }) => `  ${setting} ${from} -> ${to}: ${reason}`),
  ];
}
