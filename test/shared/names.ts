import { existsSync, readdirSync, unlinkSync } from 'node:fs';
import { afterEach, expect } from 'vitest';
import { SHM_FOLDER, SHM_PREFIX } from '../../src/shared/backends/segment-store.js';

const prefix = `test-${process.pid}-`;
let count = 0;

/** A name for a segment that no other test uses. */
export function freshName(): string {
  count++;
  return `${prefix}${count}`;
}

/** Where the shared memory object of a name lies. */
export function pathOfName(name: string): string {
  return `${SHM_FOLDER}/${SHM_PREFIX}${name}`;
}

/** The objects that this process's tests left behind. */
export function leftSegments(): string[] {
  if (SHM_FOLDER === undefined) return [];
  return readdirSync(SHM_FOLDER).filter((name) => name.startsWith(SHM_PREFIX + prefix));
}

/** After each test: fails when /dev/shm was not left clean, and cleans it for the next one. */
export function expectNothingLeft(): void {
  afterEach(() => {
    const left = leftSegments();
    for (const name of left) if (existsSync(`${SHM_FOLDER}/${name}`)) unlinkSync(`${SHM_FOLDER}/${name}`);
    expect(left).toEqual([]);
  });
}
