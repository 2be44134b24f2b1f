import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { MemoryError } from '../core/errors.js';
import { compareExplanations } from '../explain/compare-explanations.js';
import type { MemoryExplanation } from '../explain/memory-explanation.js';
import { parseExplanation } from '../explain/parse-explanation.js';
import { grownText } from './explanation-text.js';
import { jsonText } from './text.js';

/** How far into a file its first keys stand. */
const HEAD_BYTES = 512;
const FIRST_KEYS = /^\s*\{\s*"version"\s*:\s*1\s*,\s*"pid"\s*:/;

/** Tells by its beginning whether a file is an explanation, as `stowage explain --json` writes it. False for one that cannot be read. */
export function isExplanation(path: string): boolean {
  if (path === '-') return false;
  const head = Buffer.alloc(HEAD_BYTES);
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    return FIRST_KEYS.test(head.toString('utf8', 0, readSync(file, head)));
  } catch {
    // Whoever reads it as a trace says why it cannot be read, a folder too.
    return false;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Writes what grew between two explanations. @throws ERR_MEM_BAD_INPUT */
export function writeGrown(earlier: string, later: string, isJson: boolean): void {
  const { version: _, ...grown } = compareExplanations(readExplanation(earlier), readExplanation(later));
  process.stdout.write(isJson ? jsonText(grown) : grownText({ version: 1, ...grown }));
}

/** Reads an explanation from a file. @throws ERR_MEM_BAD_INPUT */
export function readExplanation(path: string): MemoryExplanation {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const reason = `it cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason }, error);
  }
  return parseExplanation(text, path);
}
