import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/cli/arguments.js';
import { MemoryError } from '../../src/core/errors.js';
import { formatBytes, MiB } from '../../src/core/units.js';
import { machineText } from './machine.js';
import { checkMarks, writeBetweenMarks } from './marked-document.js';
import { MODEL_CONTESTANTS, type ModelShape } from './model-contestants.js';
import { median } from './statistics.js';

const USAGE = `npm run bench:model -- [options]
  --size <size>        of the model file (default 1GiB)
  --rounds <n>         rounds, of which the median counts (default 5)
  --markdown <file>    write the table between the marks of this document
`;
const TENSOR_BYTES = 4 * MiB;

/** What one contestant took. */
interface Result {
  readonly name: string;
  readonly firstTensorMs: number;
  readonly wholeMs: number;
  readonly accessUs: number;
  readonly ownBytes: number;
  readonly fileBytes: number;
}

/** Runs the benchmark of loading a model. @returns the exit code */
export async function main(_root: string, args: readonly string[]): Promise<number> {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        size: { type: 'string', default: '1GiB' },
        rounds: { type: 'string', default: '5' },
        markdown: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) {
      process.stdout.write(USAGE);
      return 0;
    }
    if (values.markdown !== undefined) checkMarks(values.markdown);
    const rounds = Number(values.rounds);
    if (!Number.isSafeInteger(rounds) || rounds < 1) throw badRounds(values.rounds);
    const text = measure(parseSize('--size', values.size), rounds);
    process.stdout.write(`${text}\n`);
    if (values.markdown !== undefined) writeBetweenMarks(values.markdown, text);
    return 0;
  } catch (error) {
    if (!MemoryError.is(error) && !(error instanceof TypeError)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    return 2;
  }
}

function measure(bytes: number, rounds: number): string {
  const machine = `${machineText()}, load average ${loadavg()[0]!.toFixed(1)} before the run`;
  const folder = mkdtempSync(join(tmpdir(), 'stowage-bench-model-'));
  try {
    const shape = writeModel(join(folder, 'model.safetensors'), Math.ceil(bytes / TENSOR_BYTES));
    const runs = new Map<string, Result[]>(MODEL_CONTESTANTS.map(({ name }) => [name, []]));
    // In turns, so that what disturbs the machine disturbs them alike.
    for (let round = 0; round < rounds; round++) for (const [name, results] of runs) results.push(run(name, shape));
    return table([...runs.values()].map(middle), { bytes, rounds, machine });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Each contestant in a process of its own, so that memory is its alone. */
function run(name: string, shape: ModelShape): Result {
  const main = join(import.meta.dirname, 'model-contestant-main.js');
  const output = execFileSync(process.execPath, [main, name, JSON.stringify(shape)], { encoding: 'utf8' });
  return { name, ...(JSON.parse(output) as Omit<Result, 'name'>) };
}

function middle(results: readonly Result[]): Result {
  const of = (key: Exclude<keyof Result, 'name'>) => median(results.map((result) => result[key]));
  return {
    name: results[0]!.name,
    firstTensorMs: of('firstTensorMs'),
    wholeMs: of('wholeMs'),
    accessUs: of('accessUs'),
    ownBytes: of('ownBytes'),
    fileBytes: of('fileBytes'),
  };
}

/** Writes a safetensors file whose pages all differ; the system has it in its cache then. */
function writeModel(path: string, tensors: number): ModelShape {
  const header = Object.fromEntries(
    Array.from({ length: tensors }, (_, i) => [
      `blk.${i}.weight`,
      { dtype: 'F32', shape: [TENSOR_BYTES / 4], data_offsets: [i * TENSOR_BYTES, (i + 1) * TENSOR_BYTES] },
    ]),
  );
  const plain = JSON.stringify(header);
  const text = plain.padEnd(Math.ceil(plain.length / 8) * 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const fd = openSync(path, 'w');
  writeSync(fd, length);
  writeSync(fd, text);
  const data = new Uint32Array(TENSOR_BYTES / 4);
  for (let tensor = 0; tensor < tensors; tensor++) {
    for (let i = 0; i < data.length; i++) data[i] = Math.imul(i + tensor, 2654435761);
    writeSync(fd, data);
  }
  closeSync(fd);
  return { path, tensors, tensorBytes: TENSOR_BYTES, dataOffset: 8 + text.length };
}

function table(
  results: readonly Result[],
  { bytes, rounds, machine }: { bytes: number; rounds: number; machine: string },
): string {
  const rows = results.map(({ name, firstTensorMs, wholeMs, accessUs, ownBytes, fileBytes }) => {
    const cells = [firstTensorMs.toFixed(1), wholeMs.toFixed(0), accessUs.toFixed(2), formatBytes(Math.max(0, ownBytes))];
    return `| ${[name, ...cells, formatBytes(Math.max(0, fileBytes))].join(' | ')} |`;
  });
  return [
    `A file of ${formatBytes(bytes)} with tensors of 4 MiB, in the system's cache; the median of ${rounds} rounds, each in a process of its own.`,
    `${machine}.`,
    '',
    '| | first tensor, ms | every page touched, ms | random tensor and page, us | own memory | memory of the file |',
    '|---|---:|---:|---:|---:|---:|',
    ...rows,
    '',
    "The file's pages are the same for every process that maps it, and the system may drop them; own memory is neither shared nor dropped.",
  ].join('\n');
}

function badRounds(text: string): MemoryError<'ERR_MEM_INVALID_ARGUMENT'> {
  const expected = 'an integer of at least 1';
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: '--rounds', value: JSON.stringify(text), expected });
}
