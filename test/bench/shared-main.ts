import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/cli/arguments.js';
import { MemoryError } from '../../src/core/errors.js';
import { machineText } from './machine.js';
import { checkMarks, writeBetweenMarks } from './marked-document.js';
import { measureHandover } from './shared-handover.js';
import { sharedMarkdown } from './shared-report.js';
import { measureThroughput } from './shared-throughput.js';

const USAGE = `npm run bench:shared -- [options]
  --processes <list>   how many processes share a region, by commas (default 1,2,4)
  --rounds <n>         rounds, of which the median counts (default 9)
  --ms <n>             how long a round lasts (default 300)
  --handover <size>    what is handed to a worker (default 1GiB)
  --markdown <file>    write the tables between the marks of this document
`;

/** Runs the benchmark of shared memory. @returns the exit code */
export async function main(_root: string, args: readonly string[]): Promise<number> {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        processes: { type: 'string', default: '1,2,4' },
        rounds: { type: 'string', default: '9' },
        ms: { type: 'string', default: '300' },
        handover: { type: 'string', default: '1GiB' },
        markdown: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) {
      process.stdout.write(USAGE);
      return 0;
    }
    if (values.markdown !== undefined) checkMarks(values.markdown);
    const rounds = count('--rounds', values.rounds);
    const handoverBytes = parseSize('--handover', values.handover);
    const machine = `${machineText()}, load average ${loadavg()[0]!.toFixed(1)} before the run`;
    const throughput = await measureThroughput({
      processes: values.processes.split(',').map((text) => count('--processes', text)),
      rounds,
      roundMs: count('--ms', values.ms),
      main: join(import.meta.dirname, 'shared-contestant-main.js'),
    });
    const handover = await measureHandover(handoverBytes, rounds);
    const text = sharedMarkdown({ throughput, handover, handoverBytes, rounds, machine });
    process.stdout.write(`${text}\n`);
    if (values.markdown !== undefined) writeBetweenMarks(values.markdown, text);
    return 0;
  } catch (error) {
    if (!MemoryError.is(error) && !(error instanceof TypeError)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    return 2;
  }
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: JSON.stringify(text), expected: 'a whole number above 0' });
}
