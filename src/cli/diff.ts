import type { Command } from 'commander';
import { formatBytes } from '../core/units.js';
import { type ComparedTrace, diffTraces, type GrownSite, type TraceDiff } from '../trace/index.js';
import { programLines } from '../trace/site-frames.js';
import type { Flags } from './arguments.js';
import { isExplanation, writeGrown } from './compared-explanations.js';
import { inputPath } from './output-file.js';
import { withProgress } from './progress.js';
import { type Column, complainOfGaps, count, grouped, jsonText, layOut, printable } from './text.js';

const NS_PER_S = 1e9;
/** Further frames of a site are left out of the table. */
const SHOWN_FRAMES = 4;

const COLUMNS: readonly Column[] = [
  { heading: 'grown by', align: 'right' },
  { heading: 'blocks', align: 'right' },
  { heading: 'sizes', align: 'right' },
  { heading: 'oldest', align: 'right' },
  { heading: 'tag', align: 'left' },
];

/** Adds what `stowage diff` takes. */
export function addDiffCommand(command: Command): void {
  command
    .argument(
      '<before>',
      'a recording, snapshot of PyTorch, call log or another trace that stowage replay reads (- is standard input), or an explanation',
    )
    .argument('<after>', 'a later one of the same program, or one of a later version')
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nNamed are the sites and tags whose blocks have grown beyond chance: blocks that are live at\n' +
        'the end of each file, and older than the blocks of their site get before they are freed.\n' +
        'Of explanations (stowage explain --json) the categories are compared, bytes alone.\n' +
        'Exit code: 0 whether something grew or not (the output says), 2 for a bad file or argument.\n' +
        'JSON: { "version": 1, "grown": [{ site, tag, bytes, blocks }] }, most grown first.\n' +
        '\nExamples:\n  stowage diff monday.stowtrace friday.stowtrace\n  stowage diff before.pickle after.pickle --json',
    )
    .action(async (before: string, after: string, { json }: Flags<never, never, 'json'>) => {
      if (isExplanation(before)) {
        writeGrown(before, after, json === true);
        return;
      }
      const diff = await withProgress('reading', (shown) => diffTraces(inputPath(before), inputPath(after), shown));
      complainOfGaps(before, diff.before.origin.cutOff, diff.before.totals.unknownFrees);
      complainOfGaps(after, diff.after.origin.cutOff, diff.after.totals.unknownFrees);
      if (!json) for (const line of diffLines(diff, process.stdout)) process.stdout.write(`${line}\n`);
      else {
        const grown = diff.grown.map(({ site, tag, bytes, blocks }) => ({ site, tag, bytes, blocks }));
        process.stdout.write(jsonText({ grown }));
      }
    });
}

function diffLines({ before, after, grown }: TraceDiff, out: NodeJS.WriteStream): string[] {
  const lines = [...[before, after].map(traceLine), ''];
  if (grown.length === 0) return [...lines, 'Nothing grew beyond what chance explains.'];
  const [headings = '', ...rows] = layOut(
    COLUMNS,
    grown.map((group) => figures(group, after)),
    out,
  );
  return [...lines, headings, ...rows.flatMap((row, i) => [row, ...sites(grown[i]!).map((frame) => `    ${frame}`)])];
}

function traceLine({ origin, totals, durationNs }: ComparedTrace): string {
  const time = durationNs === 0 ? '' : ` in ${(durationNs / NS_PER_S).toFixed(3)} s`;
  const live = `${formatBytes(totals.liveBytes)} live at the end in ${count(totals.liveBlocks, 'block')}`;
  return printable(`${origin.file}: ${count(totals.allocations, 'allocation')}${time}, ${live}`);
}

function figures({ bytes, blocks, leastBytes, mostBytes, oldestNs, tag }: GrownSite, { durationNs }: ComparedTrace): string[] {
  const sizes = leastBytes === mostBytes ? formatBytes(leastBytes) : `${formatBytes(leastBytes)} - ${formatBytes(mostBytes)}`;
  const age = durationNs === 0 ? '' : `${((durationNs - oldestNs) / NS_PER_S).toFixed(3)} s`;
  return [formatBytes(bytes), grouped(blocks), sizes, age, printable(tag === '' ? '-' : tag)];
}

/** A line for each of the first frames. */
function sites({ site }: GrownSite): string[] {
  if (site === '') return ['at sites that were not recorded, or many'];
  // Node's own frames say nothing about the program.
  const frames = programLines(site).lines.map(printable);
  const more = frames.length - SHOWN_FRAMES;
  return more > 0 ? [...frames.slice(0, SHOWN_FRAMES), `and ${count(more, 'more frame')}`] : frames;
}
