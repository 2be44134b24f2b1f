import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { compiledLibrary } from '../fixtures/compiled-c.js';
import { openCl } from '../fixtures/opencl.js';
import { requireLibrary } from '../fixtures/requires.js';
import { ggmlPath } from '../hosts/ggml.js';
import { needed as onnxRuntime } from '../hosts/onnxruntime.js';
import type { PageProgram } from './page-blocks.js';

/** What a program needs beside this package, by what it imports. CI has all of it. */
const NEEDS: Readonly<Record<string, { readonly missing: boolean; readonly title: string }>> = {
  'onnxruntime-node': onnxRuntime,
  'stowage/adapters/onnxruntime': onnxRuntime,
  'stowage/adapters/ggml': requireLibrary('ggml', [ggmlPath()]),
  'stowage/adapters/sqlite': requireLibrary('SQLite', SQLITE_NAMES),
  'stowage/adapters/opencl': { missing: openCl.missing, title: openCl.title('OpenCL') },
};

/** Libraries whose place C libraries with their interface take, by what a program imports. */
const STAND_INS: Readonly<Record<string, { readonly name: string; path(): string }>> = {
  'stowage/adapters/cuda': { name: 'libcudart.so.13', path: () => compiledLibrary('gpu', []) },
  'stowage/adapters/arrayfire': { name: 'libaf.so.3', path: () => compiledLibrary('arrayfire', []) },
};

const imports = ({ code }: PageProgram, name: string) => code.includes(`from '${name}'`);

/** Says what a program needs that is missing on this machine, and why. */
export function missingFor(program: PageProgram): string | undefined {
  return Object.entries(NEEDS).find(([name, { missing }]) => missing && imports(program, name))?.[1].title;
}

/** Puts the stand-ins that a program needs into a folder. @returns the environment in which it finds them */
export function standInsFor(program: PageProgram, folder: string): NodeJS.ProcessEnv {
  const needed = Object.entries(STAND_INS).filter(([name]) => imports(program, name));
  for (const [, { name, path }] of needed) {
    mkdirSync(folder, { recursive: true });
    symlinkSync(path(), join(folder, name));
  }
  return needed.length === 0 ? {} : { LD_LIBRARY_PATH: folder };
}
