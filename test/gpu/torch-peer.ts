import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type BenchEvents, writeEventFile } from '../bench/event-file.js';
import { median } from '../bench/statistics.js';
import type { AllocationRow } from './allocation-table.js';

/** Where PyTorch is, and which. */
interface Torch {
  readonly version: string;
  /** With `include` and `lib`. */
  readonly folder: string;
}

const FIND =
  'import json, os, torch; print(json.dumps({"version": torch.__version__, "folder": os.path.dirname(torch.__file__)}))';
const CONFIGURATIONS: readonly (readonly [allocator: string, conf: string | undefined])[] = [
  ['PyTorch', undefined],
  ['PyTorch, expandable', 'expandable_segments:True'],
];
const TIMEOUT_MS = 60_000;

/**
 * PyTorch's allocator as a peer of the managers: a program in C++ over its c10 library, compiled on the machine that it is
 * measured on.
 */
export class TorchPeer {
  /** The version, or why there is none to measure. */
  readonly text: string;
  readonly #program: string | undefined;
  readonly #scratch = mkdtempSync(join(tmpdir(), 'stowage-torch-'));

  /** Looks for PyTorch and compiles the peer. */
  constructor() {
    const found = findTorch();
    if (typeof found === 'string') {
      this.text = `PyTorch is not measured: ${found}`;
      return;
    }
    const program = join(this.#scratch, 'torch-peer');
    const failure = compile(found, program);
    if (failure === undefined) this.#program = program;
    this.text = failure === undefined ? `PyTorch ${found.version} is beside the card.` : `PyTorch is not measured: ${failure}`;
  }

  /** Removes the program. */
  [Symbol.dispose](): void {
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  /** Measures the first events of a trace as managers are measured. @returns no rows where there is nothing to measure */
  measure(events: BenchEvents & { readonly name: string }, rounds: number): AllocationRow[] {
    const program = this.#program;
    if (program === undefined) return [];
    const file = join(this.#scratch, 'events');
    writeEventFile(file, events);
    return CONFIGURATIONS.flatMap(([allocator, conf]) => {
      // Older versions know the second name alone.
      const env = { ...process.env, ...(conf !== undefined && { PYTORCH_ALLOC_CONF: conf, PYTORCH_CUDA_ALLOC_CONF: conf }) };
      const { status, stdout } = spawnSync(program, [file, String(rounds)], { encoding: 'utf8', env, timeout: TIMEOUT_MS });
      const [first, ...later] = stdout
        .trim()
        .split('\n')
        .map((line) => Number(line) / 1000 / events.length);
      if (status !== 0 || first === undefined || later.length !== rounds) return [];
      return [{ allocator, trace: events.name, firstUsPerEvent: first, laterUsPerEvent: median(later) }];
    });
  }
}

/** @returns what there is, or why there is nothing */
function findTorch(): Torch | string {
  const { status, stdout, stderr, error } = spawnSync('python3', ['-c', FIND], { encoding: 'utf8', timeout: TIMEOUT_MS });
  if (status !== 0) return error?.message ?? lastLine(stderr);
  try {
    // What an import prints comes before it.
    return JSON.parse(lastLine(stdout)) as Torch;
  } catch {
    return `python3 said ${lastLine(stdout)}`;
  }
}

/** @returns why it failed, or undefined when it did not */
function compile({ folder }: Torch, program: string): string | undefined {
  const cuda = cudaFolders(folder);
  const headers = cuda.find((each) => existsSync(join(each, 'include/cuda_runtime_api.h')));
  if (headers === undefined) return `no cuda_runtime_api.h in ${cuda.join(', ') || 'any folder'}`;
  const runtime = cuda
    .flatMap((each) => ['lib64', 'lib'].map((name) => join(each, name)))
    .flatMap((each) => (existsSync(each) ? readdirSync(each).map((name) => join(each, name)) : []))
    .find((path) => /\/libcudart\.so(\.\d+)*$/.test(path));
  if (runtime === undefined) return `no libcudart.so in ${cuda.join(', ')}`;
  const libraries = join(folder, 'lib');
  const args = [
    ...['-O3', '-std=c++20', `-I${join(folder, 'include')}`, `-I${join(headers, 'include')}`],
    join(import.meta.dirname, 'torch-peer.cpp'),
    ...[`-L${libraries}`, '-lc10', '-lc10_cuda', runtime],
    ...[`-Wl,-rpath,${libraries}:${dirname(runtime)}`, '-o', program],
  ];
  const { status, stderr, error } = spawnSync('g++', args, { encoding: 'utf8', timeout: TIMEOUT_MS });
  return status === 0 ? undefined : (error?.message ?? `g++ failed: ${lastLine(stderr)}`);
}

/** Where headers and library of the CUDA runtime may be: those of the machine, and those that came with PyTorch. */
function cudaFolders(torchFolder: string): string[] {
  const { CUDA_HOME, CUDA_PATH } = process.env;
  const packages = join(dirname(torchFolder), 'nvidia');
  const shipped = existsSync(packages) ? readdirSync(packages).map((name) => join(packages, name)) : [];
  return [...shipped, ...[CUDA_HOME, CUDA_PATH, '/usr/local/cuda'].filter((each) => each !== undefined)].filter((each) =>
    existsSync(each),
  );
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
