import { formatBytes } from '../core/units.js';
import type { ExplanationDiff } from '../explain/compare-explanations.js';
import type { MemoryExplanation } from '../explain/memory-explanation.js';
import { layOut, printable } from './text.js';

/** Categories below this share of the resident set are summed up, unless all are asked for. */
const SMALL = 1 / 200;
const SHOWN_GROWN = 20;

/** An explanation for people. @param all - shows the smallest categories, too */
export function explanationText(explanation: MemoryExplanation, all: boolean, out?: NodeJS.WriteStream): string {
  const { pid, program, residentBytes, categories, giveBack } = explanation;
  const shown = categories.filter((category) => all || category.residentBytes >= SMALL * residentBytes);
  const rest = categories.slice(shown.length).reduce((sum, category) => sum + category.residentBytes, 0);
  const columns = [
    { heading: 'resident', align: 'right' as const },
    { heading: 'share', align: 'right' as const },
    { heading: 'kind', align: 'left' as const },
    { heading: 'to give back', align: 'right' as const },
    { heading: 'name', align: 'left' as const },
  ];
  const share = (bytes: number) => `${((100 * bytes) / Math.max(1, residentBytes)).toFixed(1)} %`;
  const rows = shown.map((category) => [
    formatBytes(category.residentBytes),
    share(category.residentBytes),
    category.kind,
    bytesText(category.reclaimableBytes),
    printable(category.name),
  ]);
  if (rest > 0)
    rows.push([formatBytes(rest), share(rest), '', '', `${categories.length - shown.length} smaller ones: --all shows them`]);
  const advice = new Map(shown.map((category) => [category.kind, category.advice]));
  return [
    `process ${pid}: ${printable(program)}`,
    headline(explanation),
    '',
    ...layOut(columns, rows, out),
    '',
    'What could be done:',
    ...[...advice].map(([kind, text]) => `  ${kind.padEnd(18)} ${printable(text)}`),
    '',
    'Giving back would return:',
    ...giveBack.map(({ step, bytes, how }) => `  ${step.padEnd(18)} ${bytesText(bytes)}${how === 'unknown' ? '' : ` (${how})`}`),
    '',
  ].join('\n');
}

/** The resident set in one line. */
export function headline({ residentBytes, namedBytes, view }: MemoryExplanation): string {
  const named = `${((100 * namedBytes) / Math.max(1, residentBytes)).toFixed(1)} % named`;
  return `${formatBytes(residentBytes)} resident, ${named}${view === 'outside' ? '; seen from outside: V8 and the C library cannot be asked' : ''}`;
}

/** What grew, for people. */
export function grownText({ grown }: ExplanationDiff): string {
  if (grown.length === 0) return 'nothing grew\n';
  const columns = [
    { heading: 'grew by', align: 'right' as const },
    { heading: 'kind', align: 'left' as const },
    { heading: 'name', align: 'left' as const },
  ];
  const rows = grown.slice(0, SHOWN_GROWN).map(({ bytes, tag, site }) => [formatBytes(bytes), tag, printable(site)]);
  const more = grown.length > SHOWN_GROWN ? [`and ${grown.length - SHOWN_GROWN} more`] : [];
  return `${[...layOut(columns, rows), ...more].join('\n')}\n`;
}

function bytesText(bytes: number | null): string {
  return bytes === null ? 'not known' : formatBytes(bytes);
}
