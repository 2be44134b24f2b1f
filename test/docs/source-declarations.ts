import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isolatedDeclarationSync } from 'rolldown/experimental';

const ROOT = resolve(import.meta.dirname, '../..');
const SOURCES = ['src', 'adapters', 'managers'].map((folder) => join(ROOT, folder, '/'));

/**
 * Gives what a source of the package declares, as its users' compilers see it: a quarter of the text, without what functions do.
 *
 * @returns undefined for what is no source of the package, and for one whose types are told by what its functions do
 */
export function sourceDeclarations(path: string): string | undefined {
  if (!SOURCES.some((folder) => path.startsWith(folder))) return undefined;
  const { code, errors } = isolatedDeclarationSync(path, readFileSync(path, 'utf8'));
  return errors.length === 0 ? code : undefined;
}
