import { parseArgs } from 'node:util';
import { CudaDevice } from '../../adapters/devices/cuda.js';
import type { GpuDevice } from '../../adapters/devices/gpu/gpu-device.js';
import type { GpuDeviceOptions } from '../../adapters/devices/gpu/gpu-memory.js';
import { CUDA, type GpuDialect, HIP } from '../../adapters/devices/gpu/gpu-status.js';
import { HipDevice } from '../../adapters/devices/hip.js';
import { parseSize } from '../../src/cli/arguments.js';
import { MemoryError } from '../../src/core/errors.js';

/** How the program ends. */
export const EXIT = { done: 0, failed: 1, usage: 2, absent: 3 } as const;

export const USAGE = `usage: npm run gpu -- [options]     (in a bundle: ./gpu [options])

Runs the conformance suite, what a card has beside, three tables and the examples on the first card, and writes what it found
into a document between its marks.

  --device <cuda|hip>   which runtime (default: cuda)
  --library <path>      the runtime's library (default: what the loader finds)
  --traces <folder>     allocation traces (default: test/traces)
  --events <n>          how many events of each trace (default: 20000)
  --copies <sizes>      the sizes of copies (default: 64KiB,1MiB,16MiB,256MiB)
  --rounds <n>          how often each is measured; the median counts (default: 5)
  --out <file>          the document (default: docs/gpu.md)
  --no-out              print only

Exit codes: 0 done, 1 a test failed, 2 a bad option, 3 no card: nothing was run or written.
`;

/** What a run was told. */
export interface GpuSettings {
  readonly dialect: GpuDialect;
  readonly library: string | undefined;
  readonly traces: string;
  readonly events: number;
  readonly copyBytes: readonly number[];
  readonly rounds: number;
  readonly out: string | undefined;
}

/** Reads the command line. @returns undefined when help is asked for @throws ERR_MEM_INVALID_ARGUMENT */
export function parseSettings(
  args: readonly string[],
  defaults: { readonly traces: string; readonly out: string },
): GpuSettings | undefined {
  const { values } = parse(args);
  if (values.help === true) return undefined;
  const { device = 'cuda', library, traces = defaults.traces, out = defaults.out } = values;
  if (device !== 'cuda' && device !== 'hip') throw bad('--device', device, 'cuda or hip');
  return {
    dialect: device === 'hip' ? HIP : CUDA,
    library,
    traces,
    events: positive('--events', values.events ?? '20000'),
    copyBytes: (values.copies ?? '64KiB,1MiB,16MiB,256MiB').split(',').map((size) => parseSize('--copies', size)),
    rounds: positive('--rounds', values.rounds ?? '5'),
    out: values['no-out'] === true ? undefined : out,
  };
}

/** A device of the kind and the library that a run was told. */
export function makeDevice(
  { dialect, library }: Pick<GpuSettings, 'dialect' | 'library'>,
  options: GpuDeviceOptions = {},
): GpuDevice {
  return new (dialect === HIP ? HipDevice : CudaDevice)({ ...options, ...(library === undefined ? {} : { library }) });
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        device: text,
        library: text,
        traces: text,
        events: text,
        rounds: text,
        copies: text,
        out: text,
        'no-out': flag,
        help: flag,
      },
    });
  } catch (error) {
    throw bad('the command line', args.join(' '), error instanceof Error ? error.message : String(error));
  }
}

function positive(name: string, text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw bad(name, text, 'a positive integer');
}

function bad(name: string, value: string, expected: string): MemoryError<'ERR_MEM_INVALID_ARGUMENT'> {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: JSON.stringify(value), expected });
}
