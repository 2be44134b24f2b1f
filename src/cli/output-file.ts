import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { MemoryError } from '../core/errors.js';

/** Tells whether two paths lead to one file. */
export function isSameFile(path: string, other: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  const source = statSync(other, { throwIfNoEntry: false });
  return found !== undefined && source !== undefined && found.isFile() && found.dev === source.dev && found.ino === source.ino;
}

/**
 * Finds out before a run whether its result can be written.
 *
 * @param what - what would be written, for messages
 * @param source - the file that the run reads, which must not be overwritten
 * @throws ERR_MEM_BAD_INPUT
 */
export function checkOutputFile(path: string, source: string, what: string): void {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason }, cause);
  };
  if (isSameFile(path, source)) refuse(`the ${what} would overwrite the trace`);
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) refuse('it is a folder, not a file');
    accessSync(found === undefined ? dirname(path) : path, constants.W_OK);
  } catch (error) {
    if (MemoryError.is(error)) throw error;
    refuse(`the ${what} cannot be written: ${(error as Error).message}`, error);
  }
}

/** Writes a file that {@link checkOutputFile} found fit. @throws ERR_MEM_BAD_INPUT when the system refuses all the same */
export function writeOutputFile(path: string, text: string, what: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    const reason = `the ${what} cannot be written: ${(error as Error).message}`;
    throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason }, error);
  }
}
