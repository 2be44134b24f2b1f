import type { PageProgram } from './page-blocks.js';
import type { Ended } from './run-program.js';
import type { Compiled } from './strict-programs.js';

/** Says in a line what went wrong in a program, with its page and line; undefined when it ended well and complained of nothing. */
export function faultOf(program: PageProgram, { status, stderr }: Ended, { lineOf }: Compiled, name: string): string | undefined {
  if (status === 0 && stderr === '') return undefined;
  // Where it was thrown, as far as the program's own lines are concerned: the first place of the stack.
  const [, line, column] = new RegExp(`${name}\\.mjs:(\\d+):(\\d+)`).exec(stderr) ?? [];
  const place = program.placeOf(line === undefined ? 1 : lineOf(Number(line), Number(column)));
  const said = /^(?!\s).*(?:Error|Exception)\b.*$/m.exec(stderr)?.[0] ?? stderr.trim();
  return `${place}: ${said} (exit code ${status})`;
}
