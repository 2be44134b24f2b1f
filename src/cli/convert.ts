import type { Command } from 'commander';
import { formatBytes } from '../core/units.js';
import { convertTrace, PROFILE_WRITERS, TRACE_WRITERS } from '../trace/index.js';
import { WHOLE_PROFILE_WRITERS } from '../trace/profile/profile-writers.js';
import { byName, type Flags } from './arguments.js';
import { inputPath, messageStream, OutputFile } from './output-file.js';
import { withProgress } from './progress.js';
import { complain, complainOfGaps, count } from './text.js';

const WRITERS = new Map([...TRACE_WRITERS, ...PROFILE_WRITERS]);

type ConvertFlags = Flags<'to', never, 'nodeFrames'>;

/** Adds what `stowage convert` takes. */
export function addConvertCommand(command: Command): void {
  command
    .argument(
      '<in>',
      'a trace, call log, recording, RMM log, Umpire replay, PyTorch snapshot or Perfetto trace; - is standard input',
    )
    .argument('<out>', 'the file to write; - is standard output')
    .requiredOption(
      '-t, --to <format>',
      `the new format: ${[...TRACE_WRITERS.keys()].join(', ')}; or a profile of sites: ${[...PROFILE_WRITERS.keys()].join(', ')}`,
    )
    .option(
      '--node-frames',
      "in a profile: keep Node's own frames (node:…, Promise.all and the like), which are left out otherwise",
    )
    .addHelpText(
      'after',
      '\nWhat the new format cannot hold is named on stderr, in one line.\n' +
        '\nExamples:\n  stowage convert app.stowtrace app.json --to perfetto\n  stowage convert rmm.csv app.trace --to alloctrace\n  stowage convert app.stowtrace app.pb.gz --to pprof',
    )
    .action(async (path: string, out: string, { to, nodeFrames }: ConvertFlags) => {
      const create = byName('--to', to, WRITERS);
      if (nodeFrames === true && !PROFILE_WRITERS.has(to))
        command.error('--node-frames goes with a profile: a trace has them anyway');
      const writer = (nodeFrames === true ? WHOLE_PROFILE_WRITERS.get(to) : undefined) ?? create;
      const input = inputPath(path);
      using output = new OutputFile(out, { input });
      const { origin, totals, lost } = await withProgress('converting', (shown) => convertTrace(input, output, writer, shown));
      output.finish();
      const events = totals.counts.reduce((sum, events) => sum + events, 0);
      messageStream(output).write(
        `${out}: ${count(events, 'event')} of ${origin.name} (${origin.format}) as ${to}, ${formatBytes(output.writtenBytes)}\n`,
      );
      complainOfGaps(path, origin.cutOff, totals.unknownFrees);
      if (lost.length > 0) complain(`${out}: ${to} cannot hold ${lost.join(', ')}`);
    });
}
