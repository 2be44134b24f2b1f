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
 * @param out - where the lines go: on a terminal the headings are bold
 * @returns lines; the first one holds the headings
 */
export function layOut(columns: readonly Column[], rows: readonly (readonly string[])[], out?: NodeJS.WriteStream): string[] {
  const widths = columns.map((column, i) => Math.max(column.heading.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const [headings = '', ...lines] = [columns.map((column) => column.heading), ...rows].map((row) =>
    columns
      .map(({ align }, i) => (align === 'left' ? (row[i] ?? '').padEnd(widths[i]!) : (row[i] ?? '').padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
  return [out !== undefined && isStyled(out) ? `${BOLD}${headings}${PLAIN}` : headings, ...lines];
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
