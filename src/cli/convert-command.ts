import type { Command } from 'commander';
import { formatBytes } from '../core/units.js';
import { convertTrace } from '../trace/convert-trace.js';
import { TRACE_WRITERS } from '../trace/trace-writers.js';
import { complain } from './complain.js';
import { count } from './counts.js';
import { OutputFile } from './output-file.js';
import { createProgress } from './progress.js';
import { byName } from './suggest.js';

/** Adds `stowage convert`. */
export function addConvertCommand(program: Command): void {
  program
    .command('convert')
    .description(
      'Write a trace of any format in another one. The format of the input is told from its content, plain or gzipped.',
    )
    .argument('<in>', 'a trace, call log, recording, RMM log, Umpire replay, PyTorch snapshot or Perfetto trace')
    .argument('<out>', 'the file to write')
    .requiredOption('-t, --to <format>', `the new format: ${[...TRACE_WRITERS.keys()].join(', ')}`)
    .addHelpText(
      'after',
      '\nWhat the new format cannot hold is named on stderr, in one line.\n' +
        '\nExamples:\n  stowage convert app.stowtrace app.json --to perfetto\n  stowage convert rmm.csv app.trace --to alloctrace',
    )
    .action(async (path: string, out: string, { to }: { to: string }) => {
      const create = byName('--to', to, TRACE_WRITERS);
      const progress = createProgress('converting', 'bytes');
      const output = new OutputFile(out);
      try {
        const { origin, totals, lost } = await convertTrace(path, output, create, { onProgress: progress.report });
        output.finish();
        progress.stop();
        const events = totals.counts.reduce((sum, events) => sum + events, 0);
        process.stdout.write(
          `${out}: ${count(events, 'event')} of ${origin.name} (${origin.format}) as ${to}, ${formatBytes(output.writtenBytes)}\n`,
        );
        if (origin.cutOff !== undefined) complain(`${path}: ${origin.cutOff}`);
        if (totals.unknownFrees > 0) complain(`${path}: ${unknownFrees(totals.unknownFrees)}`);
        if (lost.length > 0) complain(`${out}: ${to} cannot hold ${lost.join(', ')}`);
      } catch (error) {
        output.abandon();
        throw error;
      } finally {
        progress.stop();
      }
    });
}

/** What is said of frees that are no events. */
export function unknownFrees(frees: number): string {
  return `${count(frees, 'free')} of blocks that were allocated before the recording began are left out`;
}
