import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Set by `npm run soak`. */
export const WHOLE_SEARCH = { STOWAGE_SEARCH: 'whole' };

/**
 * How many random programs a search tries: all of them in `npm run soak`, a quarter in `npm test`, where they take a part of its time
 * that counts. A failure prints the seed, which shows it again in either.
 */
export function searchRuns(all: number): number {
  return process.env['STOWAGE_SEARCH'] === WHOLE_SEARCH.STOWAGE_SEARCH ? all : Math.ceil(all / 4);
}

/** The test files with searches, as paths below a folder. */
export function searchFiles(folder: string): string[] {
  const files: string[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && entry.name !== 'node_modules') files.push(...searchFiles(path));
    else if (entry.name.endsWith('.test.ts') && readFileSync(path, 'utf8').includes('searchRuns(')) files.push(path);
  }
  return files;
}
