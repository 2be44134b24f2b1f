import { createRequire } from 'node:module';
import type { Fact } from '../report/report-data.js';

/** Everything went well. */
export const EXIT_OK = 0;
/** The run failed: out of memory, a block's bytes changed, the log could not be written to its end. */
export const EXIT_FAILED = 1;
/** A file or an argument is bad; nothing was done. */
export const EXIT_BAD_INPUT = 2;

/** Ask for the version alone. */
export const VERSION_FLAGS: readonly string[] = ['-V', '--version'];

const BOLD = '\u001b[1m';
const PLAIN = '\u001b[22m';
const GAP = '  ';
/** A terminal that leaves less for the last column breaks the lines itself. */
const LEAST_ROOM = 20;

/** Whether a stream is a terminal that accepts styles and progress bars. */
export function isStyled(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && process.env['NO_COLOR'] === undefined;
}

/** Prints a message on stderr, in one line. */
export function complain(message: string): void {
  process.stderr.write(`stowage: ${message.trim().replace(/\s*[\r\n]+\s*/g, ' ')}\n`);
}

/** Replaces control characters: the content of a file must not control the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}

/** Writes an amount for people: `1 event`, `26,012 events`. */
export function count(amount: number, what: string): string {
  return `${grouped(amount)} ${what}${amount === 1 ? '' : 's'}`;
}

/** Writes a number for people: `26,012`. */
export function grouped(amount: number): string {
  return amount.toLocaleString('en-US');
}

/** A column: its heading, and on which side its cells stand. */
export interface Column {
  readonly heading: string;
  readonly align: 'left' | 'right';
}

/**
 * Lays rows out under their headings, two blanks between columns.
 *
 * @param out - where the lines go: on a terminal the headings are bold, and texts in the last column go on in lines of their own where
 *   the terminal ends
 * @returns lines; the first one holds the headings
 */
export function layOut(columns: readonly Column[], rows: readonly (readonly string[])[], out?: NodeJS.WriteStream): string[] {
  const fixed = columns.slice(0, -1).reduce((sum, column, i) => sum + widthOf(column, rows, i) + GAP.length, 0);
  const room = (out?.isTTY === true ? out.columns : Number.POSITIVE_INFINITY) - fixed;
  const isWrapped = columns.at(-1)?.align === 'left' && room >= LEAST_ROOM;
  const shown = isWrapped ? rows.flatMap((row) => inLines(row, columns.length - 1, room)) : rows;
  const widths = columns.map((column, i) => widthOf(column, shown, i));
  const [headings = '', ...lines] = [columns.map((column) => column.heading), ...shown].map((row) =>
    columns
      .map(({ align }, i) => (align === 'left' ? (row[i] ?? '').padEnd(widths[i]!) : (row[i] ?? '').padStart(widths[i]!)))
      .join(GAP)
      .trimEnd(),
  );
  return [out !== undefined && isStyled(out) ? `${BOLD}${headings}${PLAIN}` : headings, ...lines];
}

function widthOf({ heading }: Column, rows: readonly (readonly string[])[], place: number): number {
  return Math.max(heading.length, ...rows.map((row) => row[place]?.length ?? 0));
}

/** Breaks the cell in a row's last place at blanks: the rest of it goes into further rows. What has no blank stays whole. */
function inLines(row: readonly string[], place: number, room: number): (readonly string[])[] {
  const lines = [''];
  for (const word of (row[place] ?? '').split(' ')) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= room) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.map((line, i) => [...row.slice(0, place).map((cell) => (i === 0 ? cell : '')), line]);
}

/** Formats facts as JSON for programs: version 1 of the shape that docs describe. */
export function jsonText(facts: object): string {
  return `${JSON.stringify({ version: 1, ...facts }, null, 2)}\n`;
}

/** Prints on stderr which parts of a file are missing. @param unknownFrees - frees that are no events */
export function complainOfGaps(path: string, cutOff: string | undefined, unknownFrees: number): void {
  if (cutOff !== undefined) complain(`${path}: ${cutOff}`);
  if (unknownFrees > 0)
    complain(`${path}: ${count(unknownFrees, 'free')} of blocks whose allocation is not in the file are left out`);
}

/** The versions that made a page, and the time. */
export function madeBy(): Fact[] {
  return [
    { label: 'made by', value: machine() },
    { label: 'made at', value: new Date().toISOString() },
  ];
}

/** The versions that run here, and the platform. */
export function machine(): string {
  return `stowage ${packageVersion()}, Node ${process.version}, ${process.platform}-${process.arch}`;
}

/** The version of this package. */
export function packageVersion(): string {
  return (createRequire(import.meta.url)('stowage/package.json') as { version: string }).version;
}
