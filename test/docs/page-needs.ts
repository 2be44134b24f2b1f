import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { openCl } from '../fixtures/opencl.js';
import { requireLibrary } from '../fixtures/requires.js';
import { needed as onnxRuntime } from '../hosts/onnxruntime.js';
import type { PageProgram } from './page-blocks.js';

const sqlite = requireLibrary('SQLite', SQLITE_NAMES);

/** What a program with such text needs beside this package. CI has all of it. */
const NEEDS = [
  { has: 'OnnxRuntimeHost', ...onnxRuntime },
  { has: "'onnxruntime-node'", ...onnxRuntime },
  { has: 'SqliteHost', missing: sqlite.missing, title: sqlite.title },
  { has: 'new OpenClDevice(', missing: openCl.missing, title: openCl.title('OpenCL') },
];

/** What a program needs that is missing on this machine: its title, with the reason. */
export function missingFor({ code }: PageProgram): string | undefined {
  return NEEDS.find(({ has, missing }) => missing && code.includes(has))?.title;
}
