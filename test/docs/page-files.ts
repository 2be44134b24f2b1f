import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { PageProgram } from './page-blocks.js';

const ROOT = resolve(import.meta.dirname, '../..');
const unzipped = (path: string) => gunzipSync(readFileSync(join(ROOT, path)));

/** What the programs of pages find in their working folder, by the name that stands in the program. */
const FILES: Readonly<Record<string, () => Uint8Array>> = {
  'snapshot.pickle': () => unzipped('test/whatif/snapshots/default.pickle.gz'),
};

/** Puts the files into a folder that the program names. */
export function prepareFor({ code }: PageProgram, folder: string): void {
  for (const [name, make] of Object.entries(FILES)) if (code.includes(`'${name}'`)) writeFileSync(join(folder, name), make());
}
