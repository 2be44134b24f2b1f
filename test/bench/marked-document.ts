import { readFileSync, writeFileSync } from 'node:fs';
import { MemoryError } from '../../src/core/errors.js';

/** Between these two lines a document holds what a benchmark wrote. */
const BEGIN = '<!-- bench: begin -->';
const END = '<!-- bench: end -->';

/** Finds the marks. @throws ERR_MEM_BAD_INPUT when the document is not there or lacks one */
export function checkMarks(path: string): void {
  partsOf(path);
}

/** Puts Markdown between the marks of a document. @throws as {@link checkMarks} */
export function writeBetweenMarks(path: string, markdown: string): void {
  const [before, after] = partsOf(path);
  writeFileSync(path, `${before}${BEGIN}\n\n${markdown}\n${END}${after}`);
}

function partsOf(path: string): [string, string] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason: 'it cannot be read' }, error);
  }
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin >= 0 && end > begin) return [text.slice(0, begin), text.slice(end + END.length)];
  throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason: `it lacks the lines '${BEGIN}' and '${END}'` });
}
