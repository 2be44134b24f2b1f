import { fstatSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Releasable, releasable } from '../core/disposable.js';
import { MemoryError } from '../core/errors.js';
import { processState } from '../core/process-state.js';

declare module '../core/process-state.js' {
  interface ProcessState {
    /** The files that are being written, by device and inode, and where files are going to be replaced. */
    writtenFiles?: Set<string>;
  }
}

/**
 * Refuses a path, however it is spelt, at which something in this isolate writes: two would overwrite each other's bytes.
 * Pipes and devices take any number.
 *
 * @throws ERR_MEM_BAD_INPUT
 */
export function checkUnwritten(path: string): void {
  const names = [identityOf(() => statSync(path, { bigint: true })), placeOf(path)];
  if (!names.some((name) => name !== undefined && writtenFiles().has(name))) return;
  throw new MemoryError('ERR_MEM_BAD_INPUT', { file: path, line: 0, reason: 'it is being written in this process already' });
}

/** Notes an open file. It stays the same one when it is renamed, and another may take its path. @returns what forgets it */
export function noteOpenFile(file: number): Releasable {
  return note(identityOf(() => fstatSync(file, { bigint: true })));
}

/** Notes a path at which files are replaced as a whole. @returns what forgets it */
export function noteReplacedFile(path: string): Releasable {
  return note(placeOf(path));
}

function writtenFiles(): Set<string> {
  return (processState().writtenFiles ??= new Set());
}

function note(name: string | undefined): Releasable {
  if (name !== undefined) writtenFiles().add(name);
  return releasable(() => {
    if (name !== undefined) writtenFiles().delete(name);
  });
}

function identityOf(stat: () => { isFile(): boolean; readonly dev: bigint; readonly ino: bigint }): string | undefined {
  return known(() => {
    const found = stat();
    return found.isFile() ? `${found.dev}:${found.ino}` : undefined;
  });
}

/** The path without links. A file that is not there yet lies in its folder. */
function placeOf(path: string): string | undefined {
  return known(() => realpathSync(path)) ?? known(() => join(realpathSync(dirname(path)), basename(path)));
}

/** What the system tells; undefined for what is not there, or cannot be looked at. Opening it says why. */
function known<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
