import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { requireLibrary } from '../fixtures/requires.js';
import { ggmlPath } from '../hosts/ggml.js';
import { needed as onnxRuntime } from '../hosts/onnxruntime.js';
import type { PageProgram } from './page-blocks.js';

/** What programs of pages need beside this package, by what they import. */
const NEEDS: Readonly<Record<string, { readonly missing: boolean }>> = {
  'onnxruntime-node': onnxRuntime,
  'stowage/adapters/ggml': requireLibrary('ggml', [ggmlPath()]),
  'stowage/adapters/sqlite': requireLibrary('SQLite', SQLITE_NAMES),
};

/** Tells whether an engine that a program imports is not installed here. In CI all of them are. */
export function lacksEngine({ code }: PageProgram): boolean {
  return Object.entries(NEEDS).some(([name, { missing }]) => missing && code.includes(`from '${name}'`));
}
